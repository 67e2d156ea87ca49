"""Tests of the mappers: label-safe augmentation that follows from its key alone."""

import random

import numpy as np
import pytest
import torch

from nightlab.data.mapper import TestMapper as PlainMapper
from nightlab.data.mapper import TrainMapper, seeded
from nightlab.errors import InputError


class Checkerboard:
    """A source whose image tells its label: class k is painted with the grey 20 k, void (255) with 250."""

    name, classes, colors = "checkerboard", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2))
    ignore_label, splits = 255, ("train",)

    def __init__(self, height=60, width=80, label_size=None):
        rows, columns = np.indices((height, width))
        self.label = ((rows // 10 + columns // 10) % 3).astype(np.uint8)
        self.label[:5] = 255
        self.image = np.repeat(np.where(self.label == 255, 250, 20 * self.label)[..., None], 3, -1).astype(np.uint8)
        if label_size:
            self.label = np.zeros(label_size, np.uint8)

    def records(self, split="train"):
        return [{"file_name": "board", "image_id": "board", "source": self}]

    def read_image(self, record):
        return self.image

    def read_label(self, record):
        return self.label


def mapper(**changes):
    arguments = {
        "image_size": (0, 0),
        "crop_size": (40, 48),
        "scale_range": (1.0, 1.0),
        "max_class_share": 1.0,
        "flip": True,
        "photometric": False,
        "ignore_label": 255,
    }
    return TrainMapper(**(arguments | changes))


def test_labels_move_with_the_image():
    source = Checkerboard()
    for slot in range(8):
        out = mapper()(source.records()[0], (1, 0, 0, slot))
        label, grey = out["sem_seg"].numpy(), out["image"][0].numpy()
        assert label.shape == grey.shape == (40, 48)
        assert np.array_equal(grey, np.where(label == 255, 250, 20 * label))


def test_scaling_keeps_label_values_and_pads_with_ignored_pixels():
    source = Checkerboard()
    out = mapper(scale_range=(0.5, 0.5), flip=False)(source.records()[0], (1, 0, 0, 0))
    label = out["sem_seg"].numpy()
    assert label.shape == (40, 48) and set(np.unique(label)) <= {0, 1, 2, 255}
    assert (label[30:] == 255).all() and (label[:, 40:] == 255).all()
    assert (label[3:30, :40] != 255).all()


def test_image_size_fits_the_frame_into_the_box():
    out = mapper(image_size=(120, 400), crop_size=(120, 160), flip=False)(Checkerboard().records()[0], (1, 0, 0, 0))
    assert (out["sem_seg"][10:] != 255).all(), "60x80 fits into 120x400 as 120x160 and fills the crop"


def test_a_crop_of_mostly_one_class_is_redrawn():
    source = Checkerboard(100, 200)
    source.label[:] = 0
    source.label[:, 100:] = (np.arange(100) // 5 % 3)[None]
    shares = []
    for slot in range(20):
        label = mapper(crop_size=(60, 60), max_class_share=0.75)(source.records()[0], (1, 0, 0, slot))["sem_seg"]
        shares.append(float(np.bincount(label.numpy().ravel()).max() / label.numel()))
    assert np.mean([share < 0.75 for share in shares]) > 0.9


def test_augmentation_is_a_function_of_its_key():
    record = Checkerboard().records()[0]
    augment = mapper(scale_range=(0.5, 2.0), photometric=True)
    first, other = augment(record, (1, 0, 7, 3)), augment(record, (1, 0, 7, 4))
    random.seed(5), np.random.seed(5)
    again = augment(record, (1, 0, 7, 3))
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["sem_seg"], again["sem_seg"])
    assert not torch.equal(first["image"], other["image"])


def test_seeded_leaves_the_global_generators_as_they_were():
    random.seed(3), np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3), np.random.seed(3)
    with seeded(1, 2, 3):
        random.random(), np.random.random(9)
    assert (random.random(), np.random.random()) == expected


def test_photometric_distortion_changes_colours_and_never_labels():
    source = Checkerboard()
    out = mapper(photometric=True, flip=False, crop_size=(60, 80))(source.records()[0], (1, 0, 0, 1))
    assert np.array_equal(out["sem_seg"].numpy(), source.label)
    assert out["image"].dtype == torch.uint8


def test_at_test_the_frame_is_unresized():
    source = Checkerboard(37, 53)
    out = PlainMapper()(source.records()[0])
    assert out["image"].shape == (3, 37, 53) and (out["height"], out["width"]) == (37, 53)
    assert out["sem_seg"].dtype == torch.int64 and "source" not in out


def test_a_label_of_another_size_is_named():
    record = {**Checkerboard(label_size=(10, 10)).records()[0], "sem_seg_file_name": "labels/board.png"}
    with pytest.raises(InputError, match=r"labels/board\.png.*10x10"):
        PlainMapper()(record)
