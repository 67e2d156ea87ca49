"""From a record to what the model takes: the paper's augmentation in training, the plain frame at test."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.projects.point_rend import ColorAugSSDTransform
from fvcore.transforms.transform import Transform

from nightlab.data.reading import check_pair
from nightlab.data.scaling import CropWithin, RandomScale, RandomScaledCrop


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Inside, `random` and `numpy.random` (which detectron2's augmentations draw from) follow from `key` alone."""
    states = random.getstate(), np.random.get_state()
    seed = np.random.SeedSequence(key).generate_state(1)[0]
    random.seed(int(seed))
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


class RandomPhotometric(T.Augmentation):
    """Random brightness, contrast, saturation and hue (SSD's), drawn when the transform is made."""

    def get_transform(self, image: np.ndarray) -> Transform:
        return ColorAugSSDTransform(img_format="RGB")


class TrainMapper:
    """Record to `{"image": uint8 [3, h, w] RGB, "sem_seg": int64 [h, w], ...}` of the crop's size.

    Random scale, crop, flip and photometric distortion, then padding with ignored pixels. Labels move with the image by
    nearest neighbour and are never distorted in value.
    """

    @configurable
    def __init__(
        self,
        *,
        image_size: Sequence[int],
        crop_size: Sequence[int],
        scale_range: Sequence[float],
        max_class_share: float,
        flip: bool,
        photometric: bool,
        ignore_label: int,
    ):
        self.augmentations = T.AugmentationList(
            [
                RandomScaledCrop(
                    RandomScale(image_size, scale_range), CropWithin(crop_size, max_class_share, ignore_label)
                )
            ]
            + ([T.RandomFlip()] if flip else [])
            + ([RandomPhotometric()] if photometric else [])
        )
        self.crop_size = tuple(crop_size)
        self.padding = T.FixedSizeCrop(self.crop_size, pad=True, pad_value=0, seg_pad_value=ignore_label)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return {
            "image_size": cfg.INPUT.IMAGE_SIZE,
            "crop_size": cfg.INPUT.CROP_SIZE,
            "scale_range": cfg.INPUT.SCALE_RANGE,
            "max_class_share": cfg.INPUT.CROP_MAX_CLASS_SHARE,
            "flip": cfg.INPUT.RANDOM_FLIP != "none",
            "photometric": cfg.INPUT.PHOTOMETRIC,
            "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        }

    def __call__(self, record: dict[str, Any], key: Sequence[int]) -> dict[str, Any]:
        """`key` is all that the augmentation depends on, as (seed, stage, iteration, slot)."""
        image, label = read_pair(record)
        augmented = T.AugInput(image, sem_seg=label)
        with seeded(*key):
            self.augmentations(augmented)
        valid = (min(augmented.image.shape[0], self.crop_size[0]), min(augmented.image.shape[1], self.crop_size[1]))
        self.padding(augmented)  # right and below
        return {**as_input(record, augmented.image, augmented.sem_seg), "valid_size": valid}


class TestMapper:
    """Record to `{"image": uint8 [3, H, W] RGB, "sem_seg": int64 [H, W], "height", "width", ...}`, unresized."""

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        image, label = read_pair(record)
        return {**as_input(record, image, label), "height": image.shape[0], "width": image.shape[1]}


def read_pair(record: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Image `[H, W, 3]` and label map `[H, W]` of a record, of one size. Raises InputError that names the file."""
    image, label = record["source"].read_image(record), record["source"].read_label(record)
    check_pair(image, label, record)
    return image, label


def as_input(record: dict[str, Any], image: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """The model's input dict: tensors beside the record's names (its source stays behind)."""
    return {
        "file_name": record["file_name"],
        "image_id": record["image_id"],
        "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        "sem_seg": torch.from_numpy(label.astype(np.int64)),
    }
