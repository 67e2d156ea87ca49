"""Loaders: which record goes into which slot of which iteration, as a function of the seed and nothing else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, count
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from nightlab.data import catalog
from nightlab.data.bad_files import BAD_FILES, BESIDE, first_good, replacements
from nightlab.data.held_out import check_weights
from nightlab.data.mapper import TestMapper, TrainMapper
from nightlab.data.region_mapper import RegionMapper
from nightlab.data.set_shares import SetShares
from nightlab.data.unpaired import UnpairedCrops
from nightlab.data.workers import begin_worker, noticed_when_asked
from nightlab.errors import InputError


class SlotSampler(Sampler[list[tuple[int, int]]]):
    """Yields, without end, this process's share of each iteration's slots as (iteration, slot)."""

    def __init__(self, batch_size: int):
        processes, rank = comm.get_world_size(), comm.get_rank()
        if batch_size % processes:
            raise InputError(
                f"SOLVER.IMS_PER_BATCH: {batch_size} images cannot be shared equally by {processes} processes"
            )
        share = batch_size // processes
        self.slots = range(rank * share, (rank + 1) * share)
        self.start_iter = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Slots are counted over all processes."""
        iteration = self.start_iter
        while True:
            yield [(iteration, slot) for slot in self.slots]
            iteration += 1


class SlotDataset(Dataset[dict[str, Any]]):
    """Maps (iteration, slot) to a mapped record: an epoch is a permutation of the records, drawn by (seed, stage).

    With `weights`, each training set (`train_set` of a record) has epochs of its own and its share of every block of
    slots; which slots those are is drawn by (seed, stage) too. Where a file has turned bad, the slot goes to another
    record of the same set, drawn by (seed, stage, iteration, slot), and the item has the error under `BAD_FILES`.
    """

    def __init__(
        self,
        records: Sequence[dict[str, Any]],
        mapper: Callable[[dict[str, Any], Sequence[int]], dict[str, Any]],
        *,
        batch_size: int,
        seed: int,
        stage: int,
        unpaired: Mapping[str, UnpairedCrops] | None = None,
        weights: Sequence[float] = (),
        max_bad_files: int = 0,
    ):
        """
        Args:
            unpaired: more entries of every item, as functions of its key; their files are named under `BESIDE`.
            weights: how much of training each training set gets, by its number; empty: what it has images.
            max_bad_files: how often a slot may go to another record before the error of its file is raised.
        """
        self.records = records
        self.mapper = mapper
        self.batch_size = batch_size
        self.key = (seed, stage)
        self.unpaired = unpaired or {}
        self.shares = SetShares(records, weights, self.key) if len(weights) else None
        self.max_bad_files = max_bad_files
        self._epoch = -1
        self._order = np.empty(0, int)

    def __getitem__(self, position: tuple[int, int]) -> dict[str, Any]:
        iteration, slot = position
        key = (*self.key, iteration, slot)
        index = self.record_index(iteration, slot)
        order = chain([index], replacements(self.records, index, key))
        item, bad = first_good((partial(self.mapper, self.records[i], key) for i in order), self.max_bad_files)
        for name, draw in self.unpaired.items():
            again = (partial(_named, draw, (*key, turn) if turn else key) for turn in count())
            (item[name], file_name), more = first_good(again, self.max_bad_files)
            item.setdefault(BESIDE, []).append(file_name)
            bad += more
        return item | {BAD_FILES: bad} if bad else item

    def record_index(self, iteration: int, slot: int) -> int:
        position = iteration * self.batch_size + slot
        if self.shares:
            return self.shares.record_index(position)
        epoch, place = divmod(position, len(self.records))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((*self.key, epoch)).permutation(len(self.records))
        return int(self._order[place])


def unpaired_crops(
    cfg: CfgNode,
    *,
    train: Sequence[dict[str, Any]] = (),
    regions: RegionMapper | None = None,
    classes: Sequence[str] = (),
) -> dict[str, UnpairedCrops]:
    """The `day` and, where DATASETS.NIGHT names any, `night` crops that the light adaptation learns from.

    Where it names none, those of the training records `train`, if the batch itself comes in distorted colours: by these
    a discriminator would tell it from day. With `regions`, crops as the region level sees them, around hard regions
    where images are labelled in `classes`.

    Raises:
        InputError: DATASETS.DAY names nothing.
    """
    if not cfg.DATASETS.DAY:
        raise InputError(
            f"DATASETS.DAY: MODEL.LIGHT.NAME {cfg.MODEL.LIGHT.NAME} learns what light is from day images; name a data "
            "set of them (labels are not needed)"
        )
    records: dict[str, Sequence[dict[str, Any]]] = {"day": catalog.load(cfg.DATASETS.DAY, require_labels=False)}
    if cfg.DATASETS.NIGHT:
        records["night"] = catalog.load(cfg.DATASETS.NIGHT, require_labels=False)
    elif cfg.INPUT.PHOTOMETRIC and train:
        records["night"] = train
    return {
        name: UnpairedCrops(cfg, of_set, set_number=number, regions=regions, classes=classes)
        for number, (name, of_set) in enumerate(records.items())
    }


Mapper = Callable[[dict[str, Any], Sequence[int]], dict[str, Any]]


def build_train_loader(
    cfg: CfgNode,
    records: Sequence[dict[str, Any]],
    *,
    stage: int = 0,
    mapper: Mapper | None = None,
    unpaired: Mapping[str, UnpairedCrops] | None = None,
) -> DataLoader:
    """An endless loader of lists of input dicts; set `loader.batch_sampler.start_iter` before iterating to resume.

    `mapper` is `TrainMapper` where none is given; `unpaired` as for `SlotDataset`.
    """
    batch_size = cfg.SOLVER.IMS_PER_BATCH
    return DataLoader(
        SlotDataset(
            records,
            mapper or TrainMapper(cfg),
            batch_size=batch_size,
            seed=cfg.SEED,
            stage=stage,
            unpaired=unpaired,
            weights=check_weights(cfg) if all("train_set" in record for record in records) else (),
            max_bad_files=cfg.DATALOADER.MAX_BAD_FILES,
        ),
        batch_sampler=SlotSampler(batch_size),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=_as_list,
        worker_init_fn=begin_worker,
        pin_memory=cfg.MODEL.DEVICE.startswith("cuda"),
        # A generator of its own: otherwise starting the workers draws from the one that dropout follows.
        generator=torch.Generator().manual_seed(cfg.SEED),
        persistent_workers=cfg.DATALOADER.NUM_WORKERS > 0,
    )


class TestLoader:
    """Detectron2's loader for tests, whose dead workers are noticed when the next batch is asked for.

    Images whose files have turned bad are left out, and told, where `bad` is given. Where `leave` is given and says so,
    the rest is left out: the loader is `cut`, and what is found on its images is worth nothing.
    """

    def __init__(self, loader: DataLoader, bad: dict[str, None] | None, limit: int, leave: Callable[[], bool] | None):
        self._loader = loader
        self._bad = bad
        self._limit = limit
        self._leave = leave
        self.cut = False

    def __len__(self) -> int:
        """Batches, with those that will be left out."""
        return len(self._loader)

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Raises InputError where more than `limit` files are bad, or where `bad` is not given one."""
        with noticed_when_asked():
            batches = iter(self._loader)
        for batch in batches:
            if self._leave and self._leave():
                self.cut = True
                break
            errors = [error for item in batch for error in item.get(BAD_FILES, ())]
            if not errors:
                yield batch
            elif self._bad is None or len(self._bad | dict.fromkeys(errors)) > self._limit:
                raise InputError(errors[-1])
            else:
                self._bad |= dict.fromkeys(errors)


def build_test_loader(
    cfg: CfgNode,
    records: Sequence[dict[str, Any]],
    *,
    bad: dict[str, None] | None = None,
    leave: Callable[[], bool] | None = None,
) -> TestLoader:
    """Each record once, shared among processes, one image per batch, as detectron2 does.

    Detectron2 pickles every record, so sources stay outside: a card that lists its ids would be in each, with all ids.

    Args:
        bad: at most DATALOADER.MAX_BAD_FILES images that cannot be read are left out; their errors become its keys.
        leave: asked before each image whether to leave out the rest (see `TestLoader`).
    """
    sources = {id(record["source"]): record["source"] for record in records}
    lean = [{**record, "source": id(record["source"])} for record in records]
    mapper = partial(_as_tested, sources)
    loader = build_detection_test_loader(lean, mapper=mapper, num_workers=cfg.DATALOADER.NUM_WORKERS)
    loader.worker_init_fn = begin_worker
    return TestLoader(loader, bad, cfg.DATALOADER.MAX_BAD_FILES, leave)


def _named(draw: UnpairedCrops, key: Sequence[int]) -> tuple[torch.Tensor, str]:
    return draw(key), draw.file_name(key)


def _as_tested(sources: Mapping[int, Any], record: dict[str, Any]) -> dict[str, Any]:
    try:
        return TestMapper()({**record, "source": sources[record["source"]]})
    except InputError as error:
        return {BAD_FILES: [str(error)]}


def _as_list(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return batch
