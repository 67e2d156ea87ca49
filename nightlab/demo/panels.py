"""What a model sees in one frame, as titled panels over a legend. Arrays in, arrays out, as in visualization.py.

Frames of a video are drawn one by one, since all that detectron2's VideoVisualizer adds to its Visualizer is to track
instances and keep the colour of each: here colours are those of classes, and regions are no objects to follow.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from nightlab.errors import InputError
from nightlab.level_panels import OTHER, region_names
from nightlab.light_panels import light_limit, signed_map
from nightlab.predictor import Prediction, Predictor
from nightlab.visualization import Colors, blend, colorize, draw_boxes, legend, titled_grid, to_tile_width

PANELS = ("input", "light_map", "light", "image", "regions", "merged", "uncertainty")
OPACITY = 0.65


def default_panels(predictor: Predictor) -> tuple[str, ...]:
    """What there is to see: with one level the frame and its classes, with two also the regions and the merged map."""
    return ("input", "image", "regions", "merged") if predictor.has_regions else ("input", "image")


def check_panels(names: Sequence[str], predictor: Predictor) -> tuple[str, ...]:
    """The panels asked for, each once. Raises InputError for one that this model has nothing to show in."""
    for name in names:
        if name not in PANELS:
            raise InputError(f"panel {name!r}: choose from {', '.join(PANELS)}")
    if not predictor.has_regions and {"regions", "merged"} & set(names):
        raise InputError("panels regions and merged: this model has the image level only; take image")
    for name in ("light_map", "light"):
        if not predictor.has_light and name in names:
            raise InputError(f"panel {name}: this model has no light adaptation (MODEL.LIGHT.NAME); leave it out")
    return tuple(dict.fromkeys(names))


def draw_panels(
    prediction: Prediction,
    names: Sequence[str],
    classes: Sequence[str],
    colors: Colors,
    *,
    adapted: Callable[[np.ndarray], np.ndarray],
    every_class: bool = False,
) -> np.ndarray:
    """The panels `names`, `[h, w, 3]`.

    Args:
        adapted: the light adaptation, for the panels "light_map" and "light".
        every_class: name all classes and not only those that occur, so that all frames of a video are of one size.
    """
    after = adapted(prediction.image) if {"light_map", "light"} & set(names) else None
    drawn = dict(_panel(name, prediction, classes, colors, after) for name in names)
    grid = titled_grid(drawn, 1 if len(names) == 1 else 2 if len(names) < 5 else 3)
    shown = [prediction.labels] + ([prediction.image_level] if "image" in names else [])
    occurring = [k for k in range(len(classes)) if every_class or any((labels == k).any() for labels in shown)]
    return np.vstack([grid, legend([classes[k] for k in occurring], [colors[k] for k in occurring], grid.shape[1])])


def _panel(
    name: str,
    seen: Prediction,
    classes: Sequence[str],
    colors: Colors,
    after: np.ndarray | None,
) -> tuple[str, np.ndarray]:
    """Title and picture of one panel; `after` is the frame after light adaptation, for those that show it."""
    image = to_tile_width(seen.image)[0]
    if name == "light_map":
        assert after is not None
        limit = light_limit(seen.image, after)
        light = signed_map(image, to_tile_width(after)[0], limit)
        return f"light map, from {-limit:+.2f} (blue) to {limit:+.2f} of white (red)", light
    if name == "light":
        assert after is not None
        return "after light adaptation", to_tile_width(after)[0]
    if name in ("image", "merged"):
        labels = seen.image_level if name == "image" else seen.labels
        large = to_tile_width(seen.image, labels)[1]
        title = "image level" if name == "image" else "both levels merged"
        return title, blend(image, colorize(large, colors), OPACITY)
    if name == "regions":
        boxes = seen.boxes * (image.shape[1] / seen.image.shape[1])
        title = f"{len(boxes)} regions with their scores"
        names = region_names(seen.scores.tolist(), seen.box_classes, classes)
        return title, draw_boxes(image, boxes, names, [OTHER] * len(boxes))
    if name == "uncertainty":
        assert seen.uncertainty is not None
        values = to_tile_width((255 * seen.uncertainty).round().astype(np.uint8))[0]
        heat = cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
        return "uncertainty, bright: the model cannot tell", heat
    return "input", image
