"""Crops of image sets without labels: the day (and night) images that the light adaptation learns from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from torch import Tensor

from nightlab.data.mapper import RandomScale, seeded
from nightlab.modeling.regions import crop_and_zoom, shift_inside


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
        zoom_range: Sequence[float] | None = None,
        set_number: int = 0,
    ):
        """
        Args:
            records: of any source; only their images are read.
            crop_size, image_size, scale_range: as those of `TrainMapper`.
            zoom_range: crops are enlarged parts of the frame, as those of `RegionMapper`, instead of scaled frames.
            set_number: tells the draws of several sets apart.
        """
        self.records = list(records)
        self.crop_size = (int(crop_size[0]), int(crop_size[1]))
        self.scale = RandomScale(image_size, scale_range)
        self.zoom_range = zoom_range
        self.set_number = set_number

    @classmethod
    def from_config(
        cls, cfg: CfgNode, records: Sequence[dict[str, Any]], *, region: bool, set_number: int
    ) -> dict[str, Any]:
        """Crops as the image level's training sees them, or as the region level's."""
        own: dict[str, Any] = {"crop_size": cfg.INPUT.CROP_SIZE, "image_size": cfg.INPUT.IMAGE_SIZE}
        own["scale_range"] = cfg.INPUT.SCALE_RANGE
        if region:
            own = {"crop_size": cfg.MODEL.REGION.CROP_SIZE, "zoom_range": cfg.MODEL.REGION.ZOOM_RANGE}
        return {"records": records, "set_number": set_number, **own}

    def __call__(self, key: Sequence[int]) -> Tensor:
        with seeded(*key, 1 + self.set_number):
            record = self.records[np.random.randint(len(self.records))]
            frame = torch.from_numpy(np.ascontiguousarray(self._frame(record))).permute(2, 0, 1)
            crop = crop_and_zoom(frame, self._window(frame), self.crop_size)[0]
            if np.random.rand() < 0.5:
                crop = crop.flip(-1)
        return crop.round().clamp(0, 255).to(torch.uint8)

    def _frame(self, record: dict[str, Any]) -> np.ndarray:
        image = record["source"].read_image(record)
        if self.zoom_range is not None:
            return image
        augmented = T.AugInput(image)
        T.AugmentationList([self.scale])(augmented)
        return augmented.image

    def _window(self, frame: Tensor) -> Tensor:
        """A box `[1, 4]` of the crop's aspect; a frame smaller than the crop is repeated at its border."""
        height, width = frame.shape[-2:]
        zoom = 1.0 if self.zoom_range is None else float(np.random.uniform(self.zoom_range[0], self.zoom_range[1]))
        size = np.array([self.crop_size[1], self.crop_size[0]]) / zoom
        corner = np.random.uniform(0, 1, 2) * np.maximum([width, height] - size, 0)
        if self.zoom_range is None:
            corner = corner.round()
        box = torch.from_numpy(np.concatenate([corner, corner + size])[None])
        return shift_inside(box, (height, width))
