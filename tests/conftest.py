"""What all tests share: few threads, no network, fixed seeds, logs that are heard, and the folder of real data."""

import logging
import os
import random
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

# Set before torch is imported, which reads them once. Subprocesses that tests start inherit them.
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from hypothesis import settings
from PIL import Image

from nightlab.config import load_config
from nightlab.data import catalog

REPOSITORY = Path(__file__).parents[1]

# The same examples in every run, and no deadline: a shared machine may be slow at any moment.
settings.register_profile("nightlab", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("nightlab")


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


class _Heard(logging.Logger):
    """Passes on what it logs, although detectron2's `setup_logger`, which a run calls, forbids it."""

    propagate = property(lambda self: True, lambda self, value: None)  # type: ignore[assignment]


# So that `caplog` hears NightLab in whatever order tests run.
logging.getLogger("nightlab").__class__ = _Heard


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with camvid/, bdd_micro/ and bdd_photos/; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("DETECTRON2_DATASETS") or REPOSITORY.parent / "shared" / "data")
    if not (root / "camvid").is_dir():
        pytest.skip(f"no real data: {root} has no folder camvid (point DETECTRON2_DATASETS to the data sets)")
    return root.resolve()


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], ModuleType]:
    """Import a command line of tools/ by its name, as a module.

    By path, because a plain `import tools` may find the package of that name which Detectron2's wheel carries.
    """

    def load(name: str) -> ModuleType:
        spec = spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture
def nano_cfg(repository: Path) -> CfgNode:
    """A configuration small enough for a forward pass in milliseconds: nano Swin, 16-channel head, CPU."""
    cfg = load_config(repository / "configs" / "backbones" / "swin_nano.yaml")
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 16
    cfg.MODEL.AUX_HEAD.CONVS_DIM = 8
    cfg.INPUT.IMAGE_SIZE = [0, 0]
    return cfg


@pytest.fixture
def tiny_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made data set of 3 classes: train a0 to a3, val b0 b1, test c0 c1, at 40x72; the class is the brightness."""
    root = tmp_path / "data" / "tiny"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    rng = np.random.default_rng(0)
    for image_id in ("a0", "a1", "a2", "a3", "b0", "b1", "c0", "c1"):
        label = np.repeat(np.repeat(rng.integers(0, 3, (5, 9)), 8, 0), 8, 1).astype(np.uint8)
        image = (80 * label[..., None] + rng.integers(0, 20, (*label.shape, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{image_id}.png")
        Image.fromarray(label).save(root / "labels" / f"{image_id}.png")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root.parent))
    return root


@pytest.fixture
def tiny_card(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a registered card for `tiny_root`."""
    splits = {"train": "a", "val": "b", "test": "c"}
    lines = [f'  {name}: {{glob: "images/{letter}*.png"}}' for name, letter in splits.items()]
    path = tiny_root.parent / "tiny.yaml"
    path.write_text(
        "name: tiny\nimages: images/{id}.png\nlabels: labels/{id}.png\nclasses: [dark, grey, bright]\nsplits:\n"
        + "\n".join(lines)
        + "\n"
    )
    if "tiny" not in catalog._sources:
        catalog.register_cards([path])
    return "tiny"
