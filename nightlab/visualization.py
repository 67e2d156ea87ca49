"""Pictures of label maps: colours, overlays, errors, and one scene's panels over a legend. Arrays in, arrays out.

Everywhere: an image is uint8 `[H, W, 3]`, RGB; a label map is an integer array `[H, W]` of class ids 0 to K-1, where
any other value means that the pixel is ignored; colours are K RGB triples, 0 to 255, in the order of the class ids.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from detectron2.utils.visualizer import Visualizer
from PIL import Image, ImageDraw, ImageFont

Colors = Sequence[Sequence[int]]

WRONG = (255, 64, 64)
CORRECTED = (72, 168, 255)
IGNORED = (128, 128, 128)
BACKGROUND = (20, 20, 24)
TEXT = (232, 232, 236)

MARGIN = 8
FONT_SIZE = 17
BOX_FONT_SCALE = 0.8  # of detectron2's: regions often touch
TITLE_HEIGHT = 28
TILE_WIDTHS = (480, 1024)  # frames outside are enlarged or reduced, so that titles fit and files stay small


def colorize(label: np.ndarray, colors: Colors) -> np.ndarray:
    """A label map in the classes' colours; ignored pixels are black."""
    table = np.zeros((len(colors) + 1, 3), np.uint8)
    table[:-1] = colors
    known = (label >= 0) & (label < len(colors))
    return table[np.where(known, label, len(colors))]


def blend(image: np.ndarray, color: np.ndarray, opacity: float) -> np.ndarray:
    """`color` (another image) laid over `image`; opacity 0 shows the image alone, 1 the colour alone."""
    return cv2.addWeighted(color, opacity, image, 1 - opacity, 0)


def error_map(image: np.ndarray, label: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Where `prediction` is wrong: right pixels show the image, dimmed and without colour."""
    dimmed = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 2, cv2.COLOR_GRAY2RGB)
    ignored = _ignored(label, num_classes)
    wrong = (prediction != label) & ~ignored
    result = dimmed.copy()
    result[wrong] = blend(dimmed, np.full_like(dimmed, WRONG), 0.8)[wrong]
    result[ignored] = IGNORED
    return result


def change_map(
    image: np.ndarray, label: np.ndarray, before: np.ndarray, after: np.ndarray, num_classes: int
) -> np.ndarray:
    """Where one prediction corrects the other or spoils it; all else shows the image, dimmed and without colour."""
    result = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 2, cv2.COLOR_GRAY2RGB)
    for where, color in zip(_changes(label, before, after, num_classes), (CORRECTED, WRONG), strict=True):
        result[where] = blend(result, np.full_like(result, color), 0.8)[where]
    result[_ignored(label, num_classes)] = IGNORED
    return result


def change_shares(label: np.ndarray, before: np.ndarray, after: np.ndarray, num_classes: int) -> tuple[float, float]:
    """Shares of corrected and of spoilt pixels among those that count, 0 to 1; NaN where all are ignored."""
    counted = int((~_ignored(label, num_classes)).sum())
    corrected, spoilt = _changes(label, before, after, num_classes)
    return (corrected.sum() / counted, spoilt.sum() / counted) if counted else (float("nan"), float("nan"))


def draw_boxes(image: np.ndarray, boxes: np.ndarray, names: Sequence[str], colors: Colors) -> np.ndarray:
    """Boxes `[R, 4]` (x0, y0, x1, y1) over an image by detectron2's Visualizer, each with its name and colour."""
    drawn = Visualizer(image, font_size_scale=BOX_FONT_SCALE).overlay_instances(
        boxes=boxes, labels=list(names), assigned_colors=[tuple(c / 255 for c in color) for color in colors]
    )
    return drawn.get_image()


def error_share(label: np.ndarray, prediction: np.ndarray, num_classes: int) -> float:
    """Share of wrong pixels among those that count, 0 to 1; NaN where all are ignored."""
    counted = ~_ignored(label, num_classes)
    return float((prediction != label)[counted].mean()) if counted.any() else float("nan")


def scene_panels(
    image: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
    classes: Sequence[str],
    colors: Colors,
    *,
    columns: int = 2,
    largest: int = TILE_WIDTHS[1],
) -> np.ndarray:
    """Image, ground truth, prediction and errors of one scene with titles, over a legend of the classes that occur.

    Frames are brought to a width within `TILE_WIDTHS`, or of at most `largest`, whatever their own.
    """
    num_classes = len(classes)
    share = error_share(label, prediction, num_classes)
    errors = "nothing is labelled" if np.isnan(share) else f"errors, red: {100 * share:.1f} % of pixels (grey: ignored)"
    image, label, prediction = to_tile_width(image, label, prediction, largest=largest)
    tiles = {
        "image": image,
        "ground truth": colorize(label, colors),
        "prediction": colorize(prediction, colors),
        errors: error_map(image, label, prediction, num_classes),
    }
    grid = titled_grid(tiles, columns)
    occurring = [k for k in range(num_classes) if (label == k).any() or (prediction == k).any()]
    return np.vstack([grid, legend([classes[k] for k in occurring], [colors[k] for k in occurring], grid.shape[1])])


def titled_grid(tiles: Mapping[str, np.ndarray], columns: int) -> np.ndarray:
    """Images of one size side by side, row after row, each under its title."""
    first = next(iter(tiles.values()))
    height, width = first.shape[:2]
    step_y, step_x = height + TITLE_HEIGHT, width + MARGIN
    rows = -(-len(tiles) // columns)
    canvas = Image.new("RGB", (columns * step_x + MARGIN, rows * step_y + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for i, (title, tile) in enumerate(tiles.items()):
        x, y = MARGIN + i % columns * step_x, i // columns * step_y
        draw.text((x, y + TITLE_HEIGHT / 2), title, TEXT, text_font(), anchor="lm")
        canvas.paste(Image.fromarray(tile), (x, y + TITLE_HEIGHT))
    return np.asarray(canvas)


def legend(names: Sequence[str], colors: Colors, width: int) -> np.ndarray:
    """A strip `[h, width, 3]` of colour and name pairs, in as many lines as they need."""
    swatch = FONT_SIZE
    places: list[tuple[int, int]] = []
    x, y = MARGIN, 0
    for name in names:
        needed = swatch + MARGIN + round(text_font().getlength(name)) + 2 * MARGIN
        if x > MARGIN and x + needed > width:
            x, y = MARGIN, y + TITLE_HEIGHT
        places.append((x, y))
        x += needed
    canvas = Image.new("RGB", (width, y + TITLE_HEIGHT + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for name, color, (x, y) in zip(names, colors, places, strict=True):
        middle = y + TITLE_HEIGHT // 2
        top = middle - swatch // 2
        draw.rectangle((x, top, x + swatch - 1, top + swatch - 1), tuple(color), outline=TEXT)
        draw.text((x + swatch + MARGIN, middle), name, TEXT, text_font(), anchor="lm")
    return np.asarray(canvas)


def _ignored(label: np.ndarray, num_classes: int) -> np.ndarray:
    return (label < 0) | (label >= num_classes)


def _changes(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where only the second prediction is right, and where only the first is: bool `[H, W]` each."""
    counted = ~_ignored(label, num_classes)
    first, second = before == label, after == label
    return counted & second & ~first, counted & first & ~second


def to_tile_width(image: np.ndarray, *labels: np.ndarray, largest: int = TILE_WIDTHS[1]) -> list[np.ndarray]:
    """An image and its label maps at a width within `TILE_WIDTHS`; small ones grow by a whole factor, to stay crisp."""
    height, width = image.shape[:2]
    smallest = TILE_WIDTHS[0]
    factor = float(-(-smallest // width)) if width < smallest else min(largest / width, 1.0)
    if factor == 1:
        return [image, *labels]
    size = (round(width * factor), max(round(height * factor), 1))
    smooth = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    resized = [cv2.resize(label.astype(np.int16), size, interpolation=cv2.INTER_NEAREST_EXACT) for label in labels]
    return [cv2.resize(image, size, interpolation=smooth), *resized]


@lru_cache(maxsize=1)
def text_font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans as it comes with matplotlib: the same on every machine, with the letters of most alphabets."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), FONT_SIZE)
