"""Made downloads of the paper's data sets, a few frames of 24x12 pixels in each known layout."""

from pathlib import Path

import numpy as np
from PIL import Image

from nightlab.data import cityscapes

# Road, building, pole, sky, car and something that is not trained, in each of the three ways to write them.
TRAIN_IDS = np.array([0, 2, 5, 10, 13, 255], np.uint8)
LABEL_IDS = np.array([7, 11, 17, 23, 26, 4], np.uint8)
COLORS = np.array([*(cityscapes.COLORS[i] for i in TRAIN_IDS[:-1]), (0, 0, 0)], np.uint8)


def stripes(values: np.ndarray, scale: int = 1) -> np.ndarray:
    """A label map 12*scale high and 24*scale wide, one stripe of four columns for each value."""
    columns = np.repeat(values, 4 * scale, axis=0)
    return np.repeat(columns[None], 12 * scale, axis=0)


def image(path: Path, brightness: int = 30, size: tuple[int, int] = (24, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (brightness,) * 3).save(path)


def label(path: Path, values: np.ndarray = TRAIN_IDS, scale: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stripes(values, scale)).save(path)


def nightcity(root: Path) -> Path:
    """Four frames for training and two for validation, labels in label ids, with colours beside them."""
    for split, number in (("train", 4), ("val", 2)):
        for n in range(number):
            image(
                root / "NightCity-images" / "images" / split / f"Paris_{n:04}.png"
                if split == "val"
                else root / "NightCity-images" / "images" / split / f"Beijing_{n:04}.png"
            )
            name = f"{'Paris' if split == 'val' else 'Beijing'}_{n:04}"
            label(root / "NightCity-label" / "label" / split / f"{name}_labelIds.png", LABEL_IDS)
            label(root / "NightCity-label" / "color" / split / f"{name}_color.png", COLORS)
    return root


def nightcity_plus(root: Path) -> Path:
    """Both validation frames at twice the size, in label ids, and the training frame that slipped in."""
    for name in ("Paris_0000", "Paris_0001", "Dubai_0016"):
        label(root / "val" / f"{name}_labelIds.png", LABEL_IDS, scale=2)
    return root


def nightcity_fine(root: Path) -> Path:
    for split, number in (("train", 4), ("val", 2)):
        for n in range(number):
            name = f"{'Paris' if split == 'val' else 'Beijing'}_{n:04}"
            image(root / split / "img" / f"{name}.png")
            label(root / split / "lbl" / f"{name}_trainIds.png")
    return root


def cityscapes_download(root: Path) -> Path:
    for split, city in (("train", "aachen"), ("val", "lindau")):
        for n in range(3):
            name = f"{city}_00000{n}_000019"
            image(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", 120)
            for kind, values in (("labelIds", LABEL_IDS), ("color", COLORS), ("labelTrainIds", TRAIN_IDS)):
                label(root / "gtFine" / split / city / f"{name}_gtFine_{kind}.png", values)
    return root


def bdd100k(root: Path, *, old: bool = False) -> Path:
    """Frames n0 n1 n2 (dark) and d0 d1 (bright) in training, n3 and d2 in validation; one orphan of either kind."""
    folders = ("seg/images", "seg/labels", "_train_id") if old else ("images/10k", "labels/sem_seg/masks", "")
    for split, names in (("train", ("n0", "n1", "n2", "d0", "d1")), ("val", ("n3", "d2"))):
        for name in names:
            image(root / folders[0] / split / f"{name}.jpg", 20 if name[0] == "n" else 140)
            label(root / folders[1] / split / f"{name}{folders[2]}.png")
    image(root / folders[0] / "train" / "unlabelled.jpg")
    label(root / folders[1] / "train" / f"orphan{folders[2]}.png")
    return root
