"""Adapted frames as a data set of their own: all of them, with the labels of the originals, which stay as they are."""

from pathlib import Path

import numpy as np
import pytest

from nightlab.data import catalog
from nightlab.data.card_schema import load_card
from nightlab.errors import InputError
from nightlab.evaluation.adapted_frames import frame_paths, write_frame

BY_NIGHT = """
name: by_night
root: tiny
images: by_night/{id}.png
labels: labels/{id}.png
splits: {test: {ids: [c0, c1]}}
classes: [dark, grey, bright]
"""


def test_a_folder_of_adapted_frames_and_the_labels_of_the_originals(
    load_tool, repository, tiny_card, tiny_root, tmp_path, capsys
):
    command = ["--config-file", str(repository / "configs/backbones/swin_nano.yaml"), "--dataset", f"{tiny_card}_test"]
    opts = ["MODEL.DEVICE", "cpu", "MODEL.LIGHT.NAME", "gamma"]
    main = load_tool("study_light").main
    before = {path: path.read_bytes() for path in tiny_root.rglob("*.png")}
    for own in ("images", "labels"):
        assert main([*command, "--write", str(tiny_root / own), *opts]) == 2
        assert "c0.png: is a file of the data set itself; name another folder" in capsys.readouterr().err
    assert main([*command, "--write", str(tiny_root / "by_night"), *opts]) == 0
    assert "by_night: 2 adapted frames" in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())
    (tmp_path / "by_night.yaml").write_text(BY_NIGHT)
    written = load_card(tmp_path / "by_night.yaml").records("test")
    for adapted, record in zip(written, catalog.load(f"{tiny_card}_test"), strict=True):
        image, given = (r["source"].read_image(r) for r in (adapted, record))
        assert image.shape == given.shape and image.mean() > given.mean()
        assert np.array_equal(adapted["source"].read_label(adapted), record["source"].read_label(record))


def test_paths_follow_the_ids_and_stay_in_the_folder(tmp_path: Path) -> None:
    record = {"file_name": "/day/train/a.jpg", "image_id": "train/a"}
    assert frame_paths([record], tmp_path) == [tmp_path / "train" / "a.png"]
    with pytest.raises(InputError, match=r"its id '\.\./a' leads out of"):
        frame_paths([{**record, "image_id": "../a"}], tmp_path)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"file/a\.png: cannot be written \(.+\); name another folder"):
        write_frame(tmp_path / "file" / "a.png", np.zeros((2, 2, 3), np.uint8))
