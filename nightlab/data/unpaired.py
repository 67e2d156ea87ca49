"""Crops of image sets that need no labels: the day (and night) images that the light adaptation learns from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from nightlab.data.cards import Card
from nightlab.data.mapper import seeded
from nightlab.data.reading import check_pair
from nightlab.data.region_mapper import RegionMapper
from nightlab.data.scaling import RandomScale, resized_window
from nightlab.modeling.regions import RegionRule, crop_and_zoom, shift_inside


class UnpairedCrops:
    """(seed, stage, iteration, slot) to a random crop uint8 `[3, h, w]` of a random image of a set."""

    @configurable
    def __init__(
        self,
        records: Sequence[dict[str, Any]],
        *,
        crop_size: Sequence[int],
        image_size: Sequence[int] = (0, 0),
        scale_range: Sequence[float] = (1.0, 1.0),
        rule: RegionRule | None = None,
        regions: RegionMapper | None = None,
        classes: Sequence[str] = (),
        set_number: int = 0,
    ):
        """
        Args:
            records: of any source.
            crop_size, image_size, scale_range: as those of `TrainMapper`.
            rule: crops are enlarged parts of the frame, as those of `RegionMapper`, instead of scaled frames.
            regions: draws crops around hard regions from images that are labelled in these `classes`; others have no
                hard region to go by, and give crops of any place.
            set_number: tells the draws of several sets apart.
        """
        self.records = list(records)
        self.crop_size = (int(crop_size[0]), int(crop_size[1]))
        self.scale = RandomScale(image_size, scale_range)
        self.rule = rule
        self.regions = regions
        self.classes = list(classes)
        self.set_number = set_number

    @classmethod
    def from_config(
        cls,
        cfg: CfgNode,
        records: Sequence[dict[str, Any]],
        *,
        set_number: int,
        regions: RegionMapper | None = None,
        classes: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Crops as the image level's training sees them, or with `regions` as the region level's."""
        own: dict[str, Any] = {"crop_size": cfg.INPUT.CROP_SIZE, "image_size": cfg.INPUT.IMAGE_SIZE}
        own["scale_range"] = cfg.INPUT.SCALE_RANGE
        if regions:
            own = {"crop_size": regions.rule.crop_size, "rule": regions.rule, "regions": regions, "classes": classes}
        return {"records": records, "set_number": set_number, **own}

    def __call__(self, key: Sequence[int]) -> Tensor:
        with self._drawn(key) as record:
            image = record["source"].read_image(record)
            crop = self._scaled(image) if self.rule is None else self._zoomed(image, record, self.rule)
            if np.random.rand() < 0.5:
                crop = crop[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))

    def file_name(self, key: Sequence[int]) -> str:
        """Of the image that the crop of this key is from."""
        with self._drawn(key) as record:
            return record["file_name"]

    @contextmanager
    def _drawn(self, key: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Inside, what is drawn follows from the key; the record is drawn first."""
        with seeded(*key, 1 + self.set_number):
            yield self.records[np.random.randint(len(self.records))]

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        """A window of the scaled frame; one that is smaller than the crop is repeated at its border."""
        scale = self.scale.get_transform(image)
        spare = np.array([scale.new_w, scale.new_h]) - self.crop_size[::-1]
        left, top = (np.random.uniform(0, 1, 2) * np.maximum(spare, 0)).round().astype(int).tolist()
        width, height = min(self.crop_size[1], scale.new_w), min(self.crop_size[0], scale.new_h)
        window = resized_window(image, scale, left, top, width, height)
        missing = [(n // 2, n - n // 2) for n in (self.crop_size[0] - height, self.crop_size[1] - width)]
        return np.pad(window, (*missing, (0, 0)), mode="edge")

    def _zoomed(self, image: np.ndarray, record: dict[str, Any], rule: RegionRule) -> np.ndarray:
        frame = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        crop = crop_and_zoom(frame, self._window(record, frame, rule), self.crop_size)[0]
        return crop.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()

    def _window(self, record: dict[str, Any], frame: Tensor, rule: RegionRule) -> Tensor:
        """A box `[1, 4]` of the crop's aspect."""
        if self.regions and self._is_labelled(record):
            label = record["source"].read_label(record)
            check_pair(frame.permute(1, 2, 0).numpy(), label, record)
            return torch.from_numpy(self.regions.draw(label)[None])
        height, width = frame.shape[-2:]
        rule = rule.for_frame((height, width))
        size = np.array([self.crop_size[1], self.crop_size[0]]) / np.random.uniform(rule.min_zoom, rule.max_zoom)
        corner = np.random.uniform(0, 1, 2) * np.maximum([width, height] - size, 0)
        box = torch.from_numpy(np.concatenate([corner, corner + size])[None])
        return shift_inside(box, (height, width))

    def _is_labelled(self, record: dict[str, Any]) -> bool:
        """Whether the record has a label map in the classes that the hard ones are among."""
        source = record["source"]
        has_label = "sem_seg_file_name" in record if isinstance(source, Card) else bool(getattr(source, "labels", True))
        return has_label and list(source.classes) == self.classes
