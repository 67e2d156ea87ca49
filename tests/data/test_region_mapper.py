"""Training crops around hard regions, and whole frames with hard boxes: both follow from their key alone."""

import random

import cv2
import numpy as np
import pytest
import torch

from nightlab.config import load_config
from nightlab.data.components import hard_regions
from nightlab.data.mapper import seeded
from nightlab.data.region_mapper import FrameMapper, RegionMapper
from nightlab.errors import InputError
from nightlab.modeling.regions import RegionRule

HARD = (False, True, True, False)
KEYS = [(1, 1, 0, slot) for slot in range(40)]


class Blocks:
    """A source whose colours tell its label: class k is painted with the grey 40 k, void (255) with 200."""

    def __init__(self, label):
        self.label = np.asarray(label, np.uint8)
        grey = np.where(self.label == 255, 200, 40 * self.label)
        self.image = np.repeat(grey[..., None], 3, -1).astype(np.uint8)

    @property
    def record(self):
        return {"file_name": "blocks", "image_id": "blocks", "source": self}

    def read_image(self, record):
        return self.image

    def read_label(self, record):
        return self.label


def street(height=120, width=160):
    """Class 1 in eight blocks of 8x8, class 2 in one, class 3 below, a void strip; the rest is class 0."""
    label = np.zeros((height, width), np.uint8)
    label[100:] = 3
    label[:, 156:] = 255
    for i in range(8):
        label[10 + 20 * (i % 2) :, 10 + 16 * i :][:8, :8] = 1
    label[70:78, 100:108] = 2
    return label


def mapper(**changes):
    arguments = {
        "hard": HARD,
        "rule": RegionRule((32, 48), 2.5, 1.5, 3.0),
        "context_range": (1.25, 4.0),
        "shift": 0.1,
        "random_share": 0.0,
        "min_area": 4,
        "merge_distance": 2,
        "flip": True,
        "photometric": False,
    }
    return RegionMapper(**(arguments | changes))


def drawn(crops, label, number=40):
    """Regions `[number, 4]` as drawn for the keys."""
    boxes = []
    for slot in range(number):
        with seeded(1, 1, 0, slot):
            boxes.append(crops.draw(label))
    return np.stack(boxes)


# --- crops -----------------------------------------------------------------------------------------------------------


def test_a_crop_is_a_function_of_its_key():
    record, crops = Blocks(street()).record, mapper(photometric=True)
    first, other = crops(record, (1, 1, 7, 3)), crops(record, (1, 1, 7, 4))
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    state = np.random.get_state()[1].copy()
    again = mapper(photometric=True)(record, (1, 1, 7, 3))
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["sem_seg"], again["sem_seg"])
    assert not torch.equal(first["sem_seg"], other["sem_seg"])
    assert np.array_equal(np.random.get_state()[1], state), "the global generator is left alone"


@pytest.mark.parametrize("label", [street(), np.zeros((120, 160)), np.full((120, 160), 255), street()[:20, :30]])
def test_crops_have_one_size_and_known_labels(label):
    for key in KEYS[:8]:
        out = mapper(random_share=0.5)(Blocks(label).record, key)
        assert out["image"].shape == (3, 32, 48) and out["image"].dtype == torch.uint8
        assert out["sem_seg"].shape == (32, 48) and out["sem_seg"].dtype == torch.int64
        assert set(out["sem_seg"].unique().tolist()) <= set(np.unique(label).tolist())
        assert out["image_id"] == "blocks" and "source" not in out


def test_crops_show_hard_pixels():
    shown = [np.isin(mapper()(Blocks(street()).record, key)["sem_seg"], [1, 2]).any() for key in KEYS]
    assert np.mean(shown) == 1
    anywhere = [
        np.isin(mapper(random_share=1.0)(Blocks(street()).record, key)["sem_seg"], [1, 2]).any() for key in KEYS
    ]
    assert 0.1 < np.mean(anywhere) < 0.9


@pytest.mark.parametrize("flip", [False, True])
def test_labels_stay_with_their_pixels(flip):
    """Where a pixel's surroundings in the crop have its own class, its colour is that class's."""
    near = np.ones((5, 5), np.uint8)  # at zoom 3 colours mix up to 1.5 crop pixels from a border
    checked, sides = 0, set()
    for key in KEYS:
        out = mapper(flip=flip, random_share=0.3)(Blocks(street()).record, key)
        label, grey = out["sem_seg"].numpy().astype(np.uint8), out["image"][0].numpy()
        inner = cv2.erode(label, near) == cv2.dilate(label, near)
        assert np.array_equal(grey[inner], np.where(label == 255, 200, 40 * label)[inner])
        checked += (inner & (label > 0)).sum()
        sides.add(bool((label[:, :1] == 255).any()))
    assert checked > 1000
    assert sides == ({False, True} if flip else {False}), "void lies at the right of the frame"


def test_colours_are_distorted_and_labels_are_not():
    plain, coloured = (mapper(flip=False, photometric=p)(Blocks(street()).record, KEYS[1]) for p in (False, True))
    assert torch.equal(plain["sem_seg"], coloured["sem_seg"])
    assert not torch.equal(plain["image"], coloured["image"]) and coloured["image"].dtype == torch.uint8


def test_a_zoom_of_two_on_whole_pixels_repeats_labels():
    label = np.zeros((40, 40), np.uint8)
    label[16:24, 16:24] = 1
    crops = mapper(rule=RegionRule((32, 32), 1.0, 2.0, 2.0), shift=0.0, flip=False)
    out = crops(Blocks(label).record, KEYS[0])
    assert np.array_equal(out["sem_seg"], np.kron(label[12:28, 12:28], np.ones((2, 2), int)))


def test_regions_are_inside_and_within_the_zoom_range():
    for label in (street(), np.zeros((120, 160), np.uint8)):
        for share in (0.0, 1.0):
            boxes = drawn(mapper(random_share=share, shift=0.5), label)
            size = boxes[:, 2:] - boxes[:, :2]
            zoom = np.array([48, 32]) / size
            assert np.allclose(zoom[:, 0], zoom[:, 1]) and (zoom > 1.5 - 1e-6).all() and (zoom < 3 + 1e-6).all()
            assert (boxes >= -1e-6).all() and (boxes[:, 2:] <= np.array([160, 120]) + 1e-6).all()
    assert (drawn(mapper(random_share=1.0), street())[:, 1].max()) > 80, "anywhere"


def test_a_frame_smaller_than_a_region_is_at_the_centre_of_its_crop():
    label = np.ones((10, 12), np.uint8)
    label[:, :6] = 0
    (box,) = drawn(mapper(rule=RegionRule((32, 48), 2.5, 1.0, 1.0)), label, 1)
    assert box.tolist() == [-18, -11, 30, 21]
    out = mapper(rule=RegionRule((32, 48), 2.5, 1.0, 1.0), flip=False)(Blocks(label).record, KEYS[0])
    assert (out["sem_seg"][:, :24] == 0).all() and (out["sem_seg"][:, 24:] == 1).all()


def test_zoom_follows_from_size_and_context():
    label = np.zeros((120, 160), np.uint8)
    label[50:58, 70:82] = 1  # with context 2: 24x16, as wide as the crop at zoom 2
    (box,) = drawn(mapper(context_range=(2.0, 2.0), shift=0.0), label, 1)
    assert box == pytest.approx([64, 46, 88, 62])
    sizes = [box[2] - box[0] for box in drawn(mapper(shift=0.0), label)]
    assert min(sizes) == pytest.approx(16) and max(sizes) == pytest.approx(32), "15 to 48, within the zoom range"
    assert len(set(sizes)) > 10


def test_the_shift_is_a_share_of_the_region():
    label = np.zeros((120, 160), np.uint8)
    label[56:64, 74:86] = 1
    boxes = drawn(mapper(shift=0.25), label)
    size = boxes[:, 2:] - boxes[:, :2]
    shift = ((boxes[:, :2] + boxes[:, 2:]) / 2 - (80, 60)) / size
    assert np.abs(shift).max() <= 0.25 + 1e-6 and shift.min() < -0.15 and shift.max() > 0.15


def test_each_class_is_as_likely_however_rare():
    boxes = drawn(mapper(shift=0.0, context_range=(1.0, 1.0)), street(), 100)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    rare = np.abs(middle - (104, 74)).max(axis=1) < 1e-3
    assert 0.35 < rare.mean() < 0.65, "class 2 has one region of nine"
    assert len(np.unique(middle[~rare].round(3), axis=0)) == 8


def test_a_rare_class_that_touches_another_has_regions_of_its_own():
    label = np.zeros((120, 160), np.uint8)
    label[60:68, 60:92] = 1
    label[60:64, 92:96] = 2  # as a rider on a motorcycle
    boxes = drawn(mapper(shift=0.0, context_range=(1.0, 1.0)), label)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert {tuple(place) for place in middle.round(3)} == {(76, 64), (94, 62)}


def test_a_long_region_is_shown_in_parts_all_along():
    label = np.zeros((200, 300), np.uint8)
    label[100:103, 20:280] = 1
    boxes = drawn(mapper(shift=0.0), label, 60)
    assert np.allclose(boxes[:, 2] - boxes[:, 0], 32)
    assert (boxes[:, 0] >= 20 - 1e-6).all() and (boxes[:, 2] <= 280 + 1e-6).all()
    assert boxes[:, 0].min() < 40 and boxes[:, 2].max() > 260
    assert np.allclose((boxes[:, 1] + boxes[:, 3]) / 2, 101.5)


def test_small_regions_do_not_count_and_near_ones_are_one():
    label = np.zeros((120, 160), np.uint8)
    label[20, 20] = 1
    label[60:64, 60:64] = label[60:64, 66:70] = 1
    boxes = drawn(mapper(shift=0.0), label)
    assert np.allclose((boxes[:, :2] + boxes[:, 2:]) / 2, (65, 62))
    apart = drawn(mapper(shift=0.0, merge_distance=1), label)
    assert len(np.unique(((apart[:, :2] + apart[:, 2:]) / 2).round(3), axis=0)) == 2


def config(repository, *opts):
    return load_config(repository / "configs" / "Base-UPerNet.yaml", [str(x) for x in opts])


def test_crops_as_configured(repository):
    opts = ("MODEL.REGION.CROP_SIZE", "[32, 64]", "MODEL.REGION.ZOOM_RANGE", "[1.0, 2.0]", "MODEL.REGION.MIN_AREA", 9)
    opts += ("MODEL.REGION.CONTEXT_RANGE", "[1.0, 2.0]", "MODEL.REGION.SHIFT", 0.125, "MODEL.REGION.CONTEXT", 2.0)
    opts += ("MODEL.REGION.RANDOM_SHARE", 0.5, "MODEL.REGION.MERGE_DISTANCE", 3)
    crops = RegionMapper(config(repository, *opts), HARD)
    assert crops.rule == RegionRule((32, 64), 2.0, 1.0, 2.0, image_size=(1024, 2048)) and crops.hard == list(HARD)
    assert (crops.context_range, crops.shift, crops.random_share) == ((1.0, 2.0), 0.125, 0.5)
    assert (crops.min_area, crops.merge_distance, len(crops.augmentations.augs)) == (9, 3, 2)
    still = RegionMapper(config(repository, "INPUT.RANDOM_FLIP", "none", "INPUT.PHOTOMETRIC", False), HARD)
    assert len(still.augmentations.augs) == 0
    assert still(Blocks(street()).record, KEYS[0])["image"].shape == (3, 512, 512)


# --- frames ----------------------------------------------------------------------------------------------------------


def frames(**changes):
    arguments = {"min_area": 4, "merge_distance": 2, "per_class": False, "flip": True, "photometric": False}
    return FrameMapper(hard=HARD, **(arguments | changes))


def test_boxes_follow_the_flip():
    label = street()
    seen = set()
    for key in KEYS[:10]:
        out = frames()(Blocks(label).record, key)
        flipped = bool((out["sem_seg"][:, 0] == 255).all())
        expected = np.ascontiguousarray(label[:, ::-1]) if flipped else label
        boxes, classes = hard_regions(expected, HARD, min_area=4, merge_distance=2)
        assert np.array_equal(out["sem_seg"], expected)
        assert np.array_equal(out["image"][0], np.where(expected == 255, 200, 40 * expected))
        assert np.array_equal(out["hard_boxes"], boxes) and out["hard_boxes"].dtype == torch.float32
        assert np.array_equal(out["hard_classes"], classes) and out["hard_classes"].dtype == torch.int64
        seen.add(flipped)
    assert seen == {False, True} and len(boxes) == 9


def test_measured_candidates_follow_the_flip():
    label, record = street(), Blocks(street()).record
    mapper = frames()
    boxes, gains = torch.tensor([[1.0, 2, 11, 12], [5, 0, 9, 4]]), torch.tensor([0.25, -0.5])
    mapper.measured = {record["file_name"]: (boxes, gains)}
    width = label.shape[1]
    mirrored = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
    seen = set()
    for key in KEYS[:10]:
        out = mapper(record, key)
        flipped = bool((out["sem_seg"][:, 0] == 255).all())
        assert torch.equal(out["candidates"], mirrored if flipped else boxes) and torch.equal(out["gains"], gains)
        assert out["candidates"].dtype == torch.float32
        seen.add(flipped)
    assert seen == {False, True}
    assert "candidates" not in frames()(record, KEYS[0])


def test_a_frame_that_has_another_size_than_when_it_was_measured_is_refused():
    record, mapper = Blocks(street()).record, frames()
    height, width = street().shape
    for size in ((), (torch.tensor([height, width]),)):
        mapper.measured = {record["file_name"]: (torch.zeros(1, 4), torch.zeros(1), *size)}
        assert len(mapper(record, KEYS[0])["candidates"]) == 1
    mapper.measured = {record["file_name"]: (torch.zeros(1, 4), torch.zeros(1), torch.tensor([7, 9]))}
    with pytest.raises(InputError, match=rf"has {width}x{height} pixels, and had 9x7 when gain was measured"):
        mapper(record, KEYS[0])


def test_boxes_lie_on_their_regions():
    out = frames()(Blocks(street()).record, KEYS[0])
    for (x0, y0, x1, y1), k in zip(out["hard_boxes"].int().tolist(), out["hard_classes"].tolist(), strict=True):
        assert (out["sem_seg"][y0:y1, x0:x1] == k).all() and (out["image"][:, y0:y1, x0:x1] == 40 * k).all()


@pytest.mark.parametrize("label", [np.zeros((20, 30)), np.full((20, 30), 255), np.full((20, 30), 3)])
def test_frames_without_hard_regions(label):
    out = frames()(Blocks(label).record, KEYS[0])
    assert out["hard_boxes"].shape == (0, 4) and out["hard_classes"].shape == (0,)
    assert out["image"].shape == (3, 20, 30)


def test_a_frame_is_a_function_of_its_key():
    record, whole = Blocks(street()).record, frames(photometric=True)
    first = whole(record, (1, 2, 7, 3))
    random.seed(5), np.random.seed(5)
    again = whole(record, (1, 2, 7, 3))
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["hard_boxes"], again["hard_boxes"])
    assert first["draw"] == again["draw"] != whole(record, (1, 2, 7, 4))["draw"]
    assert any(not torch.equal(whole(record, key)["image"], first["image"]) for key in KEYS[:3])


def test_frames_as_configured(repository):
    opts = ("MODEL.REGION.MIN_AREA", 9, "MODEL.REGION.MERGE_DISTANCE", 3)
    assert FrameMapper(config(repository, *opts), HARD).limits == {
        "min_area": 9,
        "merge_distance": 3,
        "per_class": False,
    }
    label = np.zeros((40, 40))
    label[10:20, 10:20] = 1
    label[10:20, 20:30] = 2
    together = FrameMapper(config(repository), HARD)(Blocks(label).record, KEYS[0])
    apart = FrameMapper(config(repository, "MODEL.HARDNESS.CLASS_SCORES", True), HARD)(Blocks(label).record, KEYS[0])
    assert len(together["hard_boxes"]) == 1 and sorted(apart["hard_classes"].tolist()) == [1, 2]
