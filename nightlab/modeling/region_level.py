"""The region level: the same segmentor a second time, on cropped and zoomed regions, with K + 1 outputs."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from nightlab.modeling.losses import UNUSED
from nightlab.modeling.segmentor import Segmentor, SegmentorOutput


class RegionLevel(nn.Module):
    """Phi_seg^R: crops `[R, 3, h, w]` in [0, 255] to logits `[R, K + 1, h/4, w/4]`; output K is *other*.

    Which classes it answers for, `used`, is part of the checkpoint: the hard ones, or all K (then *other* is unused).
    """

    used: Tensor

    @configurable
    def __init__(self, *, segmentor: Segmentor, num_classes: int, all_classes: bool):
        super().__init__()
        self.segmentor = segmentor
        self.num_classes = num_classes
        self.all_classes = all_classes
        self.register_buffer("used", torch.zeros(num_classes, dtype=torch.bool))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        region = cfg.clone()
        region.defrost()
        head = region.MODEL.SEM_SEG_HEAD
        head.NUM_CLASSES = classes + 1
        if len(head.CLASS_WEIGHTS):
            head.CLASS_WEIGHTS = [*head.CLASS_WEIGHTS, 1.0]
        return {
            "segmentor": Segmentor(region, level="region"),
            "num_classes": classes,
            "all_classes": cfg.MODEL.REGION.CLASSES == "all",
        }

    def start_from(self, image_level: Segmentor, hard: Tensor) -> None:
        """Take over the image level's weights; *other* starts as the mean of the classes that it stands for.

        A light adaptation that only one of the levels has stays as it is.
        """
        self.used.copy_(torch.ones_like(hard) if self.all_classes else hard)
        rest = ~hard if (~hard).any() else hard
        mine = self.segmentor.state_dict()
        state = {}
        for name, theirs in image_level.state_dict().items():
            if name not in mine:
                continue
            if mine[name].shape != theirs.shape:  # a classifier's weight or bias
                theirs = torch.cat([theirs, theirs[rest].mean(dim=0, keepdim=True)])
            state[name] = theirs
        self.segmentor.load_state_dict({**mine, **state})

    @property
    def own_segmentor(self) -> Segmentor:
        """The segmentor that it wraps."""
        return self.segmentor

    def forward(self, crops: Tensor) -> SegmentorOutput:
        output = self.segmentor(crops)
        aux = output.aux_logits
        return output._replace(logits=self._mask(output.logits), aux_logits=None if aux is None else self._mask(aux))

    def losses(
        self, output: SegmentorOutput, target: Tensor, divisor: Tensor | None = None, hard: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Cross entropy against class maps `[R, h, w]`; classes that are not used count as *other*. Where all are used,
        it is of the two questions that merging asks: which of the `hard` classes, bool `[K]`, and else which other."""
        return self.segmentor.losses(output, self.targets(target), divisor, self._apart(hard))

    def count_valid(self, target: Tensor, hard: Tensor | None = None) -> Tensor:
        """As the segmentor's."""
        return self.segmentor.count_valid(self.targets(target), self._apart(hard))

    def _apart(self, hard: Tensor | None) -> Tensor | None:
        """Of its K + 1 outputs those of hard classes, where it does not tell these from *other* alone."""
        return torch.cat([hard, hard.new_zeros(1)]) if self.all_classes and hard is not None else None

    def targets(self, target: Tensor) -> Tensor:
        """Class ids in terms of its outputs: classes that are not used are *other*, what is no class is ignored."""
        lookup = torch.arange(self.num_classes, device=target.device)
        lookup = torch.where(self.used, lookup, self.num_classes)
        valid = (target >= 0) & (target < self.num_classes)
        ignored = self.segmentor.ignore_label
        return torch.where(valid, lookup[target.clamp(0, self.num_classes - 1).long()], ignored)

    def _mask(self, logits: Tensor) -> Tensor:
        outputs = torch.cat([self.used, ~self.used.all()[None]])
        return logits.masked_fill(~outputs[:, None, None], UNUSED)
