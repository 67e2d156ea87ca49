"""A model that needs no weights, so that the page's logic is tested without any."""

import cv2
import numpy as np
import pytest

from nightlab.web.examples import Examples
from nightlab.web.room import Room
from nightlab.web.stepped import Seen, Sliders
from nightlab.web.uploads import Limits


class BrightnessScene:
    """Class 1 where the frame is bright; both levels together also find class 2 in each region that counts."""

    boxes = np.array([[0, 0, 8, 8], [8, 8, 16, 16], [16, 16, 24, 24]], np.float32)
    scores = np.array([0.9, 0.6, 0.3], np.float32)

    def __init__(self, frame):
        self.image_level = (frame[..., 0] > 100).astype(np.uint8)

    def merged(self, number, threshold):
        count = min(number, int((self.scores >= threshold).sum()))
        labels = self.image_level.copy()
        for x0, y0, x1, y1 in self.boxes[:count].astype(int):
            labels[y0:y1, x0:x1] = 2
        return Seen(labels, self.boxes[:count], self.scores[:count], None)


class Brightness:
    """`frames` counts how often the image level was asked."""

    classes, colors = ["dark", "bright", "lamp"], [(0, 0, 0), (200, 200, 200), (255, 200, 0)]
    size = None
    sliders = Sliders(number=2, most=3, threshold=0.0, exact=True)

    def __init__(self):
        self.frames = 0

    def scene(self, frame):
        self.frames += 1
        return BrightnessScene(frame)


def street():
    """64x48, its right half bright."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 32:] = 220
    return image


def as_png(image):
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.fixture
def photo():
    """`street()` as the bytes of a PNG."""
    return as_png(street())


@pytest.fixture
def room():
    """A room whose desk is not open: tests say when work is done. Uploads of more than 1 MB are refused."""
    examples = Examples([("dark street", street), ("bright street", lambda: 255 - street())])
    return Room("brightness", Brightness(), examples, Limits(megabytes=1, megapixels=1))
