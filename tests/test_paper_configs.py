"""The paper's configurations: they build, and one of each kind trains two steps on made trees of its layout.

NIGHTLAB_EVERY_CONFIG=1 in the environment has every one of them trained, which takes some ten minutes more.
"""

import os
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
from nightlab.engine.plan import stage_config, stage_folder, stages_of
from nightlab.engine.run import run
from nightlab.modeling import NightLab

from .conftest import REPOSITORY
from .data.preparation import trees

FOLDERS = ("nightcity", "bdd100k_night", "ablations")
CONFIGS = sorted(f for name in FOLDERS for f in (REPOSITORY / "configs" / name).glob("[!B]*.yaml"))
# Every head alone or under regions, by RDN and HDM, light adaptation of one level and of both, deformable or not, by
# night, with day and adapted from day.
KINDS = (
    "nightcity/pspnet_r101",
    "nightcity/upernet_r101_joint",
    "nightcity/upernet_swin_base_adapted",
    "nightcity/deeplabv3plus_r101_joint",
    "bdd100k_night/nightlab_rdn_swin_base",
    "bdd100k_night/nightlab_hdm_r101_joint",
    "ablations/table4_2_head",
    "ablations/table5_6_both_relam",
)
EVERY = tuple(f"{path.parent.name}/{path.stem}" for path in CONFIGS)
TRAINED = EVERY if os.environ.get("NIGHTLAB_EVERY_CONFIG") else KINDS


def small(cfg: CfgNode) -> CfgNode:
    """The same parts, a few channels each, of random start."""
    cfg.MODEL.TIMM.WEIGHTS = ""
    cfg.MODEL.TIMM.DROP_PATH_RATE = 0.0
    if "swin" in cfg.MODEL.TIMM.NAME:
        cfg.MODEL.TIMM.ARGS.update({"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]})
    else:
        cfg.MODEL.TIMM.NAME = "resnet10t"
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = cfg.MODEL.SEM_SEG_HEAD.ASPP_CHANNELS = 16
    cfg.MODEL.AUX_HEAD.CONVS_DIM = 8
    cfg.MODEL.HARDNESS.CONVS_DIM = 16
    cfg.MODEL.LIGHT.CHANNELS, cfg.MODEL.LIGHT.BLOCKS, cfg.MODEL.LIGHT.DISCRIMINATOR_CHANNELS = 4, 1, 4
    return cfg


BUILT: dict[str, NightLab] = {}


def built(cfg: CfgNode) -> NightLab:
    """The model without values; one for all configurations of the same model."""
    cfg.MODEL.DEVICE = "meta"
    key = cfg.MODEL.dump()
    if key not in BUILT:
        with torch.device("meta"):
            BUILT[key] = build_model(cfg)
    return BUILT[key]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_configuration_of_the_paper_builds(path: Path) -> None:
    model = built(small(load_config(path)))
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
    for stage in stages_of(cfg):
        solver = stage_config(cfg, stage).SOLVER
        assert solver.WARMUP_ITERS < solver.MAX_ITER / 2, f"{stage} gets to its learning rate"
    first_line = path.read_text().splitlines()[0]
    assert f"--config-file {path.relative_to(REPOSITORY)}" in first_line, "its head gives its command"


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("nightlab_hdm_swin_base", range(110, 130)),
        ("upernet_swin_small", range(75, 85)),
        ("upernet_swin_tiny", range(55, 65)),
        ("nightlab_hdm_r101", range(55, 70)),
    ],
)
def test_the_models_of_the_paper_have_their_size(name: str, millions: range) -> None:
    cfg = load_config(REPOSITORY / "configs" / "nightcity" / f"{name}.yaml")
    cfg.MODEL.TIMM.DROP_PATH_RATE = 0.0  # timm computes the rates with a tensor, which has no values here
    model = built(cfg)
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
    light = {"light": (adamw, pytest.approx(0.00003))}
    assert found == light | {"image": by_sgd, "region": by_sgd, "rdn": (adamw, 0.0001), "hdm": (adamw, 0.00005)}


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
    if cfg.MODEL.ADAPT.ENABLED:  # whose discriminator sees 12 pixels at stride 4
        cfg.INPUT.IMAGE_SIZE, cfg.INPUT.CROP_SIZE = [96, 192], [64, 128]
    for stage in ("LIGHT", "ADAPT", "REGION", "RDN", "HDM"):
        cfg.STAGES[stage].MAX_ITER, cfg.STAGES[stage].IMS_PER_BATCH = 2, 2
    cfg.TEST.EVAL_PERIOD, cfg.TEST.PICTURES, cfg.DATALOADER.NUM_WORKERS = 0, 0, 0
    return cfg


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What DETECTRON2_DATASETS names, with all the paper's data sets prepared from made downloads."""
    root, raw = tmp_path_factory.mktemp("datasets"), tmp_path_factory.mktemp("downloads")
    parts = {"original": trees.nightcity(raw / "nightcity"), "plus": trees.nightcity_plus(raw / "plus")}
    prepare_nightcity(root / "nightcity", **parts, progress=False)
    prepare_cityscapes(trees.cityscapes_download(raw / "cityscapes"), root / "cityscapes", progress=False)
    prepare_bdd100k_night(trees.bdd100k(raw / "bdd100k"), root / "bdd100k_night", progress=False)
    return root


@pytest.mark.parametrize("name", TRAINED)
def test_two_iterations_a_stage(name: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(prepared))
    path = REPOSITORY / "configs" / f"{name}.yaml"
    cfg = short(load_config(path), tmp_path / "out")
    cfg.DATASETS.VAL, cfg.DATASETS.VAL_FRACTION = (), 0.5  # HDM needs two images
    (tested,) = cfg.DATASETS.TEST
    (tmp_path / "short.yaml").write_text(cfg.dump())
    arguments = {"config_file": str(tmp_path / "short.yaml"), "opts": [], "eval_only": False, "resume": False}
    results = run(Namespace(**arguments, stage="all"))
    assert list(results["last"]) == [tested]
    for stage in stages_of(cfg):
        assert torch.load(Path(stage_folder(cfg, stage), "model_final.pth"), weights_only=True)["iteration"] == 1
