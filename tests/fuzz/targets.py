"""What reads strangers' files: for each kind of file, the product code that a user's command would run on it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nightlab import importing
from nightlab.config import load_config
from nightlab.data.card_schema import load_card
from nightlab.data.cards import Card, Split
from nightlab.data.reading import read_color_label, read_image
from nightlab.demo.sources import Images, Video
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError
from nightlab.runtime import OnnxModel
from nightlab.runtime.frames import as_frame
from nightlab.web.uploads import Limits, decode

from . import archives, pictures, texts

KINDS = (
    "image",
    "label",
    "color label",
    "upload",
    "frame",
    "demo",
    "card",
    "list",
    "config",
    "weights",
    "onnx",
    "video",
)


class Target(NamedTuple):
    """A reading, whole files of its kind by their names, and those that are known to lie."""

    read: Callable[[Path], Any]
    whole: dict[str, bytes]
    bad: dict[str, bytes]
    megabytes: float = 200.0


def tiny(**changes: Any) -> Card:
    fields: dict[str, Any] = {"name": "tiny", "root": "tiny", "images": "{id}.png", "labels": "{id}.png"}
    fields |= {"classes": ("dark", "grey", "bright"), "colors": ((0, 0, 0), (1, 1, 1), (2, 2, 2))}
    fields |= {"split_ids": (("train", Split(file="list.txt")),), "raw_to_class": ((0, 0), (1, 1), (2, 2))}
    return Card(**(fields | changes))


def label(path: Path) -> None:
    """As a map of raw ids, of another size than its image too, then as colours."""
    tiny().read_label({"file_name": str(path), "sem_seg_file_name": str(path)})


def upload(path: Path) -> None:
    decode(path.read_bytes(), Limits(megabytes=1, megapixels=1))


def shown(path: Path) -> None:
    """As the demo's input: what is left out is named."""
    for frame in Images([path]):
        if frame.reason:
            raise InputError(frame.reason)


def played(path: Path) -> None:
    reasons = [frame.reason for frame in Video(str(path)) if frame.reason]
    if reasons:
        raise InputError(f"{path.name}: {reasons[0]}")


def of_data(path: Path, read: Callable[[], Any]) -> None:
    """For files that name others: a refusal may name these instead."""
    try:
        read()
    except InputError as error:
        assert str(path.parent) in str(error), error
        raise InputError(f"{path.name}: {error}") from None


def card(path: Path) -> None:
    """A card and all its splits, on the data set beside it."""
    os.environ["DETECTRON2_DATASETS"] = str(path.parent)
    made = load_card(path)
    for split in made.splits:
        of_data(path, lambda split=split: made.records(split))


def config(path: Path) -> None:
    """With all that it is based on."""
    of_data(path, lambda: load_config(path))


def split_list(path: Path) -> None:
    os.environ["DETECTRON2_DATASETS"] = str(path.parent.parent)
    made = tiny(root=path.parent.name, split_ids=(("train", Split(file=path.name)),))
    of_data(path, lambda: made.records("train"))


def weights(path: Path) -> None:
    """Into a model, or as another project's: a file is one or the other, and the first refusal counts."""
    try:
        NightLabCheckpointer(archives.model()).load(str(path), checkpointables=[])
    except InputError:
        checkpoint = importing.read_source(path)
        source = importing.recognise(checkpoint.tensors, str(path))
        importing.describe(checkpoint, importing.convert(checkpoint, source).tensors, source)


def onnx(path: Path) -> None:
    model = OnnxModel(path, threads=1)
    model(np.zeros((*model.size, 3), np.uint8)).draw()


def documents(text: str, every: bool) -> dict[str, bytes]:
    """The known documents, and `text` with each of the known values behind one of its keys, or behind `every` one."""
    keys = texts.keys(text)
    files = dict(texts.DOCUMENTS)
    for n, value in enumerate(texts.VALUES):
        for key in keys if every else [keys[n % len(keys)]]:
            files[f"value_{n}_{key}"] = texts.with_value(text, key, value)
    return {f"{name}.yaml": content.encode() for name, content in files.items()}


def targets(folder: Path, every: bool = False) -> dict[str, Target]:
    """All of them; `folder` is for what has to be written to be made, `every` makes more text files."""
    seen = pictures.whole(), pictures.no_images() | pictures.bombs() | {"scans.jpg": pictures.scans(400, 20_000)}
    video = archives.video(folder)
    ids = {"list.txt": texts.LIST.encode()}
    lists = {"nul.txt": b"a\0b", "latin.txt": b"\xff\xfe", "up.txt": b"../../a\n", "dots.txt": b"..\n.\n"}
    bases = {name: text.encode() for name, text in texts.BASES.items()}
    lists |= {"root.txt": b"/etc/passwd\n", "twice.txt": b"a\na\n", "red.txt": b"\x1b[31m\n" * 2, "none.txt": b"# a\n"}
    return {
        "image": Target(read_image, *seen),
        "label": Target(label, *seen),
        "color label": Target(read_color_label, *seen),
        "upload": Target(upload, *seen),
        "frame": Target(as_frame, *seen),
        "demo": Target(shown, *seen),
        "card": Target(card, {"card.yaml": texts.CARD.encode()}, documents(texts.CARD, every)),
        "list": Target(split_list, ids, lists),
        "config": Target(config, {"config.yaml": texts.CONFIG.encode()}, documents(texts.CONFIG, every) | bases),
        "weights": Target(weights, archives.whole_weights(), archives.bad_weights()),
        "onnx": Target(onnx, {"model.onnx": archives.exported()}, archives.bad_exports()),
        "video": Target(played, {"made.mp4": video}, archives.bad_videos(video)),
    }


def no_files(folder: Path) -> list[Path]:
    """What has a name and is no file to read: a folder, a pipe, devices, links that lead nowhere or in circles."""
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    links = {"nowhere.png": "absent", "circle.png": "circle.png", "zeros.png": "/dev/zero", "words.png": "/dev/random"}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    with (folder / "hole.png").open("wb") as file:  # a terabyte of nothing, which takes no room
        file.truncate(1 << 40)
    return sorted(folder.iterdir())
