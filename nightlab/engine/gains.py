"""HDM's labels: the gain of candidate regions on images that neither level was fitted to, measured once."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm
from torch import Tensor
from tqdm import tqdm

from nightlab.data.held_out import share_of_process
from nightlab.data.mapper import TestMapper
from nightlab.engine.checkpoint import write_whole
from nightlab.errors import InputError
from nightlab.modeling import labelling
from nightlab.modeling.nightlab import NightLab
from nightlab.modeling.weights import read_state_dict

logger = logging.getLogger(__name__)

GAINS = "gains.pt"
Measured = dict[str, tuple[Tensor, ...]]


@torch.no_grad()
def gains_of(model: NightLab, records: Sequence[dict[str, Any]], path: Path, *, keep: bool = False) -> Measured:
    """By file name, candidates `[N, 4]` in pixels of the frame, their gain `[N]` (see `LabelRule`), and the frame's
    height and width `[2]`, which files of earlier versions do not have.

    The processes share the images. They are written to `path`; with `keep`, those that a run left there are taken, so
    that a resumed one learns from the same labels.

    Raises:
        InputError: with `keep`, the file is missing or of other images.
    """
    if keep:
        return _read(records, path)
    training = model.training
    model.eval()
    mine = share_of_process(records)
    counted: dict[str, labelling.Counted] = {}
    sizes: dict[str, Tensor] = {}
    for record in tqdm(mine, desc="gain of candidates", unit="image", disable=not comm.is_main_process()):
        given = TestMapper()(record)
        image = model.image_pass(given["image"].to(model.device).float())
        found = labelling.counted(model, image, model.view(image, given))
        counted[record["file_name"]] = labelling.Counted(*(x.cpu() for x in found))
        sizes[record["file_name"]] = torch.tensor([given["height"], given["width"]])
    model.train(training)
    parts = comm.all_gather((counted, sizes))
    counted = {name: found for part, _ in parts for name, found in part.items()}
    sizes = {name: size for _, part in parts for name, size in part.items()}
    gains = labelling.measured_gains(model.labels, counted, model.hard_class_mask.cpu())
    measured: Measured = {name: (*found, sizes[name]) for name, found in gains.items()}
    if comm.is_main_process():
        write_whole(measured, path)
    comm.synchronize()
    every = torch.cat([gain for _, gain in gains.values()])
    share = 100 * float((every > 0).float().mean()) if len(every) else 0.0
    logger.info("%d candidates of %d images, %.0f %% of them gain", len(every), len(measured), share)
    return measured


def full_gain(measured: Measured) -> float:
    """The gain that nine in ten of the candidates that gain stay below; 1 where none does."""
    gains = torch.cat([torch.zeros(0), *(gain for _, gain, *_ in measured.values())])
    gains = gains[gains > 0]
    return float(np.quantile(gains.numpy(), 0.9)) if len(gains) else 1.0


def _read(records: Sequence[dict[str, Any]], path: Path) -> Measured:
    try:
        measured: Measured = read_state_dict(path)
    except InputError as error:
        raise InputError(
            f"{error}; HDM's stage began with its labels: delete the stage's folder to train it anew"
        ) from None
    if set(measured) != {record["file_name"] for record in records}:
        raise InputError(f"{path}: holds labels of other images; delete the stage's folder to train it anew")
    return measured
