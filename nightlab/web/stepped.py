"""Models in two steps: a frame goes through the image level once, and is merged anew for each setting of the sliders.

What `choose` keeps of fewer regions, or of those above a higher score, is the start of what it keeps of all: so regions
are chosen and segmented once, best first, and a setting says how many of them count.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nightlab.errors import InputError
from nightlab.modeling.image_pass import ImagePass
from nightlab.modeling.nightlab import ORACLES, Found, NightLab
from nightlab.modeling.regions import choose
from nightlab.modeling.scored import Scored
from nightlab.predictor import Predictor
from nightlab.runtime import ExportedModel

# The slider goes to at least so many regions, however few the configuration takes.
SLIDER_REGIONS = 20


class Sliders(NamedTuple):
    """Where the sliders start and end: how many regions count, and how high they must score.

    `exact` is false where a merged map holds all regions, also those that do not count, wherever they overlap others.
    """

    number: int
    most: int
    threshold: float
    exact: bool


class Seen(NamedTuple):
    """What both levels say: class ids, uint8 `[H, W]`; the regions that count, best first: boxes `[R, 4]` in pixels
    (x0, y0, x1, y1), scores `[R]` and, where the detector tells them, classes `[R]`."""

    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray | None


class Scene(Protocol):
    """One frame that the image level has seen: its class ids, uint8 `[H, W]`, and what the regions make of them."""

    image_level: np.ndarray

    def merged(self, number: int, threshold: float) -> Seen:
        """With at most `number` regions, of those that score at least `threshold`."""


class SteppedModel(Protocol):
    """What the page runs: `size` is the (height, width) whose aspect frames must have, None where any will do;
    `sliders` is None where the model has the image level only."""

    classes: Sequence[str]
    colors: Sequence[Sequence[int]]
    size: tuple[int, int] | None
    sliders: Sliders | None

    def scene(self, frame: np.ndarray) -> Scene:
        """`frame`: uint8 `[H, W, 3]`, RGB."""


class Checkpoint:
    """A predictor's model; what it says with the sliders untouched is what the predictor says."""

    size = None

    def __init__(self, predictor: Predictor):
        """Raises InputError where its regions come from labels, which photos have none of."""
        self.classes, self.colors = predictor.classes, predictor.colors
        model = self._model = predictor.model
        self.sliders: Sliders | None = None
        if predictor.has_regions and model.source != "none":
            if model.source in ORACLES:
                raise InputError(f"MODEL.NIGHTLAB.REGIONS {model.source}: reads labels, which photos lack")
            by_score = model.source == "detector"
            most = max(model.max_regions, SLIDER_REGIONS) if by_score else model.max_regions
            self.sliders = Sliders(model.max_regions, most, model.score_thresh if by_score else 0.0, exact=True)

    @torch.no_grad()
    def scene(self, frame: np.ndarray) -> "CheckpointScene":
        model = self._model
        image = torch.from_numpy(frame).permute(2, 0, 1)
        seen = model.image_pass(image.to(model.device).float())
        found = None
        if self.sliders:
            boxes, scores, classes = model.candidates(seen, {"image": image})
            index = choose(boxes, scores, max_regions=self.sliders.most, nms_thresh=model.nms_thresh, score_thresh=-1.0)
            found = Found(boxes[index], scores[index], None if classes is None else classes[index])
        return CheckpointScene(model, seen, found)


class CheckpointScene:
    """Keeps of the image level no more than its logits, and what the region level said so far."""

    def __init__(self, model: NightLab, image: ImagePass, found: Found | None):
        self._model, self._frame, self._found = model, image.frame, found
        self._scores = image.at(image.size)
        self._logits: Tensor | None = None
        self.image_level = _array(Scored(self._scores).output(scores=False, image_level=False)["labels"])

    @torch.no_grad()
    def merged(self, number: int, threshold: float) -> Seen:
        found = self._found
        if found is None:
            return Seen(self.image_level, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), None)
        count = min(number, int((found.scores >= threshold).sum()))
        boxes = found.boxes[:count]
        scored = self._model.with_regions(self._scores, self._segmented(count), boxes)
        labels = _array(scored.output(scores=False, image_level=False)["labels"])
        kinds = None if found.classes is None else _array(found.classes[:count])
        return Seen(labels, _array(boxes), _array(found.scores[:count]), kinds)

    def _segmented(self, count: int) -> Tensor:
        """The region level's logits of the first `count` regions; it sees each of them once."""
        assert self._found is not None
        known, boxes = self._logits, self._found.boxes
        done = 0 if known is None else len(known)
        if known is None or count > done:
            (more,) = self._model.region_logits([self._frame], [boxes[done:count]])
            known = self._logits = more if known is None or not done else torch.cat([known, more])
        return known[:count]


class Exported:
    """An exported file: its graph merges all regions at once, so the sliders say where its merged map is shown."""

    def __init__(self, model: ExportedModel):
        self._model = model
        self.classes, self.colors, self.size = model.classes, model.colors, model.size
        most = int(model.metadata.get("max_regions", 0))
        self.sliders = Sliders(most, most, 0.0, exact=False) if most else None

    def scene(self, frame: np.ndarray) -> "ExportedScene":
        return ExportedScene(self._model, frame)


class ExportedScene:
    """Outside of the regions that count, the image level stands."""

    def __init__(self, model: ExportedModel, frame: np.ndarray):
        seen = model(frame)
        self.image_level, self._labels = seen.image_level, seen.labels
        self._boxes = np.array([region.box for region in seen.regions], np.float32).reshape(-1, 4)
        self._scores = np.array([region.score for region in seen.regions], np.float32)

    def merged(self, number: int, threshold: float) -> Seen:
        count = min(number, int((self._scores >= threshold).sum()))
        labels = self.image_level.copy()
        for box in self._boxes[:count]:
            x0, y0, x1, y1 = np.ceil(box - 0.5).clip(min=0).astype(int)  # pixels whose centres lie inside, as in merge
            labels[y0:y1, x0:x1] = self._labels[y0:y1, x0:x1]
        return Seen(labels, self._boxes[:count], self._scores[:count], None)


def stepped(path: Path | None, config: Path | None = None, opts: Sequence[str] = ()) -> Checkpoint | Exported:
    """The model of a file that `nightlab.load` takes, or of a configuration that names its weights.

    Raises:
        InputError: there is no such model, or it cannot be run on photos.
    """
    import nightlab
    from nightlab.config import load_config

    if path is None:
        assert config is not None
        return Checkpoint(Predictor(load_config(config, opts)))
    model = nightlab.load(path, config or "", opts)
    return Exported(model) if isinstance(model, ExportedModel) else Checkpoint(model.predictor)


def _array(x: Tensor) -> np.ndarray:
    return x.cpu().numpy()
