"""Which sets the adaptation learns from: labelled ones, others whose labels are not read, and what cannot be."""

from pathlib import Path

import pytest
from detectron2.config import CfgNode

from nightlab.data import catalog
from nightlab.data.adaptation import adaptation_sets
from nightlab.data.held_out import split_records
from nightlab.data.loader import unpaired_crops
from nightlab.errors import InputError


@pytest.fixture
def cfg(nano_cfg: CfgNode, tiny_card: str) -> CfgNode:
    nano_cfg.DATASETS.TRAIN, nano_cfg.DATASETS.VAL = ("tiny_train",), ("tiny_test",)
    nano_cfg.INPUT.CROP_SIZE = [16, 24]
    return nano_cfg


@pytest.fixture
def photos(tiny_root: Path) -> str:
    """A set of images without labels."""
    path = tiny_root.parent / "photos.yaml"
    head = "name: photos\nroot: tiny\nimages: images/{id}.png\nclasses: [dark, grey, bright]\n"
    path.write_text(head + 'splits: {all: {glob: "images/b*.png"}}\n')
    catalog.register_cards([path])
    return "photos_all"


def sets(cfg: CfgNode) -> tuple[list[str], list[str]]:
    source, target = adaptation_sets(cfg, split_records(cfg)[0])
    assert target["night"]((1, 5, 0, 0)).shape == (3, 16, 24)
    return [record["image_id"] for record in source], [record["image_id"] for record in target["night"].records]


def test_the_training_images_take_the_place_of_the_set_that_is_not_named(cfg: CfgNode) -> None:
    cfg.DATASETS.DAY = ("tiny_val",)
    assert sets(cfg) == (["b0", "b1"], ["a0", "a1", "a2", "a3"])
    cfg.DATASETS.NIGHT = ("tiny_test",)
    assert sets(cfg) == (["b0", "b1"], ["c0", "c1"])
    cfg.DATASETS.DAY = ()
    assert sets(cfg) == (["a0", "a1", "a2", "a3"], ["c0", "c1"])


def test_the_target_needs_no_labels_and_the_source_does(cfg: CfgNode, photos: str) -> None:
    cfg.DATASETS.NIGHT = (photos,)
    assert sets(cfg)[1] == ["b0", "b1"]
    cfg.DATASETS.DAY = (photos,)
    with pytest.raises(InputError, match=r"'photos_all' has images only; add 'labels'"):
        sets(cfg)


def test_the_light_adaptation_needs_no_labels_either(cfg: CfgNode, photos: str) -> None:
    cfg.DATASETS.DAY = (photos,)
    assert [record["image_id"] for record in unpaired_crops(cfg)["day"].records] == ["b0", "b1"]


def test_sets_that_cannot_be(cfg: CfgNode) -> None:
    with pytest.raises(InputError, match=r"DATASETS\.DAY, DATASETS\.NIGHT: the stage adapt"):
        sets(cfg)
    cfg.DATASETS.DAY = ("nightstreet_day_train",)
    with pytest.raises(InputError, match=r"'tiny_train' \(3 classes\) and 'nightstreet_day_train' \(19 classes\)"):
        sets(cfg)
