"""What light adaptation does to a frame: input, light map with its scale, result. Arrays in, arrays out."""

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from nightlab.visualization import BACKGROUND, MARGIN, TEXT, TITLE_HEIGHT, text_font, titled_grid, to_tile_width

BAR_HEIGHT = 14


def light_panels(image: np.ndarray, adapted: np.ndarray) -> np.ndarray:
    """Frame, light map and adapted frame side by side, over the map's scale.

    Args:
        image, adapted: uint8 `[H, W, 3]`, RGB. The light map is their difference, averaged over the colours; red adds
            light, blue takes it, white leaves it.
    """
    limit = light_limit(image, adapted)
    image, adapted = to_tile_width(image)[0], to_tile_width(adapted)[0]
    tiles = {"image": image, "light map": signed_map(image, adapted, limit), "adapted": adapted}
    grid = titled_grid(tiles, 3)
    return np.vstack([grid, scale_bar(limit, grid.shape[1])])


def light_limit(image: np.ndarray, adapted: np.ndarray) -> float:
    """The largest light, in either direction, of 99 % of the pixels, in 0...1; at least 0.01."""
    return max(float(np.percentile(np.abs(_light(image, adapted)), 99)), 0.01)


def signed_map(image: np.ndarray, adapted: np.ndarray, limit: float) -> np.ndarray:
    """The light map in colours, from blue (-limit) over white (0) to red (+limit), uint8 `[H, W, 3]`."""
    return _colours(_light(image, adapted) / limit)


def scale_bar(limit: float, width: int) -> np.ndarray:
    """A strip `[h, width, 3]` of the colours from -limit to +limit with their numbers, in shares of full white."""
    canvas = Image.new("RGB", (width, BAR_HEIGHT + TITLE_HEIGHT + MARGIN), BACKGROUND)
    length = min(360, width - 2 * MARGIN)
    ramp = np.broadcast_to(np.linspace(-1, 1, length), (BAR_HEIGHT, length))
    canvas.paste(Image.fromarray(_colours(ramp)), (MARGIN, 0))
    draw = ImageDraw.Draw(canvas)
    for place, value, anchor in ((0, -limit, "lt"), (length / 2, 0.0, "mt"), (length, limit, "rt")):
        draw.text((MARGIN + place, BAR_HEIGHT + 4), f"{value:+.2f}" if value else "0", TEXT, text_font(), anchor=anchor)
    return np.asarray(canvas)


def _light(image: np.ndarray, adapted: np.ndarray) -> np.ndarray:
    return (adapted.astype(np.float32) - image).mean(axis=-1) / 255


def _colours(signed: np.ndarray) -> np.ndarray:
    """Values in -1...1 as RGB."""
    return (matplotlib.colormaps["RdBu_r"]((np.clip(signed, -1, 1) + 1) / 2)[..., :3] * 255).round().astype(np.uint8)
