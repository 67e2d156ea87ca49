"""The paper's configurations: they build, and one of each kind trains two steps on made trees of its layout."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from nightlab.config import load_config
from nightlab.data.preparation.bdd100k import prepare_bdd100k_night
from nightlab.data.preparation.cityscapes_set import prepare_cityscapes
from nightlab.data.preparation.nightcity import prepare_nightcity
from nightlab.engine.optimizer import build_optimizer
from nightlab.engine.run import run
from nightlab.engine.stages import stage_config, stages_of

from .conftest import REPOSITORY
from .data.preparation import trees

FOLDERS = ("nightcity", "bdd100k_night", "ablations")
CONFIGS = sorted(f for name in FOLDERS for f in (REPOSITORY / "configs" / name).glob("[!B]*.yaml"))
# Swin-T and Swin-S differ from Swin-B in what `small` replaces, joint training in no part of the model.
BUILT = [path for path in CONFIGS if not any(part in path.stem for part in ("tiny", "small", "joint"))]


def small(cfg: CfgNode) -> CfgNode:
    """The same parts, a few channels each, of random start."""
    cfg.MODEL.TIMM.WEIGHTS = ""
    cfg.MODEL.TIMM.DROP_PATH_RATE = 0.0
    if "swin" in cfg.MODEL.TIMM.NAME:
        cfg.MODEL.TIMM.NAME = "swin_tiny_patch4_window7_224"
        cfg.MODEL.TIMM.OUT_INDICES = [0, 1, 2, 3]
        cfg.MODEL.TIMM.ARGS.update({"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]})
    else:
        cfg.MODEL.TIMM.NAME = "resnet10t"
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = cfg.MODEL.SEM_SEG_HEAD.ASPP_CHANNELS = 16
    cfg.MODEL.AUX_HEAD.CONVS_DIM = 8
    cfg.MODEL.HARDNESS.CONVS_DIM = 16
    cfg.MODEL.LIGHT.CHANNELS, cfg.MODEL.LIGHT.BLOCKS, cfg.MODEL.LIGHT.DISCRIMINATOR_CHANNELS = 4, 1, 4
    return cfg


@pytest.mark.parametrize("path", BUILT, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_configuration_of_the_paper_builds(path: Path) -> None:
    cfg = small(load_config(path))
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
    dual = any(part in path.stem for part in ("_rdn", "_hdm", "_relam"))
    assert (model.detector is not None) == dual
    assert (model.image_level.light is not None) == (dual and path.stem not in ("table5_3_rdn", "table5_4_hdm"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_the_name_of_a_configuration_says(path: Path) -> None:
    cfg = load_config(path)
    labels = next((name for name in ("rdn", "hdm") if name in path.stem), "hdm" if "relam" in path.stem else "")
    assert stages_of(cfg)[-1] == (labels or "image")
    assert ("joint" in path.stem or path.parent.name == "ablations") == bool(cfg.DATASETS.TRAIN_WEIGHTS)
    deformable = path.stem.startswith("table5_2") or "baseline" in path.stem or (labels and "r101" not in path.stem)
    assert path.stem.startswith("table4") or cfg.MODEL.SEM_SEG_HEAD.DEFORM_FPN == bool(deformable)
    first_line = path.read_text().splitlines()[0]
    assert f"--config-file {path.relative_to(REPOSITORY)}" in first_line, "its head gives its command"


@pytest.mark.parametrize(
    ("name", "millions"),
    [("nightlab_hdm_swin_base", range(110, 130)), ("nightlab_hdm_r101", range(55, 70))],
)
def test_the_full_size_models_of_the_paper_build(name: str, millions: range) -> None:
    cfg = load_config(REPOSITORY / "configs" / "nightcity" / f"{name}.yaml", ["MODEL.DEVICE", "meta"])
    cfg.MODEL.TIMM.DROP_PATH_RATE = 0.0  # timm computes the rates with a tensor, which has no values here
    with torch.device("meta"):
        model = build_model(cfg)
    level = sum(p.numel() for p in model.image_level.parameters())
    assert round(level / 1e6) in millions


@pytest.mark.parametrize("data", ["nightcity", "bdd100k_night"])
def test_the_detector_on_deeplab_learns_by_adamw(data: str) -> None:
    """At its rates, which are AdamW's, SGD, by which both levels learn there, would hardly move it."""
    cfg = small(load_config(REPOSITORY / "configs" / data / "nightlab_hdm_r101.yaml", ["MODEL.DEVICE", "meta"]))
    found = {}
    for stage in stages_of(cfg):
        own = stage_config(cfg, stage)
        with torch.device("meta"):
            optimizer = build_optimizer(own, build_model(own))
        found[stage] = (type(optimizer), optimizer.param_groups[0]["lr"])
    by_sgd, adamw = (torch.optim.SGD, 0.01), torch.optim.AdamW
    assert found == {"image": by_sgd, "region": by_sgd, "rdn": (adamw, 0.0001), "hdm": (adamw, 0.00005)}


def short(cfg: CfgNode, output: Path) -> CfgNode:
    """Two iterations a stage, on frames of 24x12 pixels."""
    cfg = small(cfg)
    cfg.OUTPUT_DIR = str(output)
    cfg.MODEL.DEVICE = "cpu"
    cfg.INPUT.IMAGE_SIZE, cfg.INPUT.CROP_SIZE = [48, 96], [32, 64]
    cfg.MODEL.REGION.CROP_SIZE, cfg.MODEL.REGION.MIN_AREA = [32, 32], 1
    cfg.MODEL.NIGHTLAB.HARD_CLASSES = ["pole", "car"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[24, 32]]
    cfg.MODEL.HARDNESS.CANDIDATES = 4
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.CHECKPOINT_PERIOD = 2, 2, 2
    cfg.SOLVER.WARMUP_ITERS = 1
    for stage in ("LIGHT", "REGION", "RDN", "HDM"):
        cfg.STAGES[stage].MAX_ITER, cfg.STAGES[stage].IMS_PER_BATCH = 2, 2
    cfg.TEST.EVAL_PERIOD, cfg.TEST.PICTURES, cfg.DATALOADER.NUM_WORKERS = 0, 0, 0
    return cfg


def run_short(path: Path, tmp_path: Path, *opts: str) -> dict:
    cfg = short(load_config(path, opts), tmp_path / "out")
    (tmp_path / "short.yaml").write_text(cfg.dump())
    arguments = {"config_file": str(tmp_path / "short.yaml"), "opts": [], "eval_only": False, "resume": False}
    return run(Namespace(**arguments, stage="all"))


def test_two_iterations_on_nightcity_with_cityscapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    parts = {"original": trees.nightcity(tmp_path / "raw"), "plus": trees.nightcity_plus(tmp_path / "plus")}
    prepare_nightcity(tmp_path / "nightcity", **parts, progress=False)
    prepare_cityscapes(trees.cityscapes_download(tmp_path / "raw_c"), tmp_path / "cityscapes", progress=False)
    held = ("DATASETS.VAL", "('nightcity_train_held', 'nightcity_val')")  # HDM needs two
    results = run_short(REPOSITORY / "configs/nightcity/nightlab_hdm_swin_tiny_joint.yaml", tmp_path, *held)
    assert "nightcity_plus_val" in results["last"]
    assert (tmp_path / "out" / "stages" / "hdm" / "model_final.pth").is_file()


def test_two_iterations_on_bdd100k_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    prepare_bdd100k_night(trees.bdd100k(tmp_path / "raw"), tmp_path / "bdd100k_night", progress=False)
    held = ("DATASETS.VAL", "('bdd100k_night_train_night_held', 'bdd100k_night_val_night')")
    results = run_short(REPOSITORY / "configs/bdd100k_night/nightlab_hdm_r101_joint.yaml", tmp_path, *held)
    assert "bdd100k_night_val_night" in results["last"]
