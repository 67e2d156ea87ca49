"""BatchNorm whose statistics are those of all processes: torch's own on GPUs, detectron2's elsewhere."""

from detectron2.config import CfgNode
from detectron2.layers import NaiveSyncBatchNorm
from detectron2.utils import comm
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn


class SyncedNormAct(NaiveSyncBatchNorm):
    """detectron2's, with the dropout and the activation that timm's norm layers bring along; the same weights.

    Its running variance is that of torch's BatchNorm, over n - 1 of n values, where detectron2's is over n: the deepest
    maps have so few values that two processes would otherwise leave other statistics than one.
    """

    def __init__(self, replaced: nn.BatchNorm2d):
        super().__init__(
            replaced.num_features,
            eps=replaced.eps,
            momentum=replaced.momentum,
            affine=replaced.affine,
            track_running_stats=replaced.track_running_stats,
        )
        self.load_state_dict(replaced.state_dict())
        self.drop = getattr(replaced, "drop", nn.Identity())
        self.act = getattr(replaced, "act", nn.Identity())
        for mine, theirs in zip(self.parameters(), replaced.parameters(), strict=True):
            mine.requires_grad_(theirs.requires_grad)
        self.train(replaced.training)

    def forward(self, x: Tensor) -> Tensor:
        learns = self.training and comm.get_world_size() > 1
        before = self.running_var.clone() if learns else None
        normed = super().forward(x)
        if before is not None:
            values = x.shape[0] * x.shape[2] * x.shape[3] * comm.get_world_size()
            step = self.running_var - (1 - self.momentum) * before  # momentum times the variance over n
            self.running_var += step / max(values - 1, 1)
        return self.act(self.drop(normed))


def synchronise_batch_norm(model: nn.Module, cfg: CfgNode) -> nn.Module:
    """The model with synchronised BatchNorm where there are several processes and MODEL.SYNC_BN asks for it."""
    if comm.get_world_size() == 1 or not cfg.MODEL.SYNC_BN:
        return model
    if cfg.MODEL.DEVICE.startswith("cuda"):
        return convert_sync_batchnorm(model)
    return synced(model)


def synced(model: nn.Module) -> nn.Module:
    """The model with every BatchNorm replaced, in place, for processes without GPUs."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d) and not isinstance(child, NaiveSyncBatchNorm):
                setattr(parent, name, SyncedNormAct(child))
    return model
