"""DeepLabV3+ of detectron2's own model class with random weights: imported, it gives the same logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from detectron2.projects.deeplab import add_deeplab_config
from torch import nn

from nightlab.config import load_config
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError
from nightlab.importing import read_source
from nightlab.importing.deeplab import describe_deeplab
from nightlab.modeling import TimmBackbone

from .models import liven, relative_difference


def peer_config(crop: list[int], stem: str = "deeplab") -> CfgNode:
    """As detectron2's published DeepLabV3+ of output stride 16, but a ResNet-50 of an eighth of its width."""
    cfg = get_cfg()
    add_deeplab_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    cfg.MODEL.BACKBONE.NAME = "build_resnet_deeplab_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    resnet, head = cfg.MODEL.RESNETS, cfg.MODEL.SEM_SEG_HEAD
    resnet.DEPTH, resnet.NORM, resnet.OUT_FEATURES = 50, "BN", ["res2", "res5"]
    resnet.WIDTH_PER_GROUP, resnet.RES2_OUT_CHANNELS = 8, 32
    resnet.STEM_TYPE, resnet.STEM_OUT_CHANNELS = stem, 16 if stem == "deeplab" else 64
    resnet.STRIDE_IN_1X1, resnet.RES5_DILATION = False, 2
    head.NAME, head.IN_FEATURES, head.NORM = "DeepLabV3PlusHead", ["res2", "res5"], "BN"
    head.CONVS_DIM, head.ASPP_CHANNELS, head.PROJECT_CHANNELS, head.NUM_CLASSES = 16, 24, [12], 19
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = bool(crop), "absolute", crop or [1, 1]
    return cfg


def imported(peer: nn.Module, folder: Path, load_tool: Any, *opts: str) -> Any:
    """What the command makes of a checkpoint as detectron2 writes it, loaded as a user loads it."""
    torch.save({"model": peer.state_dict(), "iteration": 89999}, folder / "theirs.pth")
    target = folder / "ours.safetensors"
    assert load_tool("import_weights").main([str(folder / "theirs.pth"), str(target)]) == 0
    model = build_model(load_config(target.with_suffix(".yaml"), ["MODEL.DEVICE", "cpu", *opts]))
    NightLabCheckpointer(model).load(str(target), checkpointables=[])
    return model.eval()


@torch.no_grad()
def difference(peer: Any, level: Any, size: tuple[int, int]) -> float:
    image = 255 * torch.rand(1, 3, *size)
    theirs = peer.sem_seg_head.layers(peer.backbone((image - peer.pixel_mean) / peer.pixel_std))
    assert theirs.std() > 0.1
    return relative_difference(level(image).logits, theirs)


def test_logits_agree(tmp_path: Path, load_tool: Any, capsys: Any) -> None:
    """At two sizes; the second is no multiple of the output stride."""
    peer = liven(build_model(peer_config([])))
    level = imported(peer, tmp_path, load_tool, "MODEL.SEM_SEG_HEAD.ASPP_POOL", "[]").image_level
    for size in ((96, 128), (84, 100)):
        assert difference(peer, level, size) < 1e-4
    # The whole output, as both return it: posteriors of enlarged logits.
    image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8)
    with torch.no_grad():
        theirs = peer([{"image": image, "height": 96, "width": 128}])[0]["sem_seg"].argmax(0)
        ours = level.at_image_size(level(image[None].float()).logits, (96, 128))[0].argmax(0)
    assert (ours == theirs).float().mean() > 0.999 and len(theirs.unique()) > 2
    there = read_source(tmp_path / "theirs.pth").tensors
    assert f"{len(there)} tensors there: {len(there)} taken, 0 left out" in capsys.readouterr().out


def test_image_pooling_as_trained_on_crops(tmp_path: Path, load_tool: Any) -> None:
    peer = liven(build_model(peer_config([32, 48])))
    level = imported(peer, tmp_path, load_tool, "MODEL.SEM_SEG_HEAD.ASPP_POOL", "[32, 48]").image_level
    for size in ((64, 96), (96, 144)):
        assert difference(peer, level, size) < 1e-4
    level.decode_head.head.decoder["res4"]["project_conv"].convs[-1][0] = nn.AdaptiveAvgPool2d(1)
    assert difference(peer, level, (96, 144)) > 1e-3, "or pooling would not matter"
    with torch.no_grad():
        assert level(torch.rand(1, 3, 20, 20)).logits.shape == (1, 19, 5, 5)


def test_a_plain_stem(tmp_path: Path, load_tool: Any) -> None:
    peer = liven(build_model(peer_config([], "basic")))
    level = imported(peer, tmp_path, load_tool, "MODEL.SEM_SEG_HEAD.ASPP_POOL", "[]").image_level
    assert difference(peer, level, (84, 100)) < 1e-4
    assert yaml.safe_load((tmp_path / "ours.yaml").read_text())["MODEL"]["TIMM"]["NAME"] == "resnet50"


def test_published_sizes_are_told_by_name() -> None:
    """ResNet-101 with detectron2's stem, of which the publication counts 103 layers."""
    depths, body = {1: 3, 2: 4, 3: 23, 4: 3}, "backbone.body."
    tensors = {
        f"{body}layer{s}.{n}.conv1.weight": torch.empty(32 * 2**s, 1) for s, d in depths.items() for n in range(d)
    }
    tensors[f"{body}conv1.0.weight"] = torch.empty(64, 3)
    decoder = "decode_head.head.decoder."
    shapes = {"res2.project_conv": 48, "res2.fuse_conv.0": 256, "res4.project_conv.project": 256}
    tensors |= {f"{decoder}{name}.weight": torch.empty(width, 1) for name, width in shapes.items()}
    described = describe_deeplab(tensors)
    assert described["TIMM"]["NAME"] == "resnet101s" and described["TIMM"]["ARGS"] == {"output_stride": 16}
    assert described["SEM_SEG_HEAD"]["PROJECT_CHANNELS"] == [48] and described["SEM_SEG_HEAD"]["CONVS_DIM"] == 256


@pytest.mark.parametrize(
    ("name", "dilations", "args", "message"),
    [
        ("resnet18", [2, 4], {"output_stride": 16}, "three convolutions in a block"),
        ("resnet26", [2, 4], {}, "whose last stage keeps its size"),
        ("resnet26", [2, 4, 8], {"output_stride": 16}, "3 for the 2 blocks"),
        ("efficientnet_lite0", [2], {}, "for ResNets"),
    ],
)
def test_dilations_that_do_not_fit(name: str, dilations: list[int], args: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"MODEL\.TIMM\.DILATIONS: .*{message}"):
        TimmBackbone(name=name, out_indices=(1, 2, 4), dilations=dilations, args=args)


def test_a_pickled_checkpoint_gets_a_remedy(tmp_path: Path) -> None:
    """Those that detectron2 publishes."""
    (tmp_path / "model_final.pkl").write_bytes(b"")
    with pytest.raises(InputError, match=r"can run code.*if you trust it: torch\.save\({k: torch\.tensor"):
        read_source(tmp_path / "model_final.pkl")
