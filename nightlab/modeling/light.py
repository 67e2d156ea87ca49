"""ReLAM, the light adaptation module: a light map that is added to the image, and what may stand in its place.

Everything here maps images `[B, 3, H, W]` in [0, 255] to images of the same kind, before normalisation. Symbols, as in
the paper: I the image in [0, 1], L = Phi_light(I) the light map in [-1, 1], I' = I + L, cut to [0, 1].
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.errors import InputError, shortened
from nightlab.light_kinds import KINDS
from nightlab.modeling.layers import groups_of_eight, resize_to


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, added to their input: CycleGAN's, but for its instance norm, which fails on one pixel."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate"),
            groups_of_eight(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate"),
            groups_of_eight(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Generator(nn.Module):
    """CycleGAN's ResNet generator without its last activation: `[B, 3, h, w]` in [-1, 1] to `[B, 3, h, w]`.

    Two strides of two, residual blocks, and back by bilinear resizing; replicated borders, so that there is no halo.
    Its last convolution starts at zero, and with it the output.
    """

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 7, padding=3, padding_mode="replicate")
        self.down1 = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, padding_mode="replicate")
        self.down2 = nn.Conv2d(2 * channels, 4 * channels, 3, stride=2, padding=1, padding_mode="replicate")
        self.blocks = nn.Sequential(*(ResidualBlock(4 * channels) for _ in range(blocks)))
        self.up1 = nn.Conv2d(4 * channels, 2 * channels, 3, padding=1, padding_mode="replicate")
        self.up2 = nn.Conv2d(2 * channels, channels, 3, padding=1, padding_mode="replicate")
        self.last = nn.Conv2d(channels, 3, 7, padding=3, padding_mode="replicate")
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        stem = F.relu(self.stem(x))
        half = F.relu(self.down1(stem))
        x = self.blocks(F.relu(self.down2(half)))
        x = F.relu(self.up1(resize_to(x, (half.shape[-2], half.shape[-1]))))
        x = F.relu(self.up2(resize_to(x, (stem.shape[-2], stem.shape[-1]))))
        return self.last(x)


# While training is young, its average is over about the last quarter of the steps so far (Shamir and Zhang, ICML 2013),
# or the identity that it starts from would stay in it for long.
_RECENT = 4


class Adaptation(nn.Module):
    """What a generator makes: of an adversarial game, its weights at the moment, which swing from step to step, and for
    everything else their average over steps (Yazici et al., ICLR 2019)."""

    steps: Tensor

    def __init__(self, channels: int, blocks: int, decay: float):
        """`decay`: of the exponential average; 0 keeps none."""
        super().__init__()
        self.generator = Generator(channels, blocks)
        self.decay = decay
        self.average: Generator | None = None
        if decay:
            self.average = copy.deepcopy(self.generator).requires_grad_(False)
            self.register_buffer("steps", torch.zeros(()))

    @property
    def learns(self) -> bool:
        return self.training and self.generator.stem.weight.requires_grad

    def made_of(self, x: Tensor) -> Tensor:
        """`[B, 3, h, w]` in [-1, 1] to `[B, 3, h, w]`."""
        return self.generator(x) if self.learns or self.average is None else self.average(x)

    @torch.no_grad()
    def keep_average(self) -> None:
        """After each step of training; torch's AveragedModel would wait for the device in each."""
        if self.average is None or not self.learns:
            return
        share = (_RECENT / (self.steps + _RECENT)).clamp(min=1 - self.decay)
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, share)
        self.steps += 1

    def requires_grad_(self, requires_grad: bool = True) -> "Adaptation":
        self.generator.requires_grad_(requires_grad)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Without an average, a checkpoint's is left out. Of one from before there was any, its weights are both."""
        theirs = {key for key in state_dict if key.startswith(f"{prefix}generator.")}
        if self.average is None:
            for key in [key for key in state_dict if key.startswith((f"{prefix}average.", f"{prefix}steps"))]:
                del state_dict[key]
        elif theirs:
            state_dict.setdefault(f"{prefix}steps", torch.zeros(()))
            for key in theirs:
                name = key.removeprefix(f"{prefix}generator.")
                state_dict.setdefault(f"{prefix}average.{name}", state_dict[key])
        super()._load_from_state_dict(state_dict, prefix, *args)


class LightAdapter(Adaptation):
    """ReLAM (paper, section 3.4): I' = I + L, with L made at a fraction of the resolution and enlarged.

    L is smooth, so texture passes untouched. An untrained adapter changes nothing.
    """

    def __init__(self, *, channels: int = 16, blocks: int = 3, scale: float = 0.25, decay: float = 0.0):
        """`scale`: of the resolution at which the light map is made; `decay` as of `Adaptation`."""
        super().__init__(channels, blocks, decay)
        self.scale = scale

    def light_map(self, images: Tensor) -> Tensor:
        """L `[B, 3, H, W]` in [-1, 1]."""
        height, width = map(int, images.shape[-2:])  # plain numbers in a trace, too
        small = (max(round(height * self.scale), 1), max(round(width * self.scale), 1))
        x = F.interpolate(images / 255, size=small, mode="bilinear", align_corners=False, antialias=self.scale < 1)
        return resize_to(self.made_of(2 * x - 1).float().tanh(), (height, width))

    def forward(self, images: Tensor) -> Tensor:
        adapted = images / 255 + self.light_map(images)
        cut = adapted.clamp(0, 1)
        if self.training:  # the gradient passes the cut, or a map that has gone white would stay so for ever
            cut = adapted + (cut - adapted).detach()
        return cut * 255


class Translator(Adaptation):
    """A full translation I' = G(I) at full resolution, as CycleGAN's, which the paper found worse than a light map.

    Starts as the identity, too: what its generator gives is added in the range before tanh.
    """

    def __init__(self, *, channels: int = 16, blocks: int = 3, decay: float = 0.0):
        super().__init__(channels, blocks, decay)

    def forward(self, images: Tensor) -> Tensor:
        x = 2 * images / 255 - 1
        # tanh's inverse of the image, short of its ends, plus what the generator wants.
        y = (torch.atanh(x.clamp(-0.999, 0.999)) + self.made_of(x).float()).tanh()
        return (y + 1) * 127.5


class Gamma(nn.Module):
    """Each image to the power that brings its mean to `mean` (in 0...1), never darker than it is."""

    def __init__(self, mean: float = 0.4):
        super().__init__()
        self.mean = mean

    def forward(self, images: Tensor) -> Tensor:
        x = (images / 255).clamp(0, 1)
        level = x.mean(dim=(1, 2, 3), keepdim=True).clamp(1e-4, 1 - 1e-4)
        power = (torch.log(torch.full_like(level, self.mean)) / level.log()).clamp(0.1, 1)
        return x.clamp(min=1e-6).pow(power) * 255


class Clahe(nn.Module):
    """Contrast-limited histogram equalisation of the lightness by OpenCV; on the CPU, without a gradient."""

    def __init__(self, clip_limit: float = 2.0, tiles: int = 8):
        super().__init__()
        self.clip_limit = clip_limit
        self.tiles = tiles

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        frames = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return torch.from_numpy(np.stack([self._one(frame) for frame in frames])).permute(0, 3, 1, 2).to(images)

    def _one(self, frame: np.ndarray) -> np.ndarray:
        lab = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2LAB)
        lab[..., 0] = cv2.createCLAHE(self.clip_limit, (self.tiles, self.tiles)).apply(lab[..., 0])
        return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


class ScriptedEnhancement(nn.Module):
    """A pretrained enhancement network as a TorchScript file: `[B, 3, H, W]` in [0, 1] to the same; frozen."""

    def __init__(self, path: str):
        """Raises InputError where the file is missing or no TorchScript."""
        super().__init__()
        _check_file(path)
        try:
            self.network = torch.jit.load(path, map_location="cpu")
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{path}: not a TorchScript file ({reason}); save the network with torch.jit.save"
            ) from None
        self.path = path
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> "ScriptedEnhancement":
        """Its own norms and dropout are at test always: it is used as it was trained."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Raises InputError where the network does not make images of images."""
        try:
            output = self.network(images / 255)
        except RuntimeError as error:
            raise _not_taken(self.path, images, error) from None
        return _enhanced(self.path, images, output)


class OnnxEnhancement(nn.Module):
    """A pretrained enhancement network as an ONNX file, `[B, 3, H, W]` in [0, 1] to the same; on the CPU, frozen."""

    def __init__(self, path: str):
        """Raises InputError where the file is missing or no ONNX, or where onnxruntime is not installed."""
        super().__init__()
        _check_file(path)
        try:
            import onnxruntime
        except ImportError:
            raise InputError(f"{path}: onnxruntime runs ONNX files; pip install onnxruntime") from None
        try:
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no other base
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path}: not an ONNX file that onnxruntime can run ({reason})") from None
        self.path = path

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        name = self.session.get_inputs()[0].name
        try:
            output = torch.from_numpy(self.session.run(None, {name: (images / 255).float().cpu().numpy()})[0])
        except Exception as error:
            raise _not_taken(self.path, images, error) from None
        return _enhanced(self.path, images, output.to(images))


def _check_file(path: str) -> None:
    if not Path(path).is_file():
        raise InputError(f"{path}: no such enhancement network; set MODEL.LIGHT.FILE to a TorchScript or ONNX file")


def _not_taken(path: str, images: Tensor, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[-1]  # TorchScript's first lines are its traceback
    return InputError(
        f"{path}: does not take images {tuple(images.shape)} ({shortened(reason)}); give a network of one input that "
        "takes any number of images of any height and width"
    )


def _enhanced(path: str, images: Tensor, output: Any) -> Tensor:
    """What the enhancement network of a file made of images, in [0, 255]."""
    if not isinstance(output, Tensor) or output.shape != images.shape:
        made = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise InputError(
            f"{path}: turns images {tuple(images.shape)} into {made}; give a network that keeps their size"
        )
    if not torch.isfinite(output).all():
        raise InputError(f"{path}: makes of an image what is no finite number; give another network")
    return output.clamp(0, 1) * 255


# What numbers of MODEL.LIGHT may be, and in words; OpenCV ends the process by a signal where there is no tile.
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "CHANNELS": (lambda x: x >= 1, "1 or more"),
    "BLOCKS": (lambda x: x >= 0, "0 or more"),
    "SCALE": (lambda x: 0 < x <= 1, "more than 0, at most 1"),
    "DISCRIMINATOR_CHANNELS": (lambda x: x >= 1, "1 or more"),
    "AVERAGE": (lambda x: 0 <= x < 1, "a decay less than 1, or 0 for none"),
    "MEAN": (lambda x: 0 < x < 1, "more than 0 (black), less than 1 (white)"),
    "TILES": (lambda x: x >= 1, "1 or more"),
}


def build_light(cfg: CfgNode) -> nn.Module | None:
    """The light adaptation that MODEL.LIGHT describes; None for none.

    Raises:
        InputError: MODEL.LIGHT.NAME is none of `KINDS`, its file is unusable, or a number is out of its range.
    """
    light = cfg.MODEL.LIGHT
    if light.NAME not in KINDS:
        raise InputError(f"MODEL.LIGHT.NAME: {light.NAME!r} is not one of {', '.join(map(repr, KINDS))}")
    for key, (is_in_range, said) in _RANGES.items():
        if not is_in_range(light[key]):
            raise InputError(f"MODEL.LIGHT.{key}: {light[key]} is out of range; take {said}")
    learned = {"channels": light.CHANNELS, "blocks": light.BLOCKS, "decay": light.AVERAGE}
    if light.NAME == "relam":
        return LightAdapter(scale=light.SCALE, **learned)
    if light.NAME == "translation":
        return Translator(**learned)
    if light.NAME == "gamma":
        return Gamma(light.MEAN)
    if light.NAME == "clahe":
        return Clahe(light.CLIP_LIMIT, light.TILES)
    if light.NAME == "onnx":
        return OnnxEnhancement(light.FILE)
    return ScriptedEnhancement(light.FILE) if light.NAME == "torchscript" else None
