"""What would end a run after hours is said before its first step."""

import pytest

from nightlab.config import load_config
from nightlab.data import catalog
from nightlab.engine.plan import check_names, plan
from nightlab.errors import InputError

from .test_run import config  # noqa: F401 (a fixture)
from .test_stages import dual  # noqa: F401 (a fixture)

RELAM = ["MODEL.LIGHT.NAME", "relam", "DATASETS.DAY", "('tiny_test',)"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.HARDNESS.LABELS", "rdm"),
        ("MODEL.HARDNESS.BOXES", "regions"),
        ("MODEL.HARDNESS.BOXES_FROM", "predicted"),
        ("MODEL.HARDNESS.FEATURES", "common"),
        ("MODEL.REGION.CLASSES", "every"),
        ("MODEL.NIGHTLAB.REGIONS", "gird"),
        ("MODEL.LIGHT.TRAIN", "last"),
        ("MODEL.LIGHT.LEVELS", "['imge']"),
    ],
)
def test_names_that_do_not_exist(dual, key, value):  # noqa: F811
    with pytest.raises(InputError, match=f"^{key}: .* is not one of"):
        check_names(load_config(dual, [key, value]))


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (["MODEL.HARDNESS.LABELS", ""], r"^MODEL\.NIGHTLAB\.REGIONS: there is no detector"),
        (["MODEL.LIGHT.NAME", "relam", "MODEL.LIGHT.LEVELS", "['region']"], r"^DATASETS\.DAY"),
        (
            ["DATASETS.VAL", "()", "DATASETS.VAL_FRACTION", "0.0", "MODEL.NIGHTLAB.HARD_CLASSES", "[]"],
            r"^DATASETS\.VAL: hard classes are found on held-out images, and there are none",
        ),
        (["DATASETS.VAL", "()", "DATASETS.VAL_FRACTION", "0.0"], "HDM learns gain on held-out images"),
        (["STAGES.DETECTOR", "rdn.pth", "MODEL.HARDNESS.LABELS", "rdn"], r"^STAGES\.DETECTOR: .* trains none"),
        (["STAGES.DETECTOR", "rdn.pth", "STAGES.IMAGE_LEVEL", "image.pth"], r"leave STAGES\.IMAGE_LEVEL empty"),
        (["DATASETS.TEST", "('tiny_val',)"], r"held-out images, as .* are test images too"),
        ([*RELAM, "INPUT.CROP_SIZE", "[32, 11]"], r"^INPUT\.CROP_SIZE: \[32, 11\], and the discriminator .* 12 pixels"),
        ([*RELAM, "MODEL.REGION.CROP_SIZE", "[8, 32]"], r"^MODEL\.REGION\.CROP_SIZE: \[8, 32\], and the discriminator"),
    ],
)
def test_what_the_stages_lack(dual, opts, said):  # noqa: F811
    cfg = load_config(dual, opts)
    catalog.register_cards(cfg.DATASETS.CARDS)
    with pytest.raises(InputError, match=said):
        plan(cfg)


def test_an_image_level_may_choose_on_test_images_and_is_warned(config, caplog):  # noqa: F811
    cfg = load_config(config, ["DATASETS.TEST", "('tiny_val',)"])
    catalog.register_cards(cfg.DATASETS.CARDS)
    with caplog.at_level("WARNING", "nightlab"):
        assert plan(cfg) == ["image"]
    assert "flatters the figures" in caplog.text


def test_day_images_are_wanted_only_where_light_is_learned(dual):  # noqa: F811
    opts = ["MODEL.LIGHT.NAME", "relam", "STAGES.IMAGE_LEVEL", "image.pth", "MODEL.LIGHT.LEVELS"]
    assert "region" in plan(load_config(dual, [*opts, "['image']"])), "the image level's is in the checkpoint"
    with pytest.raises(InputError, match=r"^DATASETS\.DAY"):
        plan(load_config(dual, [*opts, "['image', 'region']"]))
