"""Fits what a calibration holds to held-out images, in place: biases, temperatures and weights of both levels, and the
line of the detector's score."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import Tensor

from nightlab.data.held_out import share_of_process
from nightlab.engine.calibration_sample import Sample, cross_fitted, sample_levels
from nightlab.evaluation.calibration import as_json, expected_error, sampled_counts
from nightlab.evaluation.hardness_check import check_hardness
from nightlab.modeling import merge as merging
from nightlab.modeling.calibration import (
    LEAST_SLOPE,
    fit_class_bias,
    fit_platt,
    fit_pool,
    fit_temperature,
    negative_log_likelihood,
)
from nightlab.modeling.hardness import HardnessDetector
from nightlab.modeling.nightlab import NightLab

logger = logging.getLogger(__name__)


def fit_levels(cfg: CfgNode, model: NightLab, images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Fit in place all that is not the detector's, of which nothing is fitted yet."""
    samples = _sampled(cfg, model, images)
    document = _fit_bias(model, samples)
    for level, buffer in (("image_level", model.image_temperature), ("region_level", model.region_temperature)):
        if level in samples:
            temperature = fit_temperature(samples[level].log_probabilities, samples[level].target)
            buffer.fill_(temperature)
            found = document[level] = {"temperature": temperature, **_figures(samples[level], temperature)}
            logger.info("%s: temperature %.3f, NLL %.4f to %.4f", level, temperature, found["NLL"], found["NLL_after"])
    for calibrate, name in ((False, "merge"), (True, "merge_calibrated")):
        with calibrated(model, calibrate):
            document |= _fit_pool(model, samples, name)
    return document


def fit_detector(model: NightLab, detector: HardnessDetector, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Fit the line of a detector's score in place, to the gain that merging with temperatures has."""
    with calibrated(model, True):
        checks = comm.all_gather(check_hardness(model, share_of_process(records)))
    scores, gains = (torch.tensor([x for check in checks for x in check[key]]) for key in ("scores", "gains"))
    slope, offset = fit_platt(scores, gains > 0)
    if slope <= LEAST_SLOPE:
        logger.warning("the detector's score does not tell which of %d held-out regions gain", len(scores))
    detector.platt.copy_(torch.tensor([slope, offset]))
    return {"regions": len(scores), "slope": slope, "offset": offset}


@contextmanager
def calibrated(model: NightLab, calibrate: bool) -> Iterator[None]:
    """Inside, the model applies its calibration, or does not."""
    before, model.calibrate = model.calibrate, calibrate
    try:
        yield
    finally:
        model.calibrate = before


def _sampled(cfg: CfgNode, model: NightLab, images: Sequence[dict[str, Any]]) -> dict[str, Sample]:
    model.eval()
    model.source = cfg.MODEL.NIGHTLAB.REGIONS if model.region_level is not None else "none"
    return sample_levels(model, images, cfg.SEED)


def _fit_bias(model: NightLab, samples: dict[str, Sample]) -> dict[str, Any]:
    """Fit the bias of each class in place, where it carries over; with CLASS_BIAS, the sample of the image level gets
    it, too."""
    if "image_level" not in samples:
        return {}
    values, target, later = samples["image_level"]

    def biased(on: Tensor, of: Tensor) -> Tensor:
        return (values[of] + fit_class_bias(values[on], target[on])).log_softmax(dim=1)

    document = cross_fitted("class bias", samples["image_level"], biased)
    if document["kept"]:
        model.class_bias.copy_(fit_class_bias(values, target))
        if model.adjust_classes:
            samples["image_level"] = Sample((values + model.class_bias.cpu()).log_softmax(dim=1), target, later)
    return {"class_bias": document}


def _fit_pool(model: NightLab, samples: dict[str, Sample], name: str) -> dict[str, Any]:
    """Fit in place, where it carries over, by what weights both levels are pooled, as they say it with what was fitted
    before; with temperatures where the model applies them now."""
    if "both" not in samples or model.region_level is None:
        return {}
    both, target, later = samples["both"]
    rule = replace(model.how_merged, name="posterior")
    image, region = both[:, : len(rule.used)], both[:, len(rule.used) :]
    image, region = (part[..., None, None].to(model.device) for part in (image, region))
    image, region = model.adjusted(image).log_softmax(dim=1), model.tempered_region(region).softmax(dim=1)
    merged = merging.fuse(image, region, rule)
    image, merged = (part[..., 0, 0].cpu() for part in (image, merged))

    def pooled(on: Tensor, of: Tensor) -> Tensor:
        return merging.pooled(image[of], merged[of], fit_pool(image[on], merged[on], target[on]))

    what = "pool of both levels" + (" with temperatures" if model.calibrate else "")
    document = cross_fitted(what, Sample(merged, target, later), pooled)
    if document["kept"]:
        model.merge_pool[int(model.calibrate)] = fit_pool(image, merged, target).to(model.device)
    return {name: document}


def _figures(sample: Sample, temperature: float) -> dict[str, Any]:
    figures: dict[str, Any] = {"pixels": len(sample.target)}
    for end, value in (("", 1.0), ("_after", temperature)):
        bins = sampled_counts(sample.log_probabilities, sample.target, value)
        figures["ECE" + end] = 100 * expected_error(bins)
        figures["NLL" + end] = negative_log_likelihood(sample.log_probabilities, sample.target, value)
        figures["bins" + end] = as_json(bins)
    return figures
