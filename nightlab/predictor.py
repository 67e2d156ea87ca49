"""A trained model and its class names, one frame at a time: what the demo, the export and the Python API run."""

from dataclasses import dataclass

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor

import nightlab.modeling  # noqa: F401  registers the meta-architecture
from nightlab.data import catalog
from nightlab.data.cityscapes import CLASSES, COLORS
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError
from nightlab.modeling.inference import prepare
from nightlab.modeling.scored import Scored

Color = tuple[int, int, int]


@dataclass
class Prediction:
    """What a model says of one frame, as arrays on the CPU.

    Attributes:
        image: the frame, uint8 `[H, W, 3]`, RGB.
        labels: class ids, uint8 `[H, W]`, of both levels together where there are two.
        confidence: probability of each pixel's class, float32 `[H, W]`.
        uncertainty: entropy of each pixel's posterior over that of no idea at all, float32 `[H, W]`, 0 to 1, where it
            was asked for.
        image_level: class ids of the image level alone, uint8 `[H, W]`; the same as `labels` where it is alone.
        boxes, scores: the regions, float32 `[R, 4]` (x0, y0, x1, y1) in pixels, and their scores `[R]`, best first.
        box_classes: class id of each region, where the detector tells them.
    """

    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    uncertainty: np.ndarray | None
    image_level: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    box_classes: np.ndarray | None = None


class Predictor:
    """A model built from a configuration, with the weights of MODEL.WEIGHTS and the names of its classes."""

    def __init__(self, cfg: CfgNode):
        """Raises InputError where no weights are named, they belong to another model, or it cannot run as TEST says."""
        if not cfg.MODEL.WEIGHTS:
            raise InputError("MODEL.WEIGHTS: names no checkpoint; give it as MODEL.WEIGHTS path/to/model_final.pth")
        cfg = cfg.clone()
        cfg.defrost()
        self.classes, self.colors = class_names(cfg)
        self.model = build_model(cfg).eval()
        checkpointer = NightLabCheckpointer(self.model, allow_pickle=cfg.MODEL.ALLOW_PICKLE)
        checkpointer.load(cfg.MODEL.WEIGHTS, checkpointables=[])
        prepare(self.model, cfg)

    @property
    def has_regions(self) -> bool:
        return self.model.region_level is not None

    @property
    def has_light(self) -> bool:
        return self.model.image_level.light is not None

    @torch.no_grad()
    def __call__(self, image: np.ndarray, *, uncertainty: bool = False) -> Prediction:
        """`image`: uint8 `[H, W, 3]`, RGB. Scores of all classes are never held for the whole frame."""
        scored = self.model.scored([{"image": _tensor(image)}])[0]
        output = scored.output(scores=False, image_level=True)
        boxes, box_scores, box_classes = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), None
        if scored.regions is not None:
            found = scored.regions
            boxes, box_scores = _array(found.pred_boxes.tensor), _array(found.scores)
            box_classes = _array(found.pred_classes) if found.has("pred_classes") else None
        return Prediction(
            image=image,
            labels=_array(output["labels"]),
            confidence=_array(output["confidence"]),
            uncertainty=_uncertainty(scored) if uncertainty else None,
            image_level=_array(output.get("labels_image_level", output["labels"])),
            boxes=boxes,
            scores=box_scores,
            box_classes=box_classes,
        )

    @torch.no_grad()
    def adapted(self, image: np.ndarray) -> np.ndarray:
        """The frame after the image level's light adaptation, uint8 `[H, W, 3]`; itself where there is none."""
        adapted = self.model.image_level.adapt(_tensor(image)[None].to(self.model.device).float())
        return _array(adapted[0].permute(1, 2, 0).round().clamp(0, 255).byte())


def class_names(cfg: CfgNode) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    """Names and colours of a configuration's classes: those of its data sets, which checkpoints do not repeat.

    Raises:
        InputError: the data sets are unknown here, and the number of classes is not that of Cityscapes either.
    """
    catalog.register_cards(cfg.DATASETS.CARDS)
    number = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.VAL, *cfg.DATASETS.TEST]
    unknown = None
    for name in names:
        try:
            source = catalog.get_source(name)
        except InputError as error:
            unknown = error
            continue
        if len(source.classes) != number:
            raise InputError(
                f"{name}: has {len(source.classes)} classes, the model {number}; set MODEL.SEM_SEG_HEAD.NUM_CLASSES "
                "or DATASETS.TRAIN to what the checkpoint was trained with"
            )
        return source.classes, source.colors
    if number == len(CLASSES):
        return CLASSES, COLORS
    raise unknown or InputError(f"no data set names the {number} classes; set DATASETS.TRAIN to one that does")


def _uncertainty(scored: Scored) -> np.ndarray:
    strips = [torch.special.entr(merged.exp()).sum(dim=0) / np.log(len(merged)) for _, _, merged in scored.strips()]
    return _array(torch.cat(strips).clamp(0, 1))


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def _array(x: Tensor) -> np.ndarray:
    return x.cpu().numpy()
