"""Output-space adversarial adaptation (AdaptSegNet; Tsai et al., CVPR 2018): an image level that learns from labelled
images, the source, says of unlabelled ones, the target, what a discriminator cannot tell from what it says of the
source.

As in `light_losses.py`, one forward gives the losses of both players, and neither has a gradient for the other.
"""

from collections.abc import Mapping
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.errors import InputError
from nightlab.modeling.light_losses import SMALLEST_JUDGED, LightOutcome, PatchDiscriminator, play
from nightlab.modeling.segmentor import Segmentor

# Of the names of its weights in a model.
_PREFIX = "adversary."


class Adversary(nn.Module):
    """The discriminator of soft-max maps, and the losses of the stage "adapt" around it.

    The maps have the resolution of the logits, at stride 4 a patch of the discriminator sees 136 pixels of the image
    (the authors': 94, from maps that they enlarge first). The game is that of least squares, which the authors found
    to be better than their first one.
    """

    @configurable
    def __init__(self, *, num_classes: int, weight: float, channels: int = 64):
        """`weight`: of the loss by which the image level fools the discriminator."""
        super().__init__()
        self.discriminator = PatchDiscriminator(channels, num_classes)
        self.weight = weight

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        adapt = cfg.MODEL.ADAPT
        return {
            "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
            "weight": adapt.WEIGHT,
            "channels": adapt.DISCRIMINATOR_CHANNELS,
        }

    def losses(
        self,
        level: Segmentor,
        source: Tensor,
        target: Tensor,
        labels: Tensor,
        valid: Tensor | None = None,
        divisor: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of both players; how the discriminator does goes to the event storage.

        Both kinds of images pass the image level together, so that BatchNorm has the statistics of both, as at test.

        Args:
            source, target: labelled and unlabelled images `[B, 3, H, W]` in [0, 255].
            labels: class ids of the source `[B, H, W]`.
            valid: what of the source is no padding, bool `[B, 1, H, W]`; None where nothing is padded.
            divisor: as for `segmentation_loss`.
        """
        count = len(source)
        output = level(torch.cat([source, target]))
        aux = output.aux_logits
        own = output._replace(logits=output.logits[:count], aux_logits=None if aux is None else aux[:count])
        outcome = self(output.logits[:count], output.logits[count:], valid)
        storage = get_event_storage()
        if storage.iter % 20 == 0:  # writing it down waits for the device
            storage.put_scalar("adapt/discriminator_accuracy", outcome.accuracy)
        return level.losses(own, labels, divisor) | outcome.losses

    def forward(self, source: Tensor, target: Tensor, valid: Tensor | None = None) -> LightOutcome:
        """The game over logits `[B, K, h, w]`, with losses by name.

        Where the source is padding, both maps are empty, so that padding does not tell which is which; a patch without
        anything else is told rightly half of the time.

        Raises:
            InputError: the maps are too small for the discriminator.
        """
        size = source.shape[-2:]
        if min(size) < SMALLEST_JUDGED:
            raise InputError(
                f"INPUT.CROP_SIZE: the stage adapt sees maps of {size[0]}x{size[1]}, and its discriminator needs "
                f"{SMALLEST_JUDGED} pixels each way; take larger crops"
            )
        maps = [logits.float().softmax(dim=1) for logits in (source, target)]
        if valid is not None:
            seen = F.interpolate(valid.float(), size=size, mode="nearest")
            maps = [x * seen for x in maps]
        game = play(self.discriminator, *maps)
        losses = {"loss_adapt_fooling": self.weight * game.fooling, "loss_adapt_discriminator": game.telling}
        return LightOutcome(losses, game.accuracy)


def with_own_adversary(state: Mapping[str, Any], model: nn.Module) -> Mapping[str, Any]:
    """A state dict for `model`: one of another stage than "adapt" gets the adversary that the model has, and one of
    that stage loses its own where the model has none."""
    mine = {name: value for name, value in model.state_dict().items() if name.startswith(_PREFIX)}
    rest = {name: value for name, value in state.items() if not name.startswith(_PREFIX)}
    return state if bool(mine) == (len(rest) < len(state)) else rest | mine
