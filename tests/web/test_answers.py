"""What the page is told is plain, and says everything."""

import json

import cv2
import numpy as np

from nightlab.web import answers
from nightlab.web.stepped import Seen

from .conftest import Brightness, street


def test_runs_by_hand():
    labels = np.array([[1, 1, 2], [2, 2, 0]], np.uint8)
    assert answers.runs(labels) == [1, 2, 2, 3, 0, 1]
    assert answers.runs(np.zeros((2, 3), np.uint8)) == [0, 6]


def test_runs_give_the_map_back():
    labels = np.random.default_rng(0).integers(0, 3, (7, 9)).astype(np.uint8)
    values, lengths = np.array(answers.runs(labels)).reshape(-1, 2).T
    assert (np.repeat(values, lengths).reshape(7, 9) == labels).all()


def test_a_picture():
    told = json.loads(json.dumps(answers.picture(street(), np.zeros((48, 64), np.uint8), "reduced")))
    assert (told["width"], told["height"], told["note"], told["image_level"]) == (64, 48, "reduced", [0, 48 * 64])
    assert told["photo"].startswith("data:image/jpeg;base64,/9j/")


def test_regions_with_and_without_a_class():
    labels, boxes = np.zeros((2, 2), np.uint8), np.array([[0, 0.25, 1.5, 2]], np.float32)
    seen = Seen(labels, boxes, np.array([0.12345], np.float32), np.array([2]))
    expected = {"box": [0.0, 0.2, 1.5, 2.0], "score": 0.123, "class": "lamp"}
    assert answers.merged(seen, Brightness.classes)["regions"] == [expected]
    assert answers.merged(seen._replace(kinds=None), Brightness.classes)["regions"] == [{**expected, "class": None}]


def test_jpegs_keep_their_channels():
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    back = cv2.imdecode(np.frombuffer(answers.as_jpeg(image), np.uint8), cv2.IMREAD_COLOR)
    assert abs(int(back[8, 8, 2]) - 200) < 8 and back[8, 8, 0] < 8
