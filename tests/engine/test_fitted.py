"""Which images a checkpoint's levels were fitted to: known on other machines, too, and across runs."""

import pytest
import torch

from nightlab.engine.fitted import FittedTo
from nightlab.errors import InputError


def records(root, *names):
    return [{"file_name": str(root / "streets" / name)} for name in names]


def test_images_are_known_by_their_place_below_the_data_sets_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "here"))
    there = FittedTo()
    there.add(records(tmp_path / "here", "a.png", "b.png"))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "moved"))
    here = FittedTo()
    here.load_state_dict(there.state_dict())
    assert here.among(records(tmp_path / "moved", "b.png", "c.png")) == [str(tmp_path / "moved" / "streets" / "b.png")]
    assert not here.among(records(tmp_path / "elsewhere", "b.png"))


@pytest.mark.parametrize("state", [{}, {"images": [1, 2]}, {"images": torch.zeros(3)}, None])
def test_what_is_no_hash_of_images_is_refused(state):
    with pytest.raises(InputError, match="holds no hashes of images"):
        FittedTo().load_state_dict(state)
