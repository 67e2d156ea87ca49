"""What TensorBoard shows beside curves: how measured gains are spread, and what the model makes of held-out images."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.utils.events import get_event_storage

from nightlab.engine.gains import Measured
from nightlab.errors import InputError
from nightlab.evaluation.pictures import draw_record, spread
from nightlab.modeling.nightlab import NightLab

PICTURES = 3
GAIN_BINS = 50


def put_gains(measured: Measured) -> None:
    """A histogram of the IoU gain of all candidates that HDM learns from; none where there are no candidates."""
    gains = torch.cat([gain for _, gain, *_ in measured.values()])
    if len(gains):
        get_event_storage().put_histogram("hdm/measured_gain", gains, bins=GAIN_BINS)


def put_levels(model: NightLab, records: Sequence[dict[str, Any]]) -> None:
    """Small pictures of a few records, the same ones each time: regions, ground truth, image level and merged map; with
    the image level alone frame, ground truth, prediction and errors."""
    storage = get_event_storage()
    with model.returning(scores=False):
        for place in spread(len(records), PICTURES):
            try:
                drawn = draw_record(model, records[place], small=True)
            except InputError:  # a file that turned bad, which validation has named
                continue
            storage.put_image(f"val/{records[place]['image_id']}", torch.from_numpy(drawn).permute(2, 0, 1))
