"""mmsegmentation, the official Swins, timm and segmentation_models_pytorch: renamed state dicts of known models."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from detectron2.modeling import build_model
from timm.models.swin_transformer import PatchMerging
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.config import load_config
from nightlab.errors import InputError
from nightlab.importing import Checkpoint, import_segmentor, read_source, recognise
from nightlab.importing.convert import unfold_to_official
from nightlab.modeling import NightLab, TimmBackbone
from nightlab.modeling.weights import load_backbone_weights

from .models import DEPTHS, EMBED, HEADS, liven, relative_difference

SWIN = {
    "strict_img_size": False,
    "always_partition": True,
    "embed_dim": EMBED,
    "depths": DEPTHS,
    "num_heads": HEADS,
}


def swin_config(repository: Path, head: str = "SEM_SEG_HEAD") -> Any:
    cfg = load_config(repository / "configs" / "Base-UPerNet.yaml", ["MODEL.DEVICE", "cpu"])
    for name, value in SWIN.items():
        cfg.MODEL.TIMM.ARGS[name] = value
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 16
    cfg.MODEL.AUX_HEAD.CONVS_DIM = 8
    return cfg


@pytest.fixture(scope="module")
def known(repository: Path) -> NightLab:
    """A NightLab model with lively weights, whose state the tests put under the names of others."""
    return liven(build_model(swin_config(repository)))  # type: ignore[return-value]


def to_unfold(value: Tensor) -> Tensor:
    """Official channel order to mmsegmentation's, entry by entry."""
    channels = value.shape[-1] // 4
    out = torch.empty_like(value)
    for c in range(channels):
        for row in range(2):
            for column in range(2):
                out[..., c * 4 + row * 2 + column] = value[..., (column * 2 + row) * channels + c]
    return out


def renamed(state: dict[str, Tensor], names: list[tuple[str, str | Callable[[re.Match[str]], str]]]) -> dict:
    """Keys with every substitution of `names` applied in order."""
    out = {}
    for key, value in state.items():
        for pattern, replacement in names:
            key = re.sub(pattern, replacement, key)
        out[key] = value
    return out


def merged_before(match: re.Match[str]) -> str:
    return f"layers.{int(match[1]) - 1}.downsample"


HEADS_OF_MMSEG: list[Any] = [
    (r"(decode_head|auxiliary_head)\.classifier", r"\1.conv_seg"),
    (r"pooling\.branches\.(\d)\.", r"psp_modules.\1.1."),
    (r"pooling\.bottleneck", "bottleneck"),
    (r"\.laterals\.", ".lateral_convs."),
    (r"\.fpn\.", ".fpn_convs."),
    (r"\.fusion\.", ".fpn_bottleneck."),
    (r"auxiliary_head\.conv\.", "auxiliary_head.convs.0."),
    (r"^((?:decode|auxiliary)_head\.[\w.]+?)\.0\.(weight|bias)$", r"\1.conv.\2"),
    (r"^((?:decode|auxiliary)_head\.[\w.]+?)\.1\.(\w+)$", r"\1.bn.\2"),
]
OFFICIAL: list[Any] = [
    (r"^aux_head", "auxiliary_head"),
    (r"backbone\.body\.", "backbone."),
    (r"backbone\.norms\.(\d)", r"backbone.norm\1"),
    (r"layers_(\d)\.downsample", merged_before),
    (r"layers_", "layers."),
    *HEADS_OF_MMSEG,
]
MMSEG: list[Any] = [
    *OFFICIAL,
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"backbone\.layers", "backbone.stages"),
    (r"attn\.", "attn.w_msa."),
    (r"mlp\.fc1", "ffn.layers.0.0"),
    (r"mlp\.fc2", "ffn.layers.1"),
]


def foreign(known: NightLab, kind: str) -> dict[str, Tensor]:
    """The state of the known model's image level as `kind` would save it."""
    state = known.image_level.state_dict()
    official = renamed(state, OFFICIAL if kind == "official" else MMSEG)
    if kind == "mmseg":
        official = {key: to_unfold(value) if "downsample" in key else value for key, value in official.items()}
    index = "attn.w_msa" if kind == "mmseg" else "attn"
    stage = "stages" if kind == "mmseg" else "layers"
    official[f"backbone.{stage}.0.blocks.0.{index}.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    return official


@pytest.mark.parametrize("kind", ["official", "mmseg"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_renamed_states_come_back(
    known: NightLab, kind: str, wrapped: bool, tmp_path: Path, load_tool: Any, repository: Path
) -> None:
    state = foreign(known, kind)
    names = {"CLASSES": ("road", "side walk"), "epoch": 3}
    torch.save({"meta": names, "state_dict": state, "optimizer": {}} if wrapped else state, tmp_path / "theirs.pth")
    assert load_tool("import_weights").main([str(tmp_path / "theirs.pth"), str(tmp_path / "ours.pth")]) == 0
    ours = torch.load(tmp_path / "ours.pth", weights_only=True)["model"]
    expected = known.state_dict()
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(ours[key], value), key


def test_expected_names(known: NightLab) -> None:
    """A few keys as the projects themselves write them, so that the inverse above cannot err with the importer."""
    assert {
        "backbone.patch_embed.projection.weight",
        "backbone.stages.0.blocks.1.attn.w_msa.relative_position_bias_table",
        "backbone.stages.2.blocks.0.ffn.layers.0.0.weight",
        "backbone.stages.2.blocks.0.ffn.layers.1.bias",
        "backbone.stages.0.downsample.reduction.weight",
        "backbone.norm3.bias",
        "decode_head.psp_modules.3.1.bn.running_mean",
        "decode_head.fpn_bottleneck.conv.weight",
        "auxiliary_head.convs.0.conv.weight",
        "auxiliary_head.conv_seg.bias",
    } <= set(foreign(known, "mmseg"))
    assert {
        "backbone.patch_embed.proj.weight",
        "backbone.layers.0.blocks.1.attn.qkv.weight",
        "backbone.layers.2.downsample.norm.weight",
        "backbone.layers.3.blocks.0.mlp.fc2.weight",
        "decode_head.lateral_convs.2.conv.weight",
        "decode_head.fpn_convs.0.bn.num_batches_tracked",
    } <= set(foreign(known, "official"))


def test_patch_merging_by_unfold_is_the_official_one() -> None:
    """mmsegmentation's own computation, written out, against timm's with the reordered weights."""
    x, norm, matrix = torch.randn(2, 6, 8, 5), torch.randn(20), torch.randn(10, 20)
    columns = F.unfold(x.permute(0, 3, 1, 2), kernel_size=2, stride=2).transpose(1, 2)
    theirs = F.layer_norm(columns, (20,), norm) @ matrix.T
    ours = PatchMerging(5)
    ours.load_state_dict(
        {
            "norm.weight": unfold_to_official(norm),
            "norm.bias": torch.zeros(20),
            "reduction.weight": unfold_to_official(matrix),
        }
    )
    with torch.no_grad():
        torch.testing.assert_close(ours(x).flatten(1, 2), theirs, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(unfold_to_official(matrix), matrix)


@pytest.mark.parametrize("release", ["timm", "official"])
def test_imagenet_swins_become_backbones(release: str, tmp_path: Path, load_tool: Any, capsys: Any) -> None:
    model = liven(timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, **SWIN))
    state = dict(model.state_dict())
    if release == "official":
        state = renamed(state, [(r"layers\.(\d)\.downsample", merged_before), (r"head\.fc", "head")])
        state["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    torch.save({"model": state}, tmp_path / "swin.pth")
    target = tmp_path / "backbone.safetensors"
    assert load_tool("import_weights").main([str(tmp_path / "swin.pth"), str(target)]) == 0
    printed = capsys.readouterr().out
    assert "classifies whole images" in printed and f"MODEL.TIMM.WEIGHTS {target}" in printed
    cfg = load_config(target.with_suffix(".yaml"))
    backbone = TimmBackbone(**TimmBackbone.from_config(cfg, None)).eval()  # type: ignore[arg-type]
    load_backbone_weights(backbone, str(target))
    # Where windows need no padding, all agree; elsewhere timm pads as MODEL.TIMM.WINDOWS timm does.
    for size in ((224, 224), *([(100, 132)] if release == "timm" else [])):
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            theirs = model.forward_intermediates(x, intermediates_only=True)
            for feature, expected in zip(backbone.body(x), theirs, strict=True):
                assert relative_difference(feature.permute(0, 3, 1, 2), expected) < 1e-5


def test_segmentation_models_pytorch(tmp_path: Path, load_tool: Any) -> None:
    """Its decoder is ours but for the last step: logits are enlarged with aligned corners, as the comparison does."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    name = "tu-swin_tiny_patch4_window7_224"
    peer: nn.Module = liven(smp.UPerNet(name, encoder_weights=None, classes=19, decoder_channels=16, **SWIN))
    torch.save(peer.state_dict(), tmp_path / "smp.pth")
    assert load_tool("import_weights").main([str(tmp_path / "smp.pth"), str(tmp_path / "ours.pth")]) == 0
    level = build_model(load_config(tmp_path / "ours.yaml", ["MODEL.DEVICE", "cpu"])).eval()
    level.load_state_dict(torch.load(tmp_path / "ours.pth", weights_only=True)["model"])
    for size in ((96, 128), (224, 160)):  # it takes multiples of 32 alone
        image = 255 * torch.rand(1, 3, *size)
        with torch.no_grad():
            theirs = peer((image - level.image_level.pixel_mean) / level.image_level.pixel_std)
            ours = level.image_level(image).logits
        ours = F.interpolate(ours, scale_factor=4, mode="bilinear", align_corners=True)
        assert relative_difference(ours, theirs) < 1e-4


def test_nothing_is_dropped_in_silence(known: NightLab, repository: Path, tmp_path: Path) -> None:
    state = foreign(known, "official")
    cases = {
        "nothing is known of its tensor backbone.absolute_pos_embed": {"backbone.absolute_pos_embed": torch.ones(3)},
        r"decode_head.fusion.0.weight is \(3, 3\) there": {"decode_head.fpn_bottleneck.conv.weight": torch.ones(3, 3)},
    }
    for reason, change in cases.items():
        checkpoint = Checkpoint(Path("x.pth"), {**state, **change}, ())
        with pytest.raises(InputError, match=f"x.pth: .*{reason}"):
            import_segmentor(checkpoint, recognise(checkpoint.tensors, "x.pth"), known, ())


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["sem_seg_head.aspp.convs.0.weight"], "DeepLabV3 of detectron2, without the decoder"),
        (["sem_seg_head.decoder.res2.fuse_conv.depthwise.weight"], "depthwise separable convolutions"),
        (["image_level.backbone.body.patch_embed.proj.weight"], "is a NightLab checkpoint already"),
        (["layer1.0.conv1.weight"], "layer1.0.conv1.weight, are of no known source; known are UPerNet-Swin"),
    ],
)
def test_other_checkpoints_are_named(keys: list[str], reason: str, tmp_path: Path, load_tool: Any, capsys: Any) -> None:
    torch.save({key: torch.zeros(1) for key in keys}, tmp_path / "other.pth")
    assert load_tool("import_weights").main([str(tmp_path / "other.pth"), str(tmp_path / "x.pth")]) == 2
    error = capsys.readouterr().err
    assert re.search(reason, error) and error.count("\n") == 1
    assert not (tmp_path / "x.pth").exists()


def test_a_mistyped_key_is_one_line(known: NightLab, tmp_path: Path, load_tool: Any, capsys: Any) -> None:
    torch.save(foreign(known, "official"), tmp_path / "theirs.pth")
    arguments = [str(tmp_path / "theirs.pth"), str(tmp_path / "x.pth"), "--opts", "MODEL.TIM.NAME", "x"]
    assert load_tool("import_weights").main(arguments) == 2
    assert "did you mean MODEL.TIMM.NAME" in capsys.readouterr().err


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "message_hub": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(InputError, match=r"code.pth: holds more than tensors \(pathlib\.PosixPath\).*torch.load\("):
        read_source(tmp_path / "code.pth")


def test_an_imported_model_is_evaluated_at_once(
    known: NightLab, tmp_path: Path, load_tool: Any, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """19 Cityscapes classes from mmsegmentation's names to figures on BDD100K's night frames, in two commands."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(real_data))
    from importlib.util import module_from_spec, spec_from_file_location

    from ..conftest import REPOSITORY

    torch.save({"state_dict": foreign(known, "mmseg")}, tmp_path / "theirs.pth")
    target = tmp_path / "ours.safetensors"
    assert load_tool("import_weights").main([str(tmp_path / "theirs.pth"), str(target)]) == 0
    spec = spec_from_file_location("train_net", REPOSITORY / "projects" / "NightLab" / "train_net.py")
    assert spec is not None and spec.loader is not None
    train_net = module_from_spec(spec)
    spec.loader.exec_module(train_net)
    arguments = ["--config-file", str(target.with_suffix(".yaml")), "--eval-only", "MODEL.WEIGHTS", str(target)]
    arguments += ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out"), "DATALOADER.NUM_WORKERS", "0"]
    arguments += ["DATASETS.TEST", '("bdd_micro_val_night",)', "INPUT.IMAGE_SIZE", "[72, 128]"]
    assert train_net.main(arguments) == 0
    assert (tmp_path / "out" / "evaluation" / "bdd_micro_val_night" / "eval.json").is_file()
