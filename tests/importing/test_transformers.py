"""UPerNet-Swin of transformers with random weights: imported, it gives the same logits."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from detectron2.modeling import build_model
from torch import nn
from torch.nn import functional as F

from nightlab.config import load_config
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.importing import import_segmentor, read_source, recognise
from nightlab.modeling import NightLab

from .models import relative_difference, transformers_upernet

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def peer() -> nn.Module:
    return transformers_upernet()


@pytest.fixture(scope="module")
def imported(peer: Any, tmp_path_factory: pytest.TempPathFactory, load_tool: Callable[[str], ModuleType]) -> Path:
    """The folder with the peer as transformers saves it, and what the command makes of it."""
    folder = tmp_path_factory.mktemp("imported")
    peer.save_pretrained(folder / "peer")
    tool = load_tool("import_weights")
    for name in ("swin.safetensors", "swin.pth"):
        assert tool.main([str(folder / "peer"), str(folder / name)]) == 0
    return folder


def loaded(folder: Path, name: str) -> NightLab:
    """As a user loads it: by the written configuration and MODEL.WEIGHTS, through the strict checkpointer."""
    cfg = load_config(folder / f"{Path(name).stem}.yaml", ["MODEL.DEVICE", "cpu"])
    model = build_model(cfg)
    NightLabCheckpointer(model).load(str(folder / name), checkpointables=[])
    return model.eval()


@pytest.mark.parametrize("name", ["swin.safetensors", "swin.pth"])
@pytest.mark.parametrize("size", [(96, 128), (75, 101)])
def test_logits_agree(peer: nn.Module, imported: Path, name: str, size: tuple[int, int]) -> None:
    """The second size is no multiple of 32 nor of 4. Both pad to patches; transformers then stretches its logits to the
    unpadded size, where NightLab enlarges to the padded size and cuts: the comparison resizes as transformers does.
    """
    level = loaded(imported, name).image_level
    image = 255 * torch.rand(2, 3, *size)
    with torch.no_grad():
        theirs = peer((image - level.pixel_mean) / level.pixel_std).logits
        ours = F.interpolate(level(image).logits, size=size, mode="bilinear", align_corners=False)
    assert theirs.std() > 0.1
    assert relative_difference(ours, theirs) < 1e-4


def test_the_auxiliary_head_agrees(peer: Any, imported: Path) -> None:
    level = loaded(imported, "swin.safetensors").image_level
    features = {"res4": torch.randn(1, 32, 6, 8)}
    with torch.no_grad():
        theirs = peer.auxiliary_head([None, None, features["res4"]])
        assert relative_difference(level.aux_head(features["res4"]), theirs) < 1e-5


def test_the_order_of_padding_and_shifting_matters(peer: nn.Module, imported: Path) -> None:
    """timm's own order gives other logits, so that this test would see a mistake there."""
    described = yaml.safe_load((imported / "swin.yaml").read_text())
    described["MODEL"]["TIMM"]["WINDOWS"] = "timm"
    (imported / "timm.yaml").write_text(yaml.safe_dump(described))
    model = build_model(load_config(imported / "timm.yaml", ["MODEL.DEVICE", "cpu"]))
    NightLabCheckpointer(model).load(str(imported / "swin.pth"), checkpointables=[])
    level = model.eval().image_level
    image = 255 * torch.rand(1, 3, 96, 128)
    with torch.no_grad():
        theirs = peer((image - level.pixel_mean) / level.pixel_std).logits
        ours = F.interpolate(level(image).logits, size=(96, 128), mode="bilinear", align_corners=False)
    assert relative_difference(ours, theirs) > 1e-3


def test_newer_and_older_names_give_the_same(peer: nn.Module, imported: Path, tmp_path: Path) -> None:
    """transformers saves under its first names; `state_dict()` has those of version 5."""
    torch.save(peer.state_dict(), tmp_path / "new.pth")
    model = loaded(imported, "swin.pth")
    states = []
    for path in (tmp_path / "new.pth", imported / "peer"):
        checkpoint = read_source(path)
        source = recognise(checkpoint.tensors, "file")
        state, placements = import_segmentor(checkpoint, source, model, ())
        assert {p.theirs for p in placements if p.theirs} == set(checkpoint.tensors)
        states.append(state)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_another_window_resizes_the_bias_tables(imported: Path) -> None:
    cfg = load_config(imported / "swin.yaml", ["MODEL.DEVICE", "cpu"])
    cfg.MODEL.TIMM.ARGS.window_size = 4
    model = build_model(cfg)
    checkpoint = read_source(imported / "peer")
    state, placements = import_segmentor(checkpoint, recognise(checkpoint.tensors, "file"), model, ())
    notes = [p.note for p in placements if p.ours.endswith("bias_table")]
    assert len(notes) == 7 and set(notes) == {"resized to a window of 4"}
    model.load_state_dict(state)
    key = "layers.1.blocks.0.attention.self.relative_position_bias_table"
    theirs = next(value for name, value in checkpoint.tensors.items() if name.endswith(key))
    ours = model.image_level.backbone.body.get_submodule("layers_1.blocks.0.attn").relative_position_bias_table
    assert ours.shape == (49, 2)
    torch.testing.assert_close(ours[24], theirs[84], rtol=0.2, atol=0.2)  # no offset: the middle stays the middle


def test_other_windows_are_pointed_out(imported: Path, load_tool: Any, tmp_path: Path, capsys: Any) -> None:
    arguments = [
        str(imported / "peer"),
        str(tmp_path / "new" / "swin.pth"),
        "--config-file",
        str(imported / "swin.yaml"),
    ]
    assert load_tool("import_weights").main([*arguments, "--opts", "MODEL.TIMM.WINDOWS", "timm"]) == 0
    assert "MODEL.TIMM.WINDOWS official: set that" in capsys.readouterr().out
    assert not (tmp_path / "new" / "swin.yaml").exists()


def test_classes_follow_their_names(imported: Path, load_tool: Any, tmp_path: Path, capsys: Any) -> None:
    """ADE20K's 150 classes into Cityscapes' 19: rows by name, and those without one are named."""
    peer: Any = transformers_upernet(labels=150, auxiliary=False)
    peer.save_pretrained(tmp_path)
    assert load_tool("import_weights").main([str(tmp_path), str(tmp_path / "ade.pth")]) == 0
    printed = capsys.readouterr().out
    assert "17 of 19 classes matched, names assumed, as there are 150; afresh: rider, train" in printed
    weight = loaded(tmp_path, "ade.pth").image_level.decode_head.classifier.weight
    theirs = peer.decode_head.classifier.weight
    assert torch.equal(weight[0], theirs[6]) and torch.equal(weight[8], theirs[4])  # road; vegetation is tree
    assert torch.equal(weight[18], theirs[127])
    assert weight[12].abs().max() < 0.1 < theirs.abs().max()
