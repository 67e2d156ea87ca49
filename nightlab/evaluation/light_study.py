"""What light adaptation does to a set of images, in figures: luminance, contrast, and how much structure it keeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from nightlab.evaluation.plots import figure_file
from nightlab.modeling.light_losses import dissimilarity
from nightlab.modeling.nightlab import NightLab
from nightlab.modeling.segmentor import Segmentor

FIGURES = ("luminance", "adapted_luminance", "contrast", "adapted_contrast", "ssim", "clipped")
# Rec. 601
_LUMA = (0.299, 0.587, 0.114)


class Adapted(NamedTuple):
    """A frame and what light adaptation made of it, uint8 `[H, W, 3]`, with the figures of `light_figures`."""

    frame: np.ndarray
    adapted: np.ndarray
    figures: dict[str, float]


def adapting_level(model: NightLab) -> Segmentor | None:
    """The level whose light adaptation is shown: the image level, or the region level where it alone has one."""
    levels = [level.own_segmentor for level in (model.image_level, model.region_level) if level is not None]
    return next((level for level in levels if level.light is not None), None)


@torch.no_grad()
def adapt_record(level: Segmentor, record: dict[str, Any]) -> Adapted:
    """Light adaptation of one record's whole frame, at its own size."""
    frame = record["source"].read_image(record)
    image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].to(level.pixel_mean.device).float()
    adapted = level.adapt(image)
    result = adapted[0].permute(1, 2, 0).round().clamp(0, 255).byte().cpu().numpy()
    return Adapted(frame, result, light_figures(image, adapted))


def light_figures(images: Tensor, adapted: Tensor) -> dict[str, float]:
    """Figures of a batch `[B, 3, H, W]` in [0, 255]: mean luminance and its deviation inside the images, before and
    after, both 0 to 255; `ssim` between the two; the share of colour values that are cut off at white."""
    before, after = _luminance(images), _luminance(adapted)
    return {
        "luminance": float(before.mean()),
        "adapted_luminance": float(after.mean()),
        "contrast": float(before.flatten(1).std(dim=1).mean()),
        "adapted_contrast": float(after.flatten(1).std(dim=1).mean()),
        "ssim": 1 - float(dissimilarity(images, adapted)),
        "clipped": float((adapted >= 254.5).float().mean()),
    }


def average(figures: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Mean of each figure over the images, with their number."""
    return {key: float(np.mean([f[key] for f in figures])) for key in figures[0]} | {"images": len(figures)}


def light_table(documents: Sequence[dict[str, Any]]) -> str:
    """Figures of several adaptations of the same images, a Markdown table."""
    digits = {"ssim": 3, "clipped": 3}
    rows = [[d["name"], *(f"{d[key]:.{digits.get(key, 1)}f}" for key in FIGURES)] for d in documents]
    headers = ["adaptation", "luminance", "adapted", "contrast", "adapted", "SSIM", "clipped"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def draw_light(documents: Sequence[dict[str, Any]], output: Path, day: dict[str, Any] | None = None) -> None:
    """Luminance and contrast after adaptation against the structure kept, beside those of the raw images (SSIM 1) and
    of day images, as .png or .svg."""
    with figure_file(output, (9, 3.6)) as figure:
        for axes, key in zip(figure.subplots(1, 2), ("luminance", "contrast"), strict=True):
            axes.plot(1, documents[0][key], "k*", label="as it is")
            for d in documents:
                axes.plot(d["ssim"], d[f"adapted_{key}"], "o", label=d["name"])
            if day:
                axes.axhline(day[key], linestyle=":", color="gray", label="day")
            axes.set(xlabel="SSIM (structure kept)", ylabel=f"mean {key} (0 to 255)")
        axes.legend(fontsize=7)


def _luminance(images: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", images.float(), torch.tensor(_LUMA, device=images.device))
