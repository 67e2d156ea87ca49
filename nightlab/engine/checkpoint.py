"""Checkpoints: written as detectron2 does, read without running code, refused when they belong to another model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer

from nightlab.errors import InputError
from nightlab.modeling.calibration import BUFFER_OF, reset
from nightlab.modeling.weights import read_state_dict


class NightLabCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer, reading by `weights_only` and strict about what a checkpoint must hold."""

    def __init__(
        self,
        model: Any,
        save_dir: str = "",
        *,
        allow_pickle: bool = False,
        accept_image_level: bool = False,
        **checkpointables: Any,
    ):
        """
        Args:
            allow_pickle: let detectron2 unpickle a trusted .pkl file, which can run code from it.
            accept_image_level: a checkpoint of the image level alone is complete; the rest of the model stays as it is.
        """
        super().__init__(model, save_dir, **checkpointables)
        self._allow_pickle = allow_pickle
        self._accept_image_level = accept_image_level
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

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        if self._tagging:
            super().tag_last_checkpoint(last_filename_basename)

    def _load_file(self, filename: str) -> dict[str, Any]:
        self._file = filename
        if filename.endswith(".pkl"):
            if not self._allow_pickle:
                raise InputError(
                    f"{filename}: pickled checkpoints can run code and are refused; "
                    "set MODEL.ALLOW_PICKLE True if you trust it"
                )
            return super()._load_file(filename)
        state = read_state_dict(filename)
        return state if "model" in state else {"model": state}

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        if self._accept_image_level and not any(key.startswith("region_level.") for key in checkpoint["model"]):
            checkpoint["model"] = {**self.model.state_dict(), **checkpoint["model"]}
        incompatible = super()._load_model(checkpoint)
        # Checkpoints from before there was a calibration are complete without one.
        for part, name in BUFFER_OF.items():
            if name in incompatible.missing_keys:
                reset(self.model, part)
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
