"""What a stage of training reads: its records, those held out, and the loader that makes inputs of them."""

from collections.abc import Mapping, Sequence

from detectron2.config import CfgNode
from torch.utils.data import DataLoader

from nightlab.data.adaptation import adaptation_sets
from nightlab.data.held_out import share_held_out, split_records
from nightlab.data.loader import build_train_loader, unpaired_crops
from nightlab.data.region_mapper import FrameMapper, RegionMapper
from nightlab.data.unpaired import UnpairedCrops

# What tells the random draws of the stages apart.
STAGE_KEYS = {"image": 0, "region": 1, "rdn": 2, "hdm": 3, "light": 4, "adapt": 5}
# The stages after the image level, which need to know what is hard.
LATER = ("region", "rdn", "hdm")


class StageData:
    """The data of the stage MODEL.NIGHTLAB.STAGE.

    Attributes:
        train: the records that it learns from.
        held_out: those that it is validated on.
        unseen: those that no level is fitted to, a part of which HDM learns gain on.
        mapper: makes inputs of its records; None where that is `TrainMapper`.
    """

    def __init__(self, cfg: CfgNode, hard: Sequence[bool] | None):
        """
        Args:
            hard: which classes are hard; the stages after the image level need it.
        """
        self.cfg = cfg
        self.stage = cfg.MODEL.NIGHTLAB.STAGE
        self.train, self.held_out = split_records(cfg)
        self.unseen = self.held_out
        self.mapper: RegionMapper | FrameMapper | None = None
        if self.stage in LATER:
            self.mapper = RegionMapper(cfg, hard) if self.stage == "region" else FrameMapper(cfg, hard)
        if self.stage == "hdm":
            self.train, self.held_out = share_held_out(cfg, self.held_out)
        self._unpaired: Mapping[str, UnpairedCrops] | None = None
        if self.stage == "adapt":
            self.train, self._unpaired = adaptation_sets(cfg, self.train)

    def loader(self, *, learns_light: bool) -> DataLoader:
        """`build_train_loader` of the stage; with the images that a light adaptation learns from where it does."""
        unpaired = self._unpaired
        if learns_light:
            regions = self.mapper if isinstance(self.mapper, RegionMapper) else None
            classes = self.train[0]["source"].classes
            unpaired = unpaired_crops(self.cfg, train=self.train, regions=regions, classes=classes)
        key = STAGE_KEYS[self.stage]
        return build_train_loader(self.cfg, self.train, stage=key, mapper=self.mapper, unpaired=unpaired)
