"""What goes to TensorBoard beside curves: the spread of gains, and small pictures of both levels."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from nightlab.data import catalog
from nightlab.engine.in_tensorboard import GAIN_BINS, put_gains, put_levels


@pytest.mark.parametrize("gains, number", [([0.1, -0.2, 0.0], 3), ([0.1], 1), ([], 0)])
def test_a_histogram_of_all_gains(gains, number):
    half = torch.tensor(gains[1:])
    measured = {"a.png": (torch.zeros(len(half), 4), half), "b.png": (torch.zeros(1, 4), torch.tensor(gains[:1]))}
    with EventStorage() as storage:
        put_gains(measured)
    found = storage._histograms
    assert len(found) == (number > 0)
    if found:
        assert found[0]["tag"] == "hdm/measured_gain" and found[0]["num"] == number
        assert sum(found[0]["bucket_counts"]) == number and len(found[0]["bucket_limits"]) == GAIN_BINS
        assert found[0]["max"] == pytest.approx(max(gains))


def test_pictures_of_held_out_images(nano_cfg, tiny_card):
    nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    nano_cfg.MODEL.REGION.ENABLED, nano_cfg.MODEL.REGION.CROP_SIZE = True, [32, 32]
    nano_cfg.MODEL.NIGHTLAB.REGIONS = "ground_truth"
    model = build_model(nano_cfg).train()
    model.hard_class_mask[1] = model.region_level.used[1] = True
    records = catalog.load((f"{tiny_card}_train",))
    with EventStorage() as storage:
        put_levels(model, records)
    names, pictures = [x[0] for x in storage._vis_data], [x[1] for x in storage._vis_data]
    assert names == [f"val/{records[i]['image_id']}" for i in (0, 2, 3)]
    assert all(p.dtype == torch.uint8 and p.shape[0] == 3 and p.shape[2] < 1100 for p in pictures)
    assert model.training and not model.return_image_level


@pytest.mark.parametrize("regions", [False, True])
def test_the_image_level_alone_has_pictures_too(nano_cfg, tiny_card, regions):
    """Also where there is a region level, as long as there are no regions."""
    nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    nano_cfg.MODEL.REGION.ENABLED, nano_cfg.MODEL.REGION.CROP_SIZE = regions, [32, 32]
    model = build_model(nano_cfg).train()
    records = catalog.load((f"{tiny_card}_train",))[:1]
    with EventStorage() as storage:
        put_levels(model, records)
    ((name, picture, _),) = storage._vis_data
    assert name == f"val/{records[0]['image_id']}" and picture.dtype == torch.uint8 and picture.shape[2] < 1100
    assert model.training
