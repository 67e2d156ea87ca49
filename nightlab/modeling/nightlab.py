"""The NightLab meta-architecture: detectron2's `list[dict]` in, one night segmentation per image out.

Symbols, in the paper's order: I an image `[3, H, W]` in [0, 255]; Phi_seg^I the image-level segmentor; P^I its
prediction `[K, H, W]`, as log-probabilities at the size of the frame; Phi_seg^R the region-level segmentor; P^R its
prediction on a region. "Frame" is the image as given, "seen" is what the image level takes: the frame, scaled.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.errors import InputError
from nightlab.modeling import calibration, labelling, training
from nightlab.modeling import merge as merging
from nightlab.modeling.adversary import Adversary
from nightlab.modeling.hardness import HardnessDetector
from nightlab.modeling.image_pass import ImagePass, posterior
from nightlab.modeling.labelling import LabelRule
from nightlab.modeling.region_level import RegionLevel
from nightlab.modeling.regions import RegionRule, choose, crop_and_zoom, seen_per_frame
from nightlab.modeling.scored import Scored
from nightlab.modeling.segmentor import Segmentor
from nightlab.modeling.sources import SOURCES, Candidates, View, no_candidates
from nightlab.modeling.strips import RowMap

# What a stage of training trains; the other parts are frozen and in evaluation mode meanwhile.
STAGE_PARTS = {
    "light": "image_level",
    "adapt": "image_level",
    "image": "image_level",
    "region": "region_level",
    "rdn": "detector",
    "hdm": "detector",
}
REGION_SOURCES = ("detector", "gain", *SOURCES)
ORACLES = ("ground_truth", "gain")  # those that read the labels


class Found(NamedTuple):
    """The regions kept of one frame, best first: boxes `[R, 4]` in its pixels, scores and, where known, classes."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor | None


@META_ARCH_REGISTRY.register()
class NightLab(nn.Module):
    """`P^I = Phi_seg^I(I)` and, with a region level, the merge of P^I with Phi_seg^R on the regions found hard."""

    hard_class_mask: Tensor
    image_temperature: Tensor
    region_temperature: Tensor
    class_bias: Tensor
    merge_pool: Tensor

    @configurable
    def __init__(
        self,
        *,
        image_level: Segmentor,
        num_classes: int,
        image_size: tuple[int, int],
        region_level: RegionLevel | None = None,
        detector: HardnessDetector | None = None,
        adversary: Adversary | None = None,
        rule: RegionRule | None = None,
        source: str = "none",
        stage: str = "image",
        joint_light: bool = True,
        merge: str = "posterior",
        max_regions: int = 10,
        nms_thresh: float = 0.5,
        score_thresh: float = 0.0,
        min_area: int = 20,
        merge_distance: int = 4,
        return_image_level: bool = False,
        return_scores: bool = True,
        calibrate: bool = False,
        adjust_classes: bool = False,
        labels: LabelRule | None = None,
    ):
        """
        Args:
            image_level: the segmentor of full images.
            num_classes: K.
            image_size: (height, width) that frames are scaled to fit into, aspect kept; zeros keep their size.
            region_level: the segmentor of regions; None makes the image level the whole model.
            detector: RDN or HDM.
            adversary: what the stage "adapt" needs beside the image level; it ends with that stage.
            rule: how boxes become regions; needed with a region level.
            source: where regions come from at test, one of `REGION_SOURCES`.
            stage: what training trains, a key of `STAGE_PARTS`.
            joint_light: the image level's light adaptation learns together with the segmentation, and not in a stage
                "light" before it.
            merge: one of `merge.RULES`.
            max_regions, nms_thresh, score_thresh: which regions are kept (see `choose`).
            min_area, merge_distance: what a hard region in a label map is (see `hard_regions`).
            return_image_level: also return P^I beside the merged prediction.
            return_scores: return log-probabilities; otherwise labels and their confidence alone.
            calibrate: bring the calibration that the checkpoint carries to bear (see `modeling/calibration.py`): both
                levels' logits are divided by their temperature before anything is merged, and the detector's scores
                become probabilities of gain. A level's own arg-max and the ranking of regions stay; what is merged may
                change, for it mixes both posteriors.
            adjust_classes: add the bias of each class that the checkpoint carries to the image level's logits (fitted
                as the calibration; changes its arg-max).
            labels: how the detector's labels are made.
        """
        super().__init__()
        self.image_level = image_level
        self.region_level = region_level
        self.detector = detector
        self.adversary = adversary
        self.image_size = image_size
        self.rule = rule
        self.source = source
        self.merge_rule = merge
        self.max_regions = max_regions
        self.nms_thresh = nms_thresh
        self.score_thresh = score_thresh
        self.min_area = min_area
        self.merge_distance = merge_distance
        self.return_image_level = return_image_level
        self.return_scores = return_scores
        self.calibrate = calibrate
        self.adjust_classes = adjust_classes
        self.compiled = ""  # by which backend of torch.compile, where `inference.prepare` sets one
        self.labels = labels or LabelRule()
        # Which classes the image level finds hard: set from held-out data during training, part of the checkpoint.
        self.register_buffer("hard_class_mask", torch.zeros(num_classes, dtype=torch.bool))
        # Fitted on held-out data after training, part of the checkpoint too; the detector has its own.
        by_class = {"class_bias": (num_classes,), "merge_pool": (2, 2, num_classes)}
        for name in ("image_temperature", "region_temperature", *by_class):
            self.register_buffer(name, calibration.uncalibrated(name, torch.empty(by_class.get(name, ()))).clone())
        self.stage = stage
        trained = getattr(self, STAGE_PARTS[stage])
        if trained is None:
            raise InputError(f"stage {stage}: this configuration has no {STAGE_PARTS[stage]}")
        for part in (image_level, region_level, detector):
            if part is not None and part is not trained:
                part.requires_grad_(False)
        self.learns_light = False
        if isinstance(trained, (Segmentor, RegionLevel)):
            self._share_out_light(trained.own_segmentor, joint_light)
        self.train(self.training)

    def _share_out_light(self, level: Segmentor, joint: bool) -> None:
        """Freeze what the stage does not train of a level that has a light adaptation."""
        by_itself = {"light": not joint, "region": True, "adapt": False}  # the last has other day images
        self.learns_light = level.light_losses is not None and by_itself.get(self.stage, joint)
        if self.stage == "light":
            if level.light_losses is None:
                raise InputError("stage light: MODEL.LIGHT.NAME names nothing that is trained; take relam")
            level.requires_grad_(False)
        for part in (level.light, level.light_losses):
            if part is not None:
                part.requires_grad_(self.learns_light)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        nightlab, region, hardness = cfg.MODEL.NIGHTLAB, cfg.MODEL.REGION, cfg.MODEL.HARDNESS
        for key, names in (("MERGE", merging.RULES), ("REGIONS", REGION_SOURCES)):
            if nightlab[key] not in names:
                raise InputError(f"MODEL.NIGHTLAB.{key}: {nightlab[key]!r} is not one of {', '.join(names)}")
        if nightlab.MAX_REGIONS < 0:
            raise InputError(f"MODEL.NIGHTLAB.MAX_REGIONS: {nightlab.MAX_REGIONS} is less than 0")
        image_level = Segmentor(cfg)
        parts: dict[str, Any] = {}
        if region.ENABLED:
            parts["region_level"] = RegionLevel(cfg)
            parts["rule"] = RegionRule.from_config(cfg)
            parts["source"] = nightlab.REGIONS
            if hardness.LABELS:
                parts["detector"] = HardnessDetector(cfg, image_level.backbone.output_shape())
        if nightlab.STAGE == "adapt":
            parts["adversary"] = Adversary(cfg)
        return {
            "image_level": image_level,
            "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
            "image_size": tuple(cfg.INPUT.IMAGE_SIZE),
            "stage": nightlab.STAGE,
            "joint_light": cfg.MODEL.LIGHT.TRAIN == "joint",
            "merge": nightlab.MERGE,
            "max_regions": nightlab.MAX_REGIONS,
            "nms_thresh": nightlab.NMS_THRESH,
            "score_thresh": nightlab.SCORE_THRESH,
            "min_area": region.MIN_AREA,
            "merge_distance": region.MERGE_DISTANCE,
            "return_image_level": nightlab.RETURN_IMAGE_LEVEL,
            "return_scores": nightlab.RETURN_SCORES,
            "calibrate": nightlab.CALIBRATE,
            "adjust_classes": nightlab.CLASS_BIAS,
            "labels": LabelRule(
                boxes=hardness.BOXES,
                boxes_from=hardness.BOXES_FROM,
                contexts=tuple(hardness.CONTEXTS),
                candidates=hardness.CANDIDATES,
                gain=hardness.GAIN,
                margin=hardness.GAIN_MARGIN,
                graded=hardness.GRADED,
            ),
            **parts,
        }

    @property
    def device(self) -> torch.device:
        return self.image_level.pixel_mean.device

    def train(self, mode: bool = True) -> "NightLab":
        """Puts only the part that the stage trains into training mode."""
        super().train(mode)
        for part in {"image_level", "region_level", "detector"} - {STAGE_PARTS[self.stage]}:
            if getattr(self, part) is not None:
                getattr(self, part).eval()
        return self

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses in training, predictions otherwise.

        Args:
            batched_inputs: per image `image` `[3, H, W]` RGB, uint8 or float in [0, 255], the unresized frame (a crop,
                of one size per batch, in all stages but "rdn" and "hdm"); in training also `sem_seg` int64
                `[H, W]`, optionally `valid_size`, the part of the crop that is not padding, and `divisor` (see
                `divided_together`), for the light adaptation `day` and optionally `night`, crops `[3, H, W]` of other
                images (for the adversary `night`), and for the detector `hard_boxes` `[N, 4]` and `hard_classes` `[N]`;
                at test optionally `height` and `width`, the size wanted for the output.

        Returns:
            In training a dict of scalar losses. At test, per image:
            `sem_seg` `[K, height, width]`: log-probabilities, that is logits whose softmax is the posterior;
            with a region level also `regions`: Instances with `pred_boxes` as pasted, in pixels of the output, and
            `scores`; with RETURN_IMAGE_LEVEL also `sem_seg_image_level`, P^I before merging. Without RETURN_SCORES, in
            place of each map of log-probabilities its arg-max `labels`, uint8 `[height, width]`, and `confidence`, the
            probability of that class, float32; `labels_image_level` and `confidence_image_level`.
        """
        return training.losses(self, batched_inputs) if self.training else self.predict(batched_inputs)

    def divided_together(self, batches: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        """See `training.divided_together`."""
        return training.divided_together(self, batches)

    def predict(
        self, batched_inputs: list[dict[str, Any]], image_level: list[Tensor] | None = None, flips: bool = False
    ) -> list[dict[str, Any]]:
        """Predictions as `forward` returns them; the regions of all images go through the region level together.

        Args:
            image_level: P^I of each image at its output size, where they are known better (multi-scale testing).
            flips: average P^R with that of the mirrored crops.
        """
        return [self.output(scored) for scored in self.scored(batched_inputs, image_level, flips)]

    def output(self, scored: Scored) -> dict[str, Any]:
        """What `forward` returns of one image."""
        return scored.output(scores=self.return_scores, image_level=self.return_image_level)

    @contextmanager
    def returning(self, *, scores: bool) -> Iterator[None]:
        """Inside, outputs of both levels, as scores or as labels."""
        before = self.return_scores, self.return_image_level
        self.return_scores, self.return_image_level = scores, True
        try:
            yield
        finally:
            self.return_scores, self.return_image_level = before

    def scored(
        self, batched_inputs: list[dict[str, Any]], image_level: list[Tensor] | None = None, flips: bool = False
    ) -> list[Scored]:
        """What `predict` returns, to be read in strips; arguments as there."""
        sizes = [output_size(x) for x in batched_inputs]
        passes = [self.image_pass(self.on_device(x["image"])) for x in batched_inputs]
        found = None
        if self.region_level is not None:
            found = [self.choose(self.candidates(p, x)) for p, x in zip(passes, batched_inputs, strict=True)]
        if image_level is None:
            maps = [p.at(size) for p, size in zip(passes, sizes, strict=True)]
        else:
            maps = [RowMap.of(known) for known in image_level]
        if found is None:
            return [Scored(scores) for scores in maps]
        logits = self.region_logits([p.frame for p in passes], [f.boxes for f in found], flips=flips)
        every = []
        for image, size, scores, regions, region_logits in zip(passes, sizes, maps, found, logits, strict=True):
            boxes = regions.boxes * regions.boxes.new_tensor([size[1] / image.size[1], size[0] / image.size[0]] * 2)
            instances = Instances(size, pred_boxes=Boxes(boxes), scores=regions.scores)
            if regions.classes is not None:
                instances.pred_classes = regions.classes
            every.append(self.with_regions(scores, region_logits, boxes, instances))
        return every

    def image_pass(self, frame: Tensor) -> ImagePass:
        """One frame through the image level."""
        seen = self._fit(frame[None])
        size = (seen.shape[-2], seen.shape[-1])
        output = self.image_level(seen)
        logits = self.adjusted(output.logits)[0]
        return ImagePass(frame, size, output, self.image_level.map_at_image_size(logits, size))

    def adjusted(self, logits: Tensor) -> Tensor:
        """The image level's logits `[B, K, h, w]` with what was fitted to them."""
        if self.adjust_classes:
            logits = logits + self.class_bias[:, None, None]
        return self._tempered(logits, self.image_temperature)

    def tempered_region(self, logits: Tensor) -> Tensor:
        """The region level's logits, likewise."""
        return self._tempered(logits, self.region_temperature)

    def _tempered(self, logits: Tensor, temperature: Tensor) -> Tensor:
        return logits.float() / temperature if self.calibrate else logits

    @property
    def pool(self) -> Tensor | None:
        """The weights `[2, K]` by which both levels are pooled, with or without temperatures; None where they are not,
        or the checkpoint has none."""
        pool = self.merge_pool[int(self.calibrate)]
        unfitted = calibration.is_uncalibrated("merge_pool", pool)
        return None if self.merge_rule != "pooled" or unfitted else pool

    @property
    def rule_in_force(self) -> str:
        """How both levels are merged: MODEL.NIGHTLAB.MERGE, or what stands for it where there is no pool."""
        return "posterior" if self.merge_rule == "pooled" and self.pool is None else self.merge_rule

    @property
    def how_merged(self) -> merging.MergeRule:
        """The rule by which both levels are merged, with what it needs of the checkpoint."""
        assert self.region_level is not None
        used, hard = self.region_level.used.tolist(), self.hard_class_mask.tolist()
        return merging.MergeRule(used, self.merge_rule, hard, self.pool)

    def candidates(self, image: ImagePass, given: dict[str, Any]) -> Candidates:
        """Scored regions of a frame from the source in force, before any is left out; none where no class is hard."""
        assert self.region_level is not None
        if not self.region_level.used.any():
            return no_candidates(self.device)
        if self.source == "detector":
            return self.detected(image)
        if self.source in ORACLES and "sem_seg" not in given:
            raise InputError(f"MODEL.NIGHTLAB.REGIONS {self.source}: reads labels, and this image has none")
        view = self.view(image, given)
        if self.source == "gain":
            return self.gain_oracle(image, view)
        return SOURCES[self.source](view)

    def view(self, image: ImagePass, given: dict[str, Any]) -> View:
        """What sources may look at."""
        assert self.rule is not None
        label = given.get("sem_seg")
        return View(
            frame=image.size,
            log_probabilities=image.log_probabilities,
            hard=self.hard_class_mask,
            rule=self.rule.for_frame(image.size),
            min_area=self.min_area,
            merge_distance=self.merge_distance,
            max_regions=self.max_regions,
            label=None if label is None else label.to(self.device),
            key=zlib.crc32(str(given.get("image_id", "")).encode()),
        )

    def detected(self, image: ImagePass, detector: HardnessDetector | None = None, *, raw: bool = False) -> Candidates:
        """The proposals of the detector, or of another one of its kind, as regions, scored by the probability that it
        gives them; `raw`: uncalibrated."""
        detector = detector or self.detector
        if detector is None:
            raise InputError(
                "MODEL.NIGHTLAB.REGIONS detector: this configuration has no detector; set MODEL.HARDNESS.LABELS, or "
                f"name one of {', '.join(SOURCES)}"
            )
        output = image.output
        proposals = detector(output.image, output.features, output.logits, image.seen, self.hard_class_mask)[0][0]
        boxes = proposals.proposal_boxes.tensor / image.seen_per_frame
        regions, source = self.detected_rule(image.size).regions(boxes, image.size)
        classes = proposals.pred_classes[source] if proposals.has("pred_classes") else None
        return Candidates(regions, self.region_scores(proposals.objectness_logits, raw=raw)[source], classes)

    def detected_rule(self, frame: tuple[int, int]) -> RegionRule:
        """How the detector's boxes, in pixels of a frame (height, width), become regions."""
        assert self.rule is not None
        rule = self.rule.for_frame(frame)
        return rule if self.labels.boxes == "component" else rule.for_regions()

    def region_scores(self, logits: Tensor, *, raw: bool = False) -> Tensor:
        """The scores `[N]`, in 0...1, of regions that the detector gives these logits."""
        assert self.detector is not None
        if self.calibrate and not raw:
            logits = self.detector.platt[0] * logits + self.detector.platt[1]
        return logits.sigmoid()

    def gain_oracle(self, image: ImagePass, view: View) -> Candidates:
        """Regions by their true gain: those of ground truth in several contexts, the detector's and random ones."""
        boxes, gain = labelling.measured(self, image, view)
        return Candidates(boxes[gain > 0], gain[gain > 0])

    def choose(self, candidates: Candidates, *, score_thresh: float | None = None) -> Found:
        """At most MAX_REGIONS regions, best first; `score_thresh` in place of SCORE_THRESH, which is the detector's."""
        if score_thresh is None:
            score_thresh = self.score_thresh if self.source == "detector" else -1.0
        index = choose(
            candidates.boxes,
            candidates.scores,
            max_regions=self.max_regions,
            nms_thresh=self.nms_thresh,
            score_thresh=score_thresh,
        )
        classes = None if candidates.classes is None else candidates.classes[index]
        return Found(candidates.boxes[index], candidates.scores[index], classes)

    def region_logits(self, frames: list[Tensor], boxes: list[Tensor], *, flips: bool = False) -> list[Tensor]:
        """The region level's logits `[R, K + 1, h, w]` of the boxes of each frame, in one batch for all frames."""
        crops = self.crop(frames, boxes)
        counts = [len(b) for b in boxes]
        if len(crops) == 0:
            return [crops.new_zeros(0, len(self.hard_class_mask) + 1, 1, 1)] * len(frames)
        logits = self._cropped_logits(crops)
        if flips:
            mirrored = self._cropped_logits(crops.flip(-1)).flip(-1)
            logits = torch.logaddexp(logits.log_softmax(dim=1), mirrored.log_softmax(dim=1))
        return list(logits.split(counts))

    def crop(self, frames: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """The boxes `[R, 4]` of each frame `[3, H, W]`, cut out and zoomed, those of all frames together."""
        assert self.rule is not None
        size = self.rule.crop_size
        crops = torch.cat([crop_and_zoom(frame, b, size) for frame, b in zip(frames, boxes, strict=True)])
        return crops.clamp(0, 255)  # at the frame's border, crops continue its slopes by half a pixel

    def _cropped_logits(self, crops: Tensor) -> Tensor:
        """The region level's logits over whole crops: at the head's own size, or the crop's where that was padded."""
        assert self.region_level is not None
        segmentor = self.region_level.segmentor
        height, width = crops.shape[-2:]
        if self.compiled:  # for a few numbers of crops, and not for every one
            filled = F.pad(crops, (0,) * 7 + (-len(crops) % self.max_regions,))
            logits = self.region_level(filled).logits[: len(crops)]
        else:  # their number may be a symbol, in an export
            logits = self.region_level(crops).logits
        logits = self.tempered_region(logits.float())
        if height % segmentor.step or width % segmentor.step:
            logits = segmentor.at_image_size(logits, (height, width))
        return logits

    def merge(self, log_probabilities: Tensor, region_logits: Tensor, boxes: Tensor) -> Tensor:
        """P^I `[K, H, W]` with the regions' predictions pasted in; boxes in its pixels. Without boxes P^I itself."""
        scored = self.with_regions(RowMap.of(log_probabilities), region_logits, boxes)
        return scored.output(scores=True, image_level=False)["sem_seg"]

    def with_regions(
        self, image_level: RowMap, region_logits: Tensor, boxes: Tensor, regions: Instances | None = None
    ) -> Scored:
        """P^I of one frame with the regions' predictions to be pasted in; boxes in its pixels."""
        rule = self.how_merged if len(boxes) else None  # which asks the device
        if rule is None or not any(rule.used):
            return Scored(image_level, lambda rows, _: rows, regions)
        windows = boxes.double().cpu()  # once, and not for every strip
        answers = merging.in_use(region_logits, rule.used)
        return Scored(image_level, partial(self.merge_rows, image_level.size, answers, windows, rule), regions)

    def merge_rows(
        self,
        size: tuple[int, int],
        region_logits: Tensor,
        boxes: Tensor,
        rule: merging.MergeRule,
        image_level: Tensor,
        rows: range,
    ) -> Tensor:
        """The rows `[K, len(rows), W]` of P^I, of a map of `size`, with what `merge` makes of them by `rule`; of the
        region level's outputs those in use."""
        if not any(top < rows.stop and bottom > rows.start for _, top, _, bottom in boxes.tolist()):
            return image_level
        pasted = merging.paste(region_logits, boxes, size, rows)
        return merging.merge(image_level, pasted, rule)

    def log_probabilities(
        self, image: Tensor, size: tuple[int, int], *, scale: float = 1.0, flip: bool = False
    ) -> Tensor:
        """P^I `[K, *size]` of one frame `[3, H, W]`, seen at `scale` times the test size, mirrored where `flip`."""
        seen = self._fit(image[None], scale)
        seen = seen.flip(-1) if flip else seen
        logits = self.adjusted(self.image_level(seen).logits)
        scores = self.image_level.map_at_image_size(logits[0], (seen.shape[-2], seen.shape[-1]))
        scores = scores.mapped(lambda rows: rows.flip(-1)) if flip else scores
        return scores.resized(size).mapped(posterior).whole()

    def gains(self, image: ImagePass, label: Tensor | None, boxes: Tensor) -> Tensor:
        """IoU gain `[N]` of regions `[N, 4]` of one frame, against its label map `[H, W]`; NaN where all is ignored."""
        return labelling.gains(self, image, label, boxes)

    def _fit(self, image: Tensor, scale: float = 1.0) -> Tensor:
        """The frame scaled, aspect kept, to fit into `image_size` times `scale` (anti-aliased where it shrinks)."""
        frame = (image.shape[-2], image.shape[-1])
        size = self.seen_size(frame, scale)
        if size == frame:
            return image
        return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=size < frame)

    def seen_size(self, frame: tuple[int, int], scale: float = 1.0) -> tuple[int, int]:
        """(height, width) of what the image level sees of a frame (height, width)."""
        ratio = scale * seen_per_frame(frame, self.image_size)
        return max(round(frame[0] * ratio), 1), max(round(frame[1] * ratio), 1)

    def on_device(self, image: Tensor) -> Tensor:
        """An image of an input dict, float in [0, 255]."""
        return image.to(self.device, non_blocking=True).float()


def output_size(record: dict[str, Any]) -> tuple[int, int]:
    """Height and width wanted for an input dict's output: its `height` and `width`, or those of its image."""
    height, width = record["image"].shape[-2:]
    return record.get("height", height), record.get("width", width)
