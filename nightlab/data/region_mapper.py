"""What the stages after the image level read: crops of hard regions, and whole frames with their hard boxes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from nightlab.data.components import hard_regions
from nightlab.data.mapper import RandomPhotometric, as_input, read_pair, seeded
from nightlab.errors import InputError
from nightlab.modeling.regions import RegionRule, crop_and_zoom, crop_labels, shift_inside


class RegionMapper:
    """Record to one training crop `{"image": uint8 [3, h, w], "sem_seg": int64 [h, w], ...}` around a hard region.

    One of the hard classes of the image is drawn first, then one of its regions, so that rare ones are seen. Position,
    context and zoom are jittered about what a detector will propose; a share of the crops lies anywhere. An image
    without a hard region gives such a crop, too.
    """

    @configurable
    def __init__(
        self,
        *,
        hard: Sequence[bool],
        rule: RegionRule,
        context_range: Sequence[float],
        shift: float,
        random_share: float,
        min_area: int,
        merge_distance: int,
        flip: bool,
        photometric: bool,
    ):
        self.hard = list(hard)
        self.rule = rule
        self.context_range = tuple(context_range)
        self.shift = shift
        self.random_share = random_share
        self.min_area = min_area
        self.merge_distance = merge_distance
        self.augmentations = T.AugmentationList(_flip_and_colours(flip, photometric))

    @classmethod
    def from_config(cls, cfg: CfgNode, hard: Sequence[bool]) -> dict[str, Any]:
        region = cfg.MODEL.REGION
        return {
            "hard": hard,
            "rule": RegionRule.from_config(cfg),
            "context_range": region.CONTEXT_RANGE,
            "shift": region.SHIFT,
            "random_share": region.RANDOM_SHARE,
            "min_area": region.MIN_AREA,
            "merge_distance": region.MERGE_DISTANCE,
            "flip": cfg.INPUT.RANDOM_FLIP != "none",
            "photometric": cfg.INPUT.PHOTOMETRIC,
        }

    def __call__(self, record: dict[str, Any], key: Sequence[int]) -> dict[str, Any]:
        """`key` is all that the crop depends on, as (seed, stage, iteration, slot)."""
        image, label = read_pair(record)
        with seeded(*key):
            box = torch.from_numpy(self.draw(label)[None]).float()
            crop = crop_and_zoom(torch.from_numpy(image).permute(2, 0, 1), box, self.rule.crop_size)[0]
            target = crop_labels(torch.from_numpy(label), box, self.rule.crop_size)[0]
            pixels = crop.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
            augmented = T.AugInput(pixels, sem_seg=target.numpy())
            self.augmentations(augmented)
        return as_input(record, augmented.image, augmented.sem_seg)

    def draw(self, label: np.ndarray) -> np.ndarray:
        """One region (x0, y0, x1, y1) of a label map, from `numpy.random`'s global state (see `seeded`)."""
        boxes, classes = hard_regions(
            label, self.hard, min_area=self.min_area, merge_distance=self.merge_distance, per_class=True
        )
        height, width = label.shape
        rule = self.rule.for_frame((height, width))
        crop = np.array(rule.crop_size[::-1], float)
        if len(boxes) == 0 or np.random.uniform() < self.random_share:
            centre = np.random.uniform(0, 1, 2) * (width, height)
            zoom = _log_uniform(rule.min_zoom, rule.max_zoom)
        else:
            chosen = np.random.choice(np.flatnonzero(classes == np.random.choice(np.unique(classes))))
            low, high = boxes[chosen, :2].astype(float), boxes[chosen, 2:].astype(float)
            context = _log_uniform(*self.context_range)
            zoom = np.clip((crop / ((high - low) * context)).min(), rule.min_zoom, rule.max_zoom)
            # A region longer than the crop can hold shows one part of itself.
            spare = np.maximum(high - low - crop / zoom, 0)
            centre = (low + high) / 2 + spare * np.random.uniform(-0.5, 0.5, 2)
            centre = centre + crop / zoom * np.random.uniform(-self.shift, self.shift, 2)
        half = crop / zoom / 2
        box = torch.from_numpy(np.concatenate([centre - half, centre + half])[None])
        return shift_inside(box, (height, width))[0].numpy()


class FrameMapper:
    """Record to a whole frame for the detector: as `TestMapper`'s, flipped and recoloured at random, with its hard
    regions as `hard_boxes` float `[N, 4]` (tight, in pixels) and `hard_classes` int64 `[N]`, and a number `draw` that
    follows from the key, for what the detector draws.

    Where `measured` holds the IoU gain of regions, by the image's file name, also `candidates` float `[M, 4]` (flipped
    with the frame) and `gains` float `[M]`, and `full_gain`, beyond which one is as good as another. Behind regions and
    gain, `measured` may hold the height and width that the frame had then.
    """

    @configurable
    def __init__(
        self,
        *,
        hard: Sequence[bool],
        min_area: int,
        merge_distance: int,
        per_class: bool,
        flip: bool,
        photometric: bool,
    ):
        self.hard = list(hard)
        self.limits = {"min_area": min_area, "merge_distance": merge_distance, "per_class": per_class}
        self.measured: dict[str, tuple[torch.Tensor, ...]] = {}
        self.full_gain = 1.0
        self.augmentations = T.AugmentationList(_flip_and_colours(flip, photometric))

    @classmethod
    def from_config(cls, cfg: CfgNode, hard: Sequence[bool]) -> dict[str, Any]:
        return {
            "hard": hard,
            "min_area": cfg.MODEL.REGION.MIN_AREA,
            "merge_distance": cfg.MODEL.REGION.MERGE_DISTANCE,
            "per_class": cfg.MODEL.HARDNESS.CLASS_SCORES,
            "flip": cfg.INPUT.RANDOM_FLIP != "none",
            "photometric": cfg.INPUT.PHOTOMETRIC,
        }

    def __call__(self, record: dict[str, Any], key: Sequence[int]) -> dict[str, Any]:
        """Raises InputError that names the file, also where it has another size than when gain was measured on it."""
        image, label = read_pair(record)
        candidates, gains, *size = self.measured.get(record["file_name"], (torch.zeros(0, 4), torch.zeros(0)))
        if size and tuple(size[0].tolist()) != label.shape:
            height, width = size[0].tolist()
            raise InputError(
                f"{record['file_name']}: has {label.shape[1]}x{label.shape[0]} pixels, and had {width}x{height} when "
                "gain was measured on it; restore it, or delete the stage's folder to measure anew"
            )
        augmented = T.AugInput(image, boxes=candidates.numpy(), sem_seg=label)
        with seeded(*key):
            self.augmentations(augmented)
        boxes, classes = hard_regions(augmented.sem_seg, self.hard, **self.limits)  # type: ignore[arg-type]
        item = {
            **as_input(record, augmented.image, augmented.sem_seg),
            "hard_boxes": torch.from_numpy(boxes),
            "hard_classes": torch.from_numpy(classes),
            "draw": int(np.random.SeedSequence(key).generate_state(1)[0]),
        }
        if self.measured:
            candidates = torch.as_tensor(augmented.boxes, dtype=torch.float32)
            item |= {"candidates": candidates, "gains": gains, "full_gain": self.full_gain}
        return item


def _flip_and_colours(flip: bool, photometric: bool) -> list[T.Augmentation]:
    return ([T.RandomFlip()] if flip else []) + ([RandomPhotometric()] if photometric else [])


def _log_uniform(low: float, high: float) -> float:
    return math.exp(np.random.uniform(math.log(low), math.log(high)))
