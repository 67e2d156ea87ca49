"""Checkpoints: written aside as detectron2's, read without running code, refused when they belong to another model."""

import logging
import math
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from nightlab.engine.fitted import FITTED
from nightlab.errors import InputError
from nightlab.files import written_aside
from nightlab.modeling.adversary import with_own_adversary
from nightlab.modeling.calibration import UNCALIBRATED, reset
from nightlab.modeling.hardness import DOUBT_WEIGHT
from nightlab.modeling.weights import read_state_dict

logger = logging.getLogger(__name__)

# Tensors that start as if they were not there, so that training may go on from weights that have none of them: what
# they are of, and how they start.
_OPTIONAL = (
    (
        re.compile(r"(image_level|region_level\.segmentor)\.light(_losses)?\."),
        "light adaptation; this model's starts anew, from the identity",
    ),
    (re.compile(r"\.offset\.(weight|bias)$"), "offsets; this model's deformable convolutions start as plain ones"),
)


def iteration_of(path: Path) -> int:
    """The iteration that the name of a periodic checkpoint tells; -1 for other files."""
    match = re.fullmatch(r"model_(\d{7,})\.pth", path.name)
    return int(match[1]) if match else -1


def write_whole(state: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint aside and renames it.

    Raises:
        InputError: it cannot be written, as when the disk is full; what was there before is there still.
    """
    try:
        with written_aside(path) as aside:
            torch.save(state, aside)
    except (OSError, RuntimeError) as error:  # torch's writer raises the latter
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0][:200]
        free = shutil.disk_usage(path.parent).free / 2**20
        raise InputError(
            f"{path}: the checkpoint cannot be written ({reason}; {free:.0f} MB are free there); make room, then run "
            "the same command with --resume: what was written before it is whole"
        ) from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """`read_state_dict` of a checkpoint, or of tensors alone, with its tensors by their names as `model`.

    Raises:
        InputError: as `read_state_dict`, or it holds something else.
    """
    state = read_state_dict(path)
    state = state if "model" in state else {"model": state}
    tensors = state["model"]
    if not isinstance(tensors, Mapping) or not all(isinstance(key, str) for key in tensors):
        raise InputError(f"{path}: its 'model' holds no tensors by their names; is it a checkpoint?")
    for key, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {key} is a {type(value).__name__} and no tensor; is it a checkpoint?")
    return state


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there with every byte as it was written: neither torn off nor changed."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # what zipfile stumbles over in a damaged file depends on where the damage is
        return False


def is_usable(path: Path) -> bool:
    """Whether a checkpoint is there and whole; a damaged one is named in the log."""
    whole = is_whole(path)
    if path.is_file() and not whole:
        logger.warning("%s: damaged, so it is left out", path)
    return whole


class NightLabCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer, reading by `weights_only` and strict about what a checkpoint must hold."""

    def __init__(
        self,
        model: Any,
        save_dir: str = "",
        *,
        allow_pickle: bool = False,
        accept_image_level: bool = False,
        anew: str = "",
        **checkpointables: Any,
    ):
        """
        Args:
            allow_pickle: let detectron2 unpickle a trusted .pkl file, which can run code from it.
            accept_image_level: a checkpoint of the image level alone is complete; the rest of the model stays as it is,
                as do a light adaptation and offsets that it does not have.
            anew: a part of the model that stays as it is, whatever the checkpoint has in its place: nothing has trained
                that one yet.
        """
        super().__init__(model, save_dir, **checkpointables)
        self._allow_pickle = allow_pickle
        self._accept_image_level = accept_image_level
        self._anew = anew
        self._accept_without_options = accept_image_level
        self._file = ""
        self._tagging = True

    @contextmanager
    def untagged(self) -> Iterator[None]:
        """Inside, what is saved does not become the checkpoint that a run resumes from."""
        self._tagging = False
        try:
            yield
        finally:
            self._tagging = True

    def save(self, name: str, **kwargs: Any) -> None:
        """As detectron2's; a file of that name is whole at every moment, the old one or the new one.

        Raises:
            InputError: it cannot be written, as when the disk is full.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        state = {key: part.state_dict() for key, part in {"model": self.model, **self.checkpointables}.items()}
        path = Path(self.save_dir, f"{name}.pth")
        logger.info("saving checkpoint to %s", path)
        write_whole({**state, **kwargs}, path)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        if self._tagging:
            with written_aside(Path(self.save_dir, "last_checkpoint")) as aside:
                aside.write_text(last_filename_basename, encoding="utf-8")

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """As detectron2's; training may start from weights (`path`) that have no light adaptation or offsets yet."""
        if resume and self.has_checkpoint():
            return self.load(str(self.last_whole()))
        self._accept_without_options = True
        return self.load_start(path)

    def load_start(self, path: str) -> dict[str, Any]:
        """Load what training starts from: the model and what images it was fitted to; no state of a trainer."""
        return self.load(path, checkpointables=[FITTED] if FITTED in self.checkpointables else [])

    def get_checkpoint_file(self) -> str:
        """As detectron2's; the folder where the file that should name it holds no name of a file, as where it is empty
        or no text."""
        try:
            name = super().get_checkpoint_file()
            os.stat(name)
        except FileNotFoundError:  # there was one of that name
            return name
        except (OSError, ValueError):  # the latter of what is no text
            return self.save_dir
        return name

    def last_whole(self) -> Path:
        """The last checkpoint or, where it is missing or damaged, the nearest one before it.

        Raises:
            InputError: none of them can be read.
        """
        last = Path(self.get_checkpoint_file())
        last = last / "last_checkpoint" if last.is_dir() else last  # which names none
        limit = iteration_of(last) if iteration_of(last) >= 0 else math.inf  # the final one is the latest
        earlier = [path for path in Path(self.save_dir).glob("model_*.pth") if 0 <= iteration_of(path) < limit]
        for path in (last, *sorted(earlier, key=iteration_of, reverse=True)):
            if is_whole(path):
                if path != last:
                    logger.warning("%s: missing or damaged; going on from the one before it, %s", last, path.name)
                return path
        raise InputError(
            f"{last}: missing or damaged, and there is none before it to resume from; delete {self.save_dir} (or the "
            "file last_checkpoint in it) to train anew"
        )

    def _load_file(self, filename: str) -> dict[str, Any]:
        self._file = filename
        if filename.endswith(".pkl"):
            if not self._allow_pickle:
                raise InputError(
                    f"{filename}: pickled checkpoints can run code and are refused; "
                    "set MODEL.ALLOW_PICKLE True if you trust it"
                )
            return super()._load_file(filename)
        state = read_checkpoint(filename)
        for flag in ("matching_heuristics", "__author__"):  # detectron2 would guess names by them
            state.pop(flag, None)
        return state

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        theirs, mine = checkpoint["model"], self.model.state_dict()
        if self._accept_image_level and not any(key.startswith("region_level.") for key in theirs):
            theirs = {key: value for key, value in mine.items() if not key.startswith("image_level.")} | theirs
        if self._anew:
            part = f"{self._anew}."
            theirs = {key: value for key, value in theirs.items() if not key.startswith(part)}
            theirs |= {key: value for key, value in mine.items() if key.startswith(part)}
        for names, said in _OPTIONAL:
            fresh = {key: value for key, value in mine.items() if names.search(key) and key not in theirs}
            if self._accept_without_options and fresh and not any(map(names.search, theirs)):
                logger.info("%s: has no %s", self._file, said)
                theirs = theirs | fresh
        if DOUBT_WEIGHT in mine and DOUBT_WEIGHT not in theirs:  # a detector that has learned without
            theirs = theirs | {DOUBT_WEIGHT: torch.zeros_like(mine[DOUBT_WEIGHT])}
        if "merge_pool" in theirs and theirs["merge_pool"].dim() == 2:  # from when it did not have to carry over
            theirs = {key: value for key, value in theirs.items() if key != "merge_pool"}
        checkpoint["model"] = with_own_adversary(theirs, self.model)
        incompatible = super()._load_model(checkpoint)
        # Checkpoints from before there was a calibration are complete without one.
        for name in UNCALIBRATED:
            if name in incompatible.missing_keys:
                reset(self.model, name)
                incompatible.missing_keys.remove(name)
        if incompatible.incorrect_shapes:
            key, theirs, ours = incompatible.incorrect_shapes[0]
            raise InputError(
                f"{self._file}: made for another model or number of classes: {key} is {tuple(theirs)} there and "
                f"{tuple(ours)} here ({len(incompatible.incorrect_shapes)} such tensors); "
                "use the configuration it was trained with"
            )
        strangers = list(incompatible.missing_keys) + list(incompatible.unexpected_keys)
        if strangers:
            raise InputError(
                f"{self._file}: made for another model: {len(incompatible.missing_keys)} tensors are missing and "
                f"{len(incompatible.unexpected_keys)} unknown, as {strangers[0]}; "
                "use the configuration it was trained with"
            )
        return incompatible

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return super().load(path, *args, **kwargs)
        except AssertionError as error:
            raise InputError(f"{path}: no such checkpoint") from error
