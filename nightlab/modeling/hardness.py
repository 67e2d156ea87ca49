"""Finding hard regions without ground truth: detectron2's RPN as RDN or HDM; only the labels differ.

RDN learns boxes around components of hard classes. HDM learns from IoU gain: boxes in which the region level did better
than the image level are objects, boxes in which it did worse are background.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY, build_anchor_generator, build_backbone
from detectron2.modeling.proposal_generator import build_proposal_generator
from detectron2.modeling.proposal_generator.rpn import RPN, RPN_HEAD_REGISTRY, StandardRPNHead
from detectron2.structures import Boxes, ImageList, Instances, pairwise_iou
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.modeling.backbone import TimmBackbone
from nightlab.modeling.calibration import UNCALIBRATED
from nightlab.modeling.inference import in_precision
from nightlab.modeling.layers import conv_norm_relu, groups_of_eight, resize_to
from nightlab.modeling.regions import Size, best_iou
from nightlab.modeling.sources import doubt_of

FEATURE = "hardness"
# In the state of a model whose detector has a `DoubtInAnchors`: how much it counts.
DOUBT_WEIGHT = "detector.doubt_weight"
# Doubt inside an anchor, as a share of the smallest one's area, below which one is as little as another.
_LEAST_DOUBT = 0.01


@PROPOSAL_GENERATOR_REGISTRY.register()
class RegionRPN(RPN):
    """detectron2's RPN with four additions: boxes that are known to be bad, anchors of unknown worth, degrees of worth,
    and classes.

    Ground truth is one `Instances` per image with `gt_boxes`, `gt_worth` (float, 0...1: what is to be scored there)
    and, with class scores, `gt_classes`. Boxes worth something match anchors as in detectron2; anchors that overlap one
    worth nothing are background.
    """

    @configurable
    def __init__(self, *, negative_iou: float = 0.5, background: bool = True, num_classes: int = 0, **kwargs: Any):
        """
        Args:
            negative_iou: an anchor with this IoU or more to a negative box, and no positive one, is background.
            background: whether anchors that match no box at all are background too (otherwise they are ignored).
                Images without a negative box always count theirs as background.
            num_classes: how many classes are scored per anchor, each one against everything else; 0: one score.
        """
        super().__init__(**kwargs)
        self.negative_iou = negative_iou
        self.background = background
        self.num_classes = num_classes

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES if cfg.MODEL.HARDNESS.CLASS_SCORES else 0
        ret = {**super().from_config(cfg, input_shape), "background": cfg.MODEL.HARDNESS.BACKGROUND}
        if classes:
            head = ret["head"]
            old = head.objectness_logits
            head.objectness_logits = nn.Conv2d(old.in_channels, old.out_channels * classes, 1)
            nn.init.normal_(head.objectness_logits.weight, std=0.01)
            nn.init.zeros_(head.objectness_logits.bias)
        return {**ret, "num_classes": classes}

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As detectron2's: per image what is to be scored (0...1, or -1: ignored) and matched boxes, over the anchors
        of all levels."""
        every = Boxes.cat(anchors)
        matches = [self._match(every, instances) for instances in gt_instances]
        return [self._sampled(match) for match in matches], [match.boxes for match in matches]

    def _sampled(self, match: "_Match") -> Tensor:
        """What a sample of the anchors is to score `[A]`; -1 for the others."""
        label = self._subsample_labels(match.label)
        return torch.where(label == 1, match.worth, label.to(match.worth.dtype))

    def _match(self, anchors: Boxes, instances: Instances) -> "_Match":
        good = instances.gt_worth > 0
        positive = instances[good]
        quality = pairwise_iou(positive.gt_boxes, anchors)
        # detectron2's low-quality matches would turn every anchor positive for a box that meets none.
        met = quality.amax(dim=1) > 0 if quality.numel() else quality.new_zeros(len(positive), dtype=torch.bool)
        positive, quality = positive[met], quality[met]
        index, label = self.anchor_matcher(quality)
        negative = instances.gt_boxes[~good]
        if len(negative):
            near = best_iou(anchors.tensor, negative.tensor) >= self.negative_iou
            label[(label != 1) & near] = 0
            if not self.background:
                label[(label == 0) & ~near] = -1
        if len(positive) == 0:
            nowhere = torch.zeros_like(anchors.tensor)
            return _Match(label, nowhere, nowhere[:, 0], index)
        classes = positive.gt_classes[index] if positive.has("gt_classes") else torch.zeros_like(index)
        return _Match(label, positive.gt_boxes.tensor[index], positive.gt_worth[index], classes)

    def losses(
        self,
        anchors: list[Boxes],
        scores: list[Tensor],
        targets: list[Tensor],
        deltas: list[Tensor],
        boxes: list[Tensor],
    ) -> dict[str, Tensor]:
        """As detectron2's, for scores that are to be anything in 0...1 (-1: ignored)."""
        losses = super().losses(anchors, scores, [t.sign() for t in targets], deltas, boxes)
        return {**losses, "loss_rpn_cls": self._score_loss(torch.cat(scores, 1), torch.stack(targets))}

    def _score_loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Binary cross entropy of scores `[N, A, ...]`, per anchor that detectron2 would sample at most."""
        loss = F.binary_cross_entropy_with_logits(scores, targets.clamp(min=0), reduction="none") * (targets >= 0)
        return loss.sum() / (self.batch_size_per_image * len(targets)) * self.loss_weight.get("loss_rpn_cls", 1.0)

    def forward(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None = None
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """As detectron2's, without proposals in training; with class scores, they also have `pred_classes`."""
        if not self.num_classes:
            return super().forward(images, features, gt_instances)
        inputs = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(inputs)
        scores, deltas = self.rpn_head(inputs)
        flat_deltas = [d.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for d in deltas]
        # [N, A * K, H, W] -> [N, H * W * A, K]
        by_class = [s.unflatten(1, (-1, self.num_classes)).permute(0, 3, 4, 1, 2).flatten(1, 3) for s in scores]
        losses = {}
        if self.training:
            assert gt_instances is not None, "RegionRPN needs gt_instances in training"
            losses = self._class_losses(anchors, by_class, flat_deltas, gt_instances)
        proposals = []
        for c in range(self.num_classes):
            of_class = self.predict_proposals(anchors, [s[..., c] for s in by_class], flat_deltas, images.image_sizes)
            for instances in of_class:
                instances.pred_classes = torch.full_like(instances.objectness_logits, c, dtype=torch.int64)
            proposals.append(of_class)
        return [self._best(Instances.cat(list(parts))) for parts in zip(*proposals, strict=True)], losses

    def predict_proposals(
        self, anchors: list[Boxes], scores: list[Tensor], deltas: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[Instances]:
        """As detectron2's, but in training none: a step learns from its losses, and to look for the best boxes would
        only wait for the device (and raise an error where they are no numbers, in one process of several)."""
        if not self.training:
            return super().predict_proposals(anchors, scores, deltas, image_sizes)
        none = scores[0].new_zeros(0)
        return [Instances(s, proposal_boxes=Boxes(none.view(0, 4)), objectness_logits=none) for s in image_sizes]

    def _best(self, proposals: Instances) -> Instances:
        """Of the proposals for all classes as many as detectron2 keeps, the best first."""
        order = proposals.objectness_logits.sort(descending=True, stable=True).indices
        return proposals[order[: self.post_nms_topk[self.training]]]

    def _class_losses(
        self, anchors: list[Boxes], scores: list[Tensor], deltas: list[Tensor], gt_instances: list[Instances]
    ) -> dict[str, Tensor]:
        """detectron2's losses, the objectness of an anchor being one score per class."""
        every = Boxes.cat(anchors)
        matches = [self._match(every, instances) for instances in gt_instances]
        targets = [self._sampled(match) for match in matches]
        labels, best = [t.sign() for t in targets], [s.amax(dim=-1) for s in scores]
        losses = super().losses(anchors, best, labels, deltas, [match.boxes for match in matches])
        target, classes = torch.stack(targets)[..., None], torch.stack([m.classes for m in matches])
        of_class = torch.where(target > 0, F.one_hot(classes, self.num_classes) * target, target)
        return {**losses, "loss_rpn_cls": self._score_loss(torch.cat(scores, 1), of_class)}


class _Match(NamedTuple):
    """Of all anchors, before sampling: labels `[A]` (1, 0 or -1, ignored), and boxes `[A, 4]`, worth and classes `[A]`
    of what those with label 1 match."""

    label: Tensor
    boxes: Tensor
    worth: Tensor
    classes: Tensor


@RPN_HEAD_REGISTRY.register()
class PriorRPNHead(StandardRPNHead):
    """detectron2's head on all but the last channels, which are a prior of the logits: one for each anchor."""

    @configurable
    def __init__(self, *, in_channels: int, num_anchors: int, **kwargs: Any):
        super().__init__(in_channels=in_channels - num_anchors, num_anchors=num_anchors, **kwargs)
        self.num_anchors = num_anchors

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        scores, deltas = super().forward([x[:, : -self.num_anchors] for x in features])
        priors = [x[:, -self.num_anchors :] for x in features]
        by_anchor = zip(scores, priors, strict=True)  # which may have several scores, one for each class
        return [s + prior.repeat_interleave(s.shape[1] // self.num_anchors, dim=1) for s, prior in by_anchor], deltas


class DoubtInAnchors(nn.Module):
    """How much doubt about hard classes the image level leaves inside of each anchor, in logarithms."""

    anchors: Tensor

    def __init__(self, anchors: Tensor, *, stride: int, offset: float):
        """
        Args:
            anchors: those of one place `[A, 4]`, relative to it, in pixels of the seen image.
            stride, offset: of the places, as of detectron2's generator.
        """
        super().__init__()
        self.register_buffer("anchors", anchors, persistent=False)
        self.smallest = float((anchors[:, 2:] - anchors[:, :2]).prod(dim=1).min())
        self.stride = stride
        self.offset = offset

    def forward(self, posterior: Tensor, hard: Tensor, padded: Size, seen: Size, places: Size) -> Tensor:
        """`[B, A, *places]`: the sum of `doubt_of`, as a share of the smallest anchor.

        Args:
            posterior: P^I `[B, K, h, w]`, of the `padded` image.
            hard: which classes are, `[K]`.
            seen: height and width of the image without padding, beyond which there is no doubt.
        """
        axes = []
        for axis in range(2):
            length, pixel = posterior.shape[2 + axis], padded[axis] / posterior.shape[2 + axis]
            centre = (torch.arange(places[axis], device=hard.device) + self.offset) * self.stride
            low, high = (centre + self.anchors[:, side, None] for side in (1 - axis, 3 - axis))  # [A, places]
            at = torch.arange(length, device=hard.device) * pixel
            high = high.clamp(max=seen[axis])
            covered = torch.minimum(high[..., None], at + pixel) - torch.maximum(low[..., None], at)
            axes.append(covered.clamp(min=0))  # [A, places, length], in pixels of the seen image
        inside = torch.einsum("ayh,bhw,axw->bayx", axes[0], doubt_of(posterior * hard[:, None, None]), axes[1])
        return (inside / self.smallest + _LEAST_DOUBT).log()


class HardnessNeck(nn.Module):
    """Backbone features, and the image level's posterior where it is shared, to one map `[B, C, H/s, W/s]`."""

    def __init__(self, shapes: dict[str, ShapeSpec], in_features: Sequence[str], *, channels: int, prior: int):
        """
        Args:
            in_features: names of the features that are read; all are brought to the stride of the middle one.
            prior: classes of the posterior that is read beside them, with its entropy; 0: none.
        """
        super().__init__()
        self.in_features = tuple(in_features)
        middle = self.in_features[len(self.in_features) // 2]
        self.shape = ShapeSpec(channels=channels, stride=shapes[middle].stride)
        self.middle = middle
        self.prior = prior
        self.laterals = nn.ModuleList(
            conv_norm_relu(int(shapes[name].channels or 0), channels, norm=groups_of_eight) for name in self.in_features
        )
        mixed = channels * len(self.in_features) + (prior + 1 if prior else 0)
        self.mix = nn.Sequential(
            conv_norm_relu(mixed, channels, 3, norm=groups_of_eight),
            conv_norm_relu(channels, channels, 3, norm=groups_of_eight),
        )

    def forward(self, features: dict[str, Tensor], posterior: Tensor | None) -> Tensor:
        height, width = features[self.middle].shape[-2:]
        parts = [
            _to_size(lateral(features[name]), (height, width))
            for lateral, name in zip(self.laterals, self.in_features, strict=True)
        ]
        if self.prior:
            assert posterior is not None
            entropy = torch.special.entr(posterior).sum(dim=1, keepdim=True)
            parts.append(_to_size(torch.cat([posterior, entropy], dim=1), (height, width)))
        return self.mix(torch.cat(parts, dim=1))


class HardnessDetector(nn.Module):
    """Seen images to at most `POST_NMS_TOPK` scored boxes in their pixels, from shared or from own features."""

    platt: Tensor
    doubt_weight: Tensor

    @configurable
    def __init__(
        self, *, backbone: nn.Module | None, neck: HardnessNeck, rpn: RegionRPN, doubt: DoubtInAnchors | None = None
    ):
        """
        Args:
            backbone: the detector's own, on the image itself (the paper's); None reads the image level's features.
            doubt: what the logits of an `rpn` with a `PriorRPNHead` begin from, once `begin_with_doubt` says so.
        """
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.rpn = rpn
        self.doubt = doubt
        if doubt is not None:
            self.register_buffer("doubt_weight", torch.tensor(0.0))
        self.precision = torch.float32  # as of a `Segmentor`
        # Slope and offset that make a score's log-odds those of gain: fitted on held-out data, part of the checkpoint.
        self.register_buffer("platt", torch.tensor(UNCALIBRATED["detector.platt"]))

    @classmethod
    def from_config(cls, cfg: CfgNode, image_shapes: dict[str, ShapeSpec]) -> dict[str, Any]:
        hardness = cfg.MODEL.HARDNESS
        own = hardness.FEATURES == "own"
        backbone = None
        if own:
            own_cfg = cfg.clone()
            own_cfg.defrost()
            own_cfg.MODEL.TIMM = hardness.TIMM
            backbone = build_backbone(own_cfg, ShapeSpec(channels=3))
            if isinstance(backbone, TimmBackbone):  # DistributedDataParallel waits for the gradient of all that learns
                for name, norm in zip(backbone.output_shape(), backbone.norms, strict=True):
                    norm.requires_grad_(name in hardness.IN_FEATURES)
        shapes = backbone.output_shape() if backbone else image_shapes
        prior = 0 if own else cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        neck = HardnessNeck(shapes, hardness.IN_FEATURES, channels=hardness.CONVS_DIM, prior=prior)
        rpn_cfg, shape = cfg.clone(), neck.shape
        rpn_cfg.defrost()
        rpn_cfg.MODEL.RPN.IN_FEATURES = [FEATURE]
        doubt = None
        if hardness.DOUBT:
            anchors = build_anchor_generator(rpn_cfg, [shape])
            (of_a_place,) = anchors.cell_anchors
            doubt = DoubtInAnchors(of_a_place, stride=anchors.strides[0], offset=anchors.offset)
            rpn_cfg.MODEL.RPN.HEAD_NAME = PriorRPNHead.__name__
            shape = ShapeSpec(channels=int(shape.channels or 0) + anchors.num_anchors[0], stride=shape.stride)
        rpn = build_proposal_generator(rpn_cfg, {FEATURE: shape})
        return {"backbone": backbone, "neck": neck, "rpn": rpn, "doubt": doubt}

    @torch.no_grad()
    def begin_with_doubt(self) -> None:
        """From here on a score is the doubt inside, and what is learned from now on; without `doubt`, nothing
        changes."""
        if self.doubt is not None:
            self.doubt_weight.fill_(1.0)
            for parameter in self.rpn.rpn_head.objectness_logits.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        image: Tensor,
        features: dict[str, Tensor],
        logits: Tensor,
        size: tuple[int, int],
        hard: Tensor,
        ground_truth: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Proposals (`proposal_boxes`, `objectness_logits`) of a batch, and the losses in training.

        Args:
            image: the normalised, padded images `[B, 3, H', W']`.
            features, logits: what the image level made of them; no gradient goes back.
            size: (height, width) of the images without padding.
            hard: which classes are, bool `[K]`.
        """
        feature = self.feature(image, features, logits, size, hard)
        return self.rpn(ImageList(image, [size] * len(image)), {FEATURE: feature}, ground_truth)

    def feature(self, image: Tensor, features: dict[str, Tensor], logits: Tensor, size: Size, hard: Tensor) -> Tensor:
        """What the RPN reads `[B, C, h, w]`, of the arguments of `forward`."""
        with in_precision(self, self.precision, image.device):
            if self.backbone is not None:
                features, posterior = self.backbone(image), None
            else:
                features = {name: x.detach() for name, x in features.items()}
                posterior = logits.detach().float().softmax(dim=1)
            feature = self.neck(features, posterior)
        if not self.training:
            feature = feature.float()  # scores and boxes, and so NMS
        if self.doubt is None:
            return feature
        assert posterior is not None, "a detector with a backbone of its own does not see what the image level doubts"
        padded, places = (image.shape[-2], image.shape[-1]), (feature.shape[-2], feature.shape[-1])
        # Training may be in mixed precision, which would round sums over anchors.
        with torch.autocast(image.device.type, enabled=False) if self.training else nullcontext():
            prior = self.doubt_weight * self.doubt(posterior, hard, padded, size, places)
        return torch.cat([feature, prior.to(feature.dtype)], dim=1)


def _to_size(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages where a map shrinks, so that nothing is skipped; bilinear where it grows."""
    return F.adaptive_avg_pool2d(x, size) if x.shape[-2] > size[0] else resize_to(x, size)
