"""Examples: those of a folder in its order, or made ones."""

import cv2
import numpy as np
import pytest

from nightlab.errors import InputError
from nightlab.web import examples


def test_a_folder(tmp_path):
    for i, name in enumerate(("b.png", "a.jpg", "a.png")):
        cv2.imwrite(str(tmp_path / name), np.full((60, 90, 3), 50 * i, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    given = examples.of_folder(tmp_path)
    assert given.names == ["a", "a_2", "b"] and given.image(2).max() == 0
    small = cv2.imdecode(np.frombuffer(given.thumbnails[0], np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (120, 180, 3)


def test_a_folder_that_will_not_do(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        examples.of_folder(tmp_path)
    (tmp_path / "broken.jpg").write_text("no image")
    with pytest.raises(InputError, match="broken"):
        examples.of_folder(tmp_path)


def test_made_streets_are_of_the_models_size():
    assert examples.made((96, 128)).image(0).shape == (96, 128, 3)
    assert len(examples.made((96, 128)).names) == 4
