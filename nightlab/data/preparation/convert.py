"""One pair of image and label map, from a download into the prepared tree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from nightlab.data import reading
from nightlab.data.preparation import id_spaces
from nightlab.data.preparation.placing import place_image, same_stamp, stamp_as
from nightlab.errors import InputError
from nightlab.files import written_aside


@dataclass(frozen=True)
class Part:
    """A set of label maps over images, as "NightCity+ validation".

    Attributes:
        labels_folder: where its label maps go in the prepared tree.
        image_ending: of the prepared images, ".png" or ".jpg", whatever the files hold: readers look inside.
        images, labels: files of the download by id.
        expected: published number of pairs of each split.
    """

    title: str
    labels_folder: str
    image_ending: str
    images: Mapping[str, Path]
    labels: Mapping[str, Path]
    expected: Mapping[str, int] = field(default_factory=dict)

    def image_in(self, output: Path, image_id: str) -> Path:
        return output / "images" / f"{image_id}{self.image_ending}"

    def label_in(self, output: Path, image_id: str) -> Path:
        return output / self.labels_folder / f"{image_id}.png"


@dataclass(frozen=True)
class Outcome:
    """What came of one pair: a fault that leaves it out, or what was done; luminance (0 to 255) where it was read."""

    fault: str = ""
    done: str = "unchanged"
    luminance: float | None = None
    resized: str = ""


@dataclass(frozen=True)
class Converter:
    """Prepares pairs of a part by their ids.

    Attributes:
        space: what its label maps are written in.
        unchanged: whether they were converted from that last time, so that files which are there may be up to date.
    """

    part: Part
    output: Path
    space: str
    unchanged: bool

    def __call__(self, image_id: str) -> Outcome:
        image, label = self.part.images[image_id], self.part.labels[image_id]
        new_image, new_label = self.part.image_in(self.output, image_id), self.part.label_in(self.output, image_id)
        if self.unchanged and same_stamp(image, new_image) and same_stamp(label, new_label):
            return Outcome()
        try:
            pixels = reading.read_image(image)
            ids = id_spaces.to_train_ids(label, self.space)
            fitted, resized = _fit(ids, (pixels.shape[0], pixels.shape[1]), image, label)
        except InputError as error:
            return Outcome(fault=str(error))
        new_label.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(new_label) as aside:
            Image.fromarray(fitted).save(aside, format="PNG")
            stamp_as(label, aside)
        done = place_image(image, new_image)
        luminance = float(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).mean())
        return Outcome(done=done, luminance=luminance, resized=resized)


def _fit(label: np.ndarray, size: tuple[int, int], image_path: Path, path: Path) -> tuple[np.ndarray, str]:
    """A label map at the size (height, width) of its image, by nearest neighbour, and a word where it had another.

    Raises:
        InputError: the two have another aspect, so that they cannot be one scene.
    """
    (height, width), (h, w) = size, label.shape
    if (h, w) == size:
        return label, ""
    if abs(h * width - w * height) > max(h * width, w * height) / 100:
        raise InputError(
            f"{path}: has {w}x{h} pixels (width x height) and its image {image_path} {width}x{height}, another aspect; "
            "give the label map of this image"
        )
    fitted = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(fitted, np.uint8), f"{w}x{h} to {width}x{height}"
