"""Multi-scale and flip testing with the model's own interface."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from nightlab.modeling.nightlab import NightLab, output_size
from nightlab.modeling.scored import Scored
from nightlab.modeling.strips import RowMap


class NightLabWithTTA(nn.Module):
    """Averages posteriors over scales and mirror images; call it like the model it wraps.

    One running sum per image is kept, whatever the number of scales.
    """

    @configurable
    def __init__(self, model: NightLab, *, scales: Sequence[float], flip: bool):
        """
        Args:
            scales: factors of the test size.
            flip: also the mirror image at each scale.
        """
        super().__init__()
        self.model = model
        self.scales = tuple(scales)
        self.flips = (False, True) if flip else (False,)

    @classmethod
    def from_config(cls, cfg: CfgNode, model: NightLab) -> dict[str, Any]:
        return {"model": model, "scales": cfg.TEST.AUG.SCALES, "flip": cfg.TEST.AUG.FLIP}

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As `NightLab` at test. P^I is the averaged posterior; with a region level, P^R is averaged over mirror images
        of its crops, found by the plain image level, and both are merged once."""
        averages = [self.average(x) for x in batched_inputs]
        if self.model.region_level is None:
            return [self.model.output(Scored(RowMap.of(average))) for average in averages]
        return self.model.predict(batched_inputs, averages, flips=len(self.flips) > 1)

    def average(self, given: dict[str, Any]) -> Tensor:
        """P^I `[K, height, width]` of one input, averaged: the logarithm of a mean of posteriors."""
        image = given["image"].to(self.model.device).float()
        total: Tensor | None = None
        for scale in self.scales:
            for flip in self.flips:
                posterior = self.model.log_probabilities(image, output_size(given), scale=scale, flip=flip).exp_()
                total = posterior if total is None else total.add_(posterior)
        assert total is not None
        return total.div_(len(self.scales) * len(self.flips)).clamp_(min=torch.finfo(total.dtype).tiny).log_()
