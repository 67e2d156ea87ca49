"""Any timm model with feature extraction as a detectron2 backbone."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import timm
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from timm.layers import DropPath
from torch import Tensor, nn

from nightlab.errors import InputError
from nightlab.modeling.checkpointing import checkpointable
from nightlab.modeling.cpu_kernels import use_linear
from nightlab.modeling.swin import pad_first

# Arguments by which timm would fetch or read weights of its own accord, or write a cache.
_LOADING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


@BACKBONE_REGISTRY.register()
class TimmBackbone(Backbone):
    """`[B, 3, H, W]` (normalised) to `{"res2": [B, C2, H/4, W/4], "res3": ..., ...}`, NCHW.

    Outputs are named after their stride (res2 is 4, res3 is 8, ...), which is read from timm's `feature_info`.
    """

    @configurable
    def __init__(
        self,
        *,
        name: str,
        out_indices: Sequence[int] = (),
        drop_path_rate: float = 0.0,
        out_norm: str = "",
        freeze_at: int = 0,
        windows: str = "timm",
        dilations: Sequence[int] = (),
        checkpoint_activations: bool = False,
        args: Mapping[str, Any] | None = None,
    ):
        """
        Args:
            name: a timm model name.
            out_indices: which feature levels to return; empty takes the last four.
            drop_path_rate: stochastic depth of the last block; earlier ones get less. 0 is none, whatever
                the model's own default (Swin's is 0.1; models without it do not know the argument).
            out_norm: "LN" adds a LayerNorm over the channels of every output (Swin has none per stage), "" none.
            freeze_at: how many levels from the image on keep their start weights and BatchNorm statistics: 1 the
                stem, 2 up to res2, 3 up to res3, ... (detectron2's FREEZE_AT); saves their backward pass.
            windows: how Swin pads maps that its windows do not divide: "official" before shifting them, "timm" after.
            dilations: of the 3x3 convolutions of a ResNet's last stage, one for each block; empty: timm's.
            checkpoint_activations: see `checkpointing.py`.
            args: further arguments of `timm.create_model`.

        Raises:
            InputError: timm does not know the model or its arguments, its levels are no pyramid (a plain ViT's all have
                stride 16) or cannot be frozen apart, or `out_norm` is another.
        """
        super().__init__()
        if out_norm not in ("", "LN"):
            raise InputError(f'MODEL.TIMM.OUT_NORM: {out_norm!r} is not known; there are "LN" and ""')
        if windows not in ("official", "timm"):
            raise InputError(f'MODEL.TIMM.WINDOWS: {windows!r} is not known; there are "official" and "timm"')
        if ":" in name:  # as hf-hub:..., local-dir:...
            raise InputError(
                f"MODEL.TIMM.NAME: {name!r} is no name of a model but a place; weights go to MODEL.TIMM.WEIGHTS"
            )
        if loading := [key for key in args or {} if key in _LOADING]:
            raise InputError(
                f"MODEL.TIMM.ARGS: {', '.join(loading)} may not be given; weights go to MODEL.TIMM.WEIGHTS"
            )
        kwargs: dict[str, Any] = {**(args or {}), "features_only": True}
        if drop_path_rate:
            kwargs["drop_path_rate"] = drop_path_rate
        kwargs["out_indices"] = tuple(out_indices) or self._last_four(name)
        try:
            self.body = timm.create_model(name, pretrained=False, **kwargs)
        except (RuntimeError, TypeError, AttributeError, IndexError, AssertionError) as error:
            raise InputError(f"MODEL.TIMM: timm cannot build {name!r} with {kwargs}: {error}") from error
        if not drop_path_rate:
            for module in self.body.modules():
                if isinstance(module, DropPath):
                    module.drop_prob = 0.0
        if windows == "official":
            pad_first(self.body)
        if len(dilations):
            _dilate(self.body, dilations)
        use_linear(self.body)
        info: Any = self.body.feature_info
        self._channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        strides, channels = info.reduction(), info.channels()
        if len(set(strides)) < len(strides) or any(stride & (stride - 1) for stride in strides):
            raise InputError(f"MODEL.TIMM.NAME: {name!r} has levels of strides {strides}; take one with 4, 8, 16, 32")
        self._out_features = [f"res{stride.bit_length() - 1}" for stride in strides]
        self._out_feature_strides = dict(zip(self._out_features, strides, strict=True))
        self._out_feature_channels = dict(zip(self._out_features, channels, strict=True))
        norms = [nn.LayerNorm(c) if out_norm == "LN" else nn.Identity() for c in channels]
        self.norms = nn.ModuleList(norms)
        self._checkpointed: list[Any] = checkpointable(self.body, name) if checkpoint_activations else []
        self._frozen = self._up_to(freeze_at)
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        timm_cfg = cfg.MODEL.TIMM
        return {
            "name": timm_cfg.NAME,
            "out_indices": timm_cfg.OUT_INDICES,
            "drop_path_rate": timm_cfg.DROP_PATH_RATE,
            "out_norm": timm_cfg.OUT_NORM,
            "freeze_at": cfg.MODEL.BACKBONE.FREEZE_AT,
            "windows": timm_cfg.WINDOWS,
            "dilations": timm_cfg.DILATIONS,
            "checkpoint_activations": timm_cfg.CHECKPOINT_ACTIVATIONS,
            "args": dict(timm_cfg.ARGS),
        }

    @staticmethod
    def _last_four(name: str) -> tuple[int, ...]:
        try:
            probe: Any = timm.create_model(name, pretrained=False, features_only=True)
        except RuntimeError as error:
            near = difflib.get_close_matches(name, timm.list_models(), n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists what there is"
            raise InputError(f"MODEL.TIMM.NAME: timm has no feature model {name!r}; {hint}") from error
        levels = len(probe.feature_info)
        return tuple(range(max(levels - 4, 0), levels))

    def _up_to(self, level: int) -> list[nn.Module]:
        """The modules that compute everything before and including a level (see `freeze_at`)."""
        if level <= 0:
            return []
        strides = [2 ** (i + 1) for i in range(level)]
        features: Any = self.body.feature_info
        last = next((f for f in reversed(list(features)) if f["reduction"] in strides), None)
        modules = dict(self.body.named_modules())
        end = last["module"] if last else next(name for name in modules if name)  # a patch stem is no feature itself
        end = end if end in modules else end.replace(".", "_")
        names = list(modules)
        until = max((i for i, name in enumerate(names) if f"{name}.".startswith(f"{end}.")), default=len(names) - 1)
        if until == len(names) - 1 and level < 5:  # timm wraps some models whole, so that their levels are not named
            raise InputError(f"MODEL.BACKBONE.FREEZE_AT {level}: cannot tell the levels of this model apart; set 0")
        return [modules[name] for name in names[: until + 1] if list(modules[name].parameters(recurse=False))]

    def train(self, mode: bool = True) -> "TimmBackbone":
        super().train(mode)
        for module in self._frozen:
            module.eval()
        for stage in self._checkpointed:
            stage.grad_checkpointing = mode
        return self

    @property
    def size_divisibility(self) -> int:
        """The finest stride: images are padded to a multiple of it (timm's Swin refuses parts of a patch)."""
        return min(self._out_feature_strides.values())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = {}
        for name, norm, feature in zip(self._out_features, self.norms, self.body(x), strict=True):
            if isinstance(norm, nn.LayerNorm):
                feature = norm(feature if self._channels_last else feature.permute(0, 2, 3, 1))
                feature = feature.permute(0, 3, 1, 2)
            elif self._channels_last:
                feature = feature.permute(0, 3, 1, 2)
            outputs[name] = feature
        return outputs


def _dilate(body: Any, dilations: Sequence[int]) -> None:
    """Set the dilations of the 3x3 convolutions of a ResNet's last stage, in place."""
    convs = [block.conv2 for block in getattr(body, "layer4", ()) if hasattr(block, "conv3")]
    if not convs or any(conv.stride != (1, 1) for conv in convs):
        raise InputError(
            "MODEL.TIMM.DILATIONS: is for ResNets with three convolutions in a block, whose last stage keeps its size "
            "(ARGS: output_stride 16 or 8)"
        )
    if len(convs) != len(dilations):
        raise InputError(f"MODEL.TIMM.DILATIONS: {len(dilations)} for the {len(convs)} blocks of the last stage")
    for conv, dilation in zip(convs, dilations, strict=True):
        conv.dilation = conv.padding = (dilation, dilation)
