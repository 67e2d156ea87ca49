"""The rehearsal of the paper's recipe, with a tiny backbone and tiny frames."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from nightlab.config import load_config
from nightlab.engine.rehearsal import Cost, costs_by_stage, rehearsal_config
from nightlab.errors import InputError

from ..conftest import REPOSITORY

CONFIG = REPOSITORY / "configs" / "nightcity" / "nightlab_hdm_swin_base.yaml"
TINY = """
_BASE_: "{base}"
MODEL:
  DEVICE: cpu
  TIMM:
    NAME: swin_tiny_patch4_window7_224
    OUT_INDICES: [0, 1, 2, 3]
    ARGS: {{embed_dim: 16, depths: [1, 1, 1, 1], num_heads: [1, 1, 1, 1]}}
    DROP_PATH_RATE: 0.0
  SEM_SEG_HEAD: {{CONVS_DIM: 16}}
  AUX_HEAD: {{CONVS_DIM: 8}}
  HARDNESS: {{CONVS_DIM: 16, CANDIDATES: 4}}
  LIGHT: {{CHANNELS: 4, DISCRIMINATOR_CHANNELS: 4}}
  REGION: {{CROP_SIZE: [32, 32]}}
  ANCHOR_GENERATOR: {{SIZES: [[24]]}}
INPUT: {{IMAGE_SIZE: [64, 128], CROP_SIZE: [48, 96]}}
DATALOADER: {{NUM_WORKERS: 1}}
"""


def test_every_stage_is_run_and_its_cost_told(
    load_tool: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, config = tmp_path / "out", tmp_path / "tiny.yaml"
    config.write_text(TINY.format(base=CONFIG))
    command = ["--config-file", str(config), "--output", str(output)]
    assert load_tool("rehearse").main(command) == 0
    stages = json.loads((output / "rehearsal.json").read_text())["stages"]
    assert [stage["stage"] for stage in stages] == ["light", "image", "region", "rdn", "hdm"]
    assert all(stage["steps"] == 2 and stage["iteration_s"] > 0 and stage["peak_mib"] > 0 for stage in stages)
    assert all(stage["waited_s"] > 0 for stage in stages)
    printed = capsys.readouterr().out
    assert "CPU, no AMP, batch 2, frames 64x128, crops 48x96, 1 workers" in printed and "2 of 2" in printed
    assert "waiting [s]" in printed
    assert not list(output.rglob("*.pth"))
    (output / "model_final.pth").touch()
    assert load_tool("rehearse").main(command) == 2 and (output / "model_final.pth").is_file()
    assert "holds checkpoints; name another folder" in capsys.readouterr().err


def test_hours_are_those_of_the_whole_schedule() -> None:
    cfg = load_config(CONFIG)
    own = rehearsal_config(cfg, iterations=3, batch=2, output="out")
    costs = {
        "image": Cost([9.0, 0.5, 0.7, 0.6], [4.0, 0.2, 0.0, 0.1], 100.0),
        "rdn": Cost([1.0], [2.0], 50.0, skipped=1),
    }
    image, rdn = costs_by_stage(cfg, own, costs)
    # 80,000 iterations of 16 images, in steps of 2 that take 0.6 s
    assert image["hours"] == pytest.approx(80000 * 16 / 2 * 0.6 / 3600)
    assert (image["waited_s"], rdn["waited_s"]) == (0.1, 2.0), "the first step's is for the workers to start"
    assert rdn["hours"] == pytest.approx(10000 * 8 / 2 * 1.0 / 3600) and rdn["skipped_by_amp"] == 1


def test_only_what_the_scenes_fit() -> None:
    with pytest.raises(InputError, match="made scenes have 19 classes"):
        rehearsal_config(load_config(CONFIG, ["INPUT.IMAGE_SIZE", "[0, 0]"]), iterations=2, batch=2, output="out")
