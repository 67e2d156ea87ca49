"""The model as one graph: a frame of fixed size in, label map and regions out.

The image level and the parts of the region level are the model's own; only what depends on how many boxes there are is
`fixed`: there are always MAX_REGIONS regions, and those that are not real are masked.
"""

import math
from copy import copy

import torch
from torch import Tensor, nn

from nightlab.errors import InputError
from nightlab.export import fixed
from nightlab.export.fixed import Scored
from nightlab.modeling import merge
from nightlab.modeling.hardness import FEATURE, HardnessDetector
from nightlab.modeling.image_pass import ImagePass
from nightlab.modeling.light import Clahe, OnnxEnhancement, ScriptedEnhancement
from nightlab.modeling.nightlab import NightLab
from nightlab.modeling.regions import Size
from nightlab.modeling.strips import decided

IMAGE_OUTPUTS = ("labels", "confidence")
# The exporter takes sizes of 0 and 1 for constants.
LEAST_REGIONS = 2
DUAL_OUTPUTS = (*IMAGE_OUTPUTS, "image_level_labels", "boxes", "scores", "real")


class ImageLevelGraph(nn.Module):
    """The image level alone: uint8 `[H, W, 3]` (RGB) to `IMAGE_OUTPUTS`, class ids and their probability `[H, W]`."""

    outputs = IMAGE_OUTPUTS

    def __init__(self, model: NightLab):
        super().__init__()
        # Without the parts that it does not run, whose weights torch.export would save all the same.
        self.model = copy(model)
        self.model._modules = {**model._modules, "region_level": None, "detector": None}

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        # A plain tuple: torch.export saves no named one.
        return tuple(decided(self.model.image_pass(_channels_first(frame)).log_probabilities))


class DualLevelGraph(nn.Module):
    """Both levels: uint8 `[H, W, 3]` (RGB) to `DUAL_OUTPUTS`.

    Beside those of the merged map: class ids of the image level alone `[H, W]`, the regions `[R, 4]` in pixels of the
    frame with their scores `[R]`, best first, and which of the R = MAX_REGIONS are real, bool `[R]`.
    """

    outputs = DUAL_OUTPUTS

    def __init__(self, model: NightLab, dynamic: bool = False):
        """`dynamic`: only real regions pass through the region level, so that the size of its batch is the frame's."""
        super().__init__()
        assert model.region_level is not None and model.rule is not None
        self.model = model
        self.dynamic = dynamic
        self.rule = model.how_merged

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        image = model.image_pass(_channels_first(frame))
        found = self.found(image)
        logits = merge.in_use(self.region_logits(image.frame, found), self.rule.used)
        pasted = fixed.paste(logits, found, image.size, self.largest(image.size))
        merged = merge.merge(image.log_probabilities, pasted, self.rule)
        before = decided(image.log_probabilities).labels
        return (*decided(merged), before, found.boxes, torch.where(found.real, found.scores, 0.0), found.real)

    def found(self, image: ImagePass) -> Scored:
        """What `NightLab.detected` and `NightLab.choose` find, filled up to MAX_REGIONS."""
        model = self.model
        assert model.detector is not None
        proposed = self.proposed(model.detector, image)
        in_frame = proposed._replace(
            boxes=proposed.boxes / image.seen_per_frame, scores=model.region_scores(proposed.scores)
        )
        regions = fixed.regions(model.detected_rule(image.size), in_frame, image.size)
        regions = regions._replace(real=regions.real & (regions.scores >= model.score_thresh))
        return fixed.best(regions, model.max_regions, model.nms_thresh)

    def region_logits(self, frame: Tensor, found: Scored) -> Tensor:
        """The region level's logits of all MAX_REGIONS, `[R, K + 1, h, w]`; zeros where `dynamic` leaves some out."""
        model, number = self.model, len(found.boxes)
        if not self.dynamic or number <= LEAST_REGIONS:
            return model._cropped_logits(model.crop([frame], [found.boxes]))
        count = found.real.sum().clamp(min=LEAST_REGIONS).item()  # the real ones are the first
        torch._check(count >= LEAST_REGIONS)
        torch._check(count <= number)
        logits = model._cropped_logits(model.crop([frame], [found.boxes[:count]]))
        return torch.cat([logits, logits.new_zeros(number, *logits.shape[1:])])[:number]

    def proposed(self, detector: HardnessDetector, image: ImagePass) -> Scored:
        """The detector's proposals, in pixels of the seen image."""
        rpn, output = detector.rpn, image.output
        hard = self.model.hard_class_mask
        feature = detector.feature(output.image, output.features, output.logits, image.seen, hard)
        assert tuple(rpn.in_features) == (FEATURE,)
        (anchors,) = rpn.anchor_generator([feature])
        (scores,), (deltas,) = rpn.rpn_head([feature])
        deltas = deltas.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).reshape(-1, 4)
        boxes = rpn.box2box_transform.apply_deltas(deltas, anchors.tensor)
        classes = rpn.num_classes or 1
        by_class = scores.unflatten(1, (-1, classes)).permute(2, 0, 3, 4, 1).reshape(classes, -1)
        after = rpn.post_nms_topk[False]
        found = [
            fixed.proposals(
                boxes,
                of_class,
                image.seen,
                before=rpn.pre_nms_topk[False],
                after=after,
                nms_thresh=rpn.nms_thresh,
                min_size=rpn.min_box_size,
            )
            for of_class in by_class
        ]
        if classes == 1:
            return found[0]
        every = Scored(*(torch.cat(parts) for parts in zip(*found, strict=True)))
        index = torch.where(every.real, every.scores, fixed.LOWEST).sort(descending=True, stable=True).indices[:after]
        return Scored(*(part[index] for part in every))

    def largest(self, frame: Size) -> Size:
        """The height and width in pixels of a frame (height, width) that no region exceeds."""
        rule = self.model.detected_rule(frame)
        return (math.ceil(rule.crop_size[0] / rule.min_zoom), math.ceil(rule.crop_size[1] / rule.min_zoom))


def build_graph(model: NightLab, level: str = "all", dynamic: bool = False) -> ImageLevelGraph | DualLevelGraph:
    """The graph of a model in evaluation mode; `level` "image" leaves out the region level where there is one.

    `dynamic` is that of `DualLevelGraph`.

    Raises:
        InputError: the model holds a part that no graph can.
    """
    for part in (model.image_level, model.region_level):
        if part is not None and isinstance(part.own_segmentor.light, (Clahe, OnnxEnhancement, ScriptedEnhancement)):
            raise InputError("MODEL.LIGHT.NAME: clahe, torchscript and onnx cannot be exported; relam and gamma can")
    if level == "image" or model.region_level is None or model.source == "none" or not model.region_level.used.any():
        return ImageLevelGraph(model)
    if model.source != "detector" or model.detector is None:
        raise InputError(
            f"MODEL.NIGHTLAB.REGIONS {model.source}: only the detector's regions can be exported; set it to detector, "
            "or export the image level alone"
        )
    return DualLevelGraph(model, dynamic)


def _channels_first(frame: Tensor) -> Tensor:
    return frame.permute(2, 0, 1).float()
