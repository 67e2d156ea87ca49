"""The same model in another library, with the weights that ours gets: transformers and segmentation_models_pytorch."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from nightlab.errors import InputError
from nightlab.importing import Checkpoint, import_segmentor, recognise
from nightlab.modeling import NightLab


class Peer(NamedTuple):
    """A model from normalised images `[B, 3, H, W]` to logits of their size, and what it is compared by."""

    name: str
    version: str
    model: nn.Module
    to_logits: nn.Module
    """From normalised images to the logits that are compared with ours; full-size where both enlarge alike."""
    full_size: bool


def build_peer(name: str, cfg: CfgNode, ours: NightLab) -> Peer:
    """A peer of the image level, with random weights that are copied into `ours`.

    Raises:
        InputError: the peer is not installed, or has no model like that of `cfg`.
    """
    _check_plain(name, cfg)
    library = _import(name)
    torch.manual_seed(cfg.SEED)
    peer = PEERS[name].build(library, cfg, ours)
    enliven(peer.model)
    tensors = dict(peer.model.state_dict())
    checkpoint = Checkpoint(Path(f"--peer {name}"), tensors, ())
    state, _ = import_segmentor(checkpoint, recognise(tensors, f"--peer {name}"), ours, ())
    ours.load_state_dict(state)
    return peer._replace(model=peer.model.to(ours.device).eval(), to_logits=peer.to_logits.to(ours.device).eval())


def windows_of(name: str) -> str:
    """How the peer's Swin pads (MODEL.TIMM.WINDOWS)."""
    return PEERS[name].windows


def enliven(model: nn.Module) -> None:
    """Random statistics and biases, in place: with those of a new model, mistakes in copying them would not show."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.1)
        for name, parameter in model.named_parameters():
            if name.endswith("relative_position_bias_table"):
                parameter.normal_(std=0.5)


def _check_plain(name: str, cfg: CfgNode) -> None:
    """Raises InputError where the model has what no peer has, so that unlike things would be compared."""
    head = cfg.MODEL.SEM_SEG_HEAD
    for key in ("DEFORM_FPN", "DEFORM_HEAD"):
        if head[key]:
            raise InputError(f"--peer {name}: its convolutions are plain; set MODEL.SEM_SEG_HEAD.{key} False")


def _import(name: str) -> ModuleType:
    module = PEERS[name].module
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"--peer {name}: {module} is not installed ({error}); run: pip install {module}") from error


class _Output(nn.Module):
    """The logits alone of a model that returns more."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).logits


def _transformers(library: Any, cfg: CfgNode, ours: NightLab) -> Peer:
    body: Any = ours.image_level.backbone.body
    stages = [getattr(body, f"layers_{i}", None) for i in range(4)]
    if None in stages or not hasattr(stages[0], "blocks"):
        raise InputError("--peer transformers: its UPerNet is compared on a Swin; name one in MODEL.TIMM.NAME")
    blocks = [stage.blocks for stage in stages]  # type: ignore[union-attr]
    backbone = library.SwinConfig(
        embed_dim=blocks[0][0].dim,
        depths=[len(stage) for stage in blocks],
        num_heads=[stage[0].attn.num_heads for stage in blocks],
        window_size=blocks[0][0].window_size[0],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = library.UperNetConfig(
        backbone_config=backbone,
        hidden_size=cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM,
        pool_scales=list(cfg.MODEL.SEM_SEG_HEAD.POOL_SCALES),
        num_labels=cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
        use_auxiliary_head=False,  # ours has it in training only
    )
    model = library.UperNetForSemanticSegmentation(config)
    return Peer("transformers", library.__version__, model, _Output(model), full_size=True)


class _BeforeEnlarging(nn.Module):
    """segmentation_models_pytorch's logits at stride 4: it enlarges them with aligned corners, as nobody else does."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.segmentation_head[0](self.model.decoder(self.model.encoder(images)))


def _smp(library: Any, cfg: CfgNode, ours: NightLab) -> Peer:
    head, timm = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.TIMM
    if timm.OUT_NORM != "LN" or tuple(head.POOL_SCALES) != (1, 2, 3, 6):
        raise InputError(
            "--peer smp: its UPerNet norms every feature and pools by 1, 2, 3, 6; set MODEL.TIMM.OUT_NORM LN"
        )
    model = library.UPerNet(
        f"tu-{timm.NAME}",
        encoder_weights=None,
        classes=head.NUM_CLASSES,
        decoder_channels=head.CONVS_DIM,
        **dict(timm.ARGS),
    )
    for norm in model.decoder.feature_norms:
        norm.eps = 1e-5  # of our norms, which matters for the small features of a new model; its own is 1e-6
    return Peer("smp", library.__version__, model, _BeforeEnlarging(model), full_size=False)


class _Kind(NamedTuple):
    module: str
    windows: str
    build: Callable[[Any, CfgNode, NightLab], Peer]


PEERS = {
    "transformers": _Kind("transformers", "official", _transformers),
    "smp": _Kind("segmentation_models_pytorch", "timm", _smp),
}
