"""The demo from the command line: what it writes, what it leaves out, and its exit status."""

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

import nightlab.modeling  # noqa: F401
from nightlab.config import load_config

DUAL = """
_BASE_: {base}
MODEL:
  DEVICE: cpu
  SEM_SEG_HEAD: {{CONVS_DIM: 16}}
  AUX_HEAD: {{CONVS_DIM: 8}}
  REGION: {{ENABLED: True, CROP_SIZE: [32, 32], ZOOM_RANGE: [1.5, 3.0]}}
  HARDNESS: {{LABELS: rdn, CONVS_DIM: 8}}
  LIGHT: {{NAME: relam, CHANNELS: 4, BLOCKS: 1, LEVELS: [image]}}
  NIGHTLAB: {{MAX_REGIONS: 3}}
  ANCHOR_GENERATOR: {{SIZES: [[16]]}}
INPUT: {{IMAGE_SIZE: [0, 0]}}
"""


@pytest.fixture
def demo(load_tool):
    return load_tool("demo")


@pytest.fixture(scope="module")
def config(tmp_path_factory, repository):
    """A small dual-level model: the arguments before and after the others, with configuration and weights."""
    folder = tmp_path_factory.mktemp("model")
    path = folder / "dual.yaml"
    path.write_text(DUAL.format(base=repository / "configs" / "backbones" / "swin_nano.yaml"))
    model = build_model(load_config(path))
    model.hard_class_mask[[5, 7]] = True
    model.region_level.start_from(model.image_level, model.hard_class_mask)
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    return ["--config-file", str(path)], ["--opts", "MODEL.WEIGHTS", str(folder / "model.pth")]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png"):
        cv2.imwrite(str(folder / name), rng.integers(0, 90, (48, 64, 3), dtype=np.uint8))
    return folder


def _write_video(path):
    """Three frames of 64x48, 12.5 a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (64, 48))
    for i in range(3):
        writer.write(np.full((48, 64, 3), 30 * i, np.uint8))
    writer.release()


def test_every_panel_of_every_image(demo, config, photos, tmp_path, capsys):
    before, after = config
    out = tmp_path / "shown"
    panels = ["--panels", "input", "light_map", "light", "image", "regions", "merged", "uncertainty"]
    assert demo.main([*before, "--input", str(photos), *panels, "--output", str(out), *after]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["a.png", "b.png"]
    picture = cv2.imread(str(out / "a.png"))
    assert picture.shape[1] == 3 * (8 * 64 + 8) + 8 and picture.shape[0] > 2 * 8 * 48
    assert f"{out}: 2 frames written, 0 left out" in capsys.readouterr().out


def test_the_same_pictures_twice(demo, config, photos, tmp_path):
    """From two runs with one seed: nothing in them depends on anything else."""
    before, after = config
    panels = ["--panels", "light", "image", "regions", "merged", "uncertainty"]
    for name in ("one", "two"):
        assert (
            demo.main([*before, "--input", str(photos), *panels, "--output", str(tmp_path / name), *after, "SEED", "3"])
            == 0
        )
    files = sorted((tmp_path / "one").iterdir())
    assert len(files) == 2
    assert all(file.read_bytes() == (tmp_path / "two" / file.name).read_bytes() for file in files)


def test_a_bad_image_is_left_out(demo, config, photos, tmp_path, capsys):
    before, after = config
    (photos / "bad.jpg").write_text("no image")
    assert demo.main([*before, "--input", str(photos), "--output", str(tmp_path / "shown"), *after]) == 1
    output = capsys.readouterr()
    assert "2 frames written, 1 left out" in output.out and "left out: " in output.err and "bad.jpg" in output.err
    assert not (tmp_path / "shown" / "bad.png").exists()


def test_a_video_keeps_its_rate(demo, config, tmp_path):
    before, after = config
    video = tmp_path / "drive.mp4"
    _write_video(video)
    assert demo.main([*before, "--video-input", str(video), "--output", str(tmp_path / "shown"), *after]) == 0
    capture = cv2.VideoCapture(str(tmp_path / "shown" / "drive.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5 and capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


@pytest.mark.parametrize("output", [".", "drive.mp4", "link/drive.mp4"])
def test_a_video_is_not_overwritten(demo, config, tmp_path, monkeypatch, capsys, output):
    before, after = config
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    _write_video(tmp_path / "drive.mp4")
    content = (tmp_path / "drive.mp4").read_bytes()
    assert demo.main([*before, "--video-input", "drive.mp4", "--output", output, *after]) == 2
    assert "drive.mp4: is an input; name another --output" in capsys.readouterr().err
    assert (tmp_path / "drive.mp4").read_bytes() == content


def test_an_image_is_not_overwritten_by_one_of_its_name(demo, config, tmp_path, capsys):
    """Two images called a are shown as a.png and a_2.png, and the latter is an input here."""
    before, after = config
    files = [tmp_path / name for name in ("one/a.jpg", "two/a.jpg", "a_2.png")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(file), np.zeros((48, 64, 3), np.uint8))
    assert demo.main([*before, "--input", *map(str, files), "--output", str(tmp_path), *after]) == 2
    assert "a_2.png: is an input" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--panels", "depth", "--output", "shown"], "panel 'depth': choose from input"),
        (["--output", "photos"], "b.png: is an input"),
        (["--output", "photos/a.jpg"], "is a file"),
    ],
)
def test_what_cannot_be_done(demo, config, photos, tmp_path, monkeypatch, capsys, arguments, message):
    before, after = config
    monkeypatch.chdir(tmp_path)
    assert demo.main([*before, "--input", str(photos), *arguments, *after]) == 2
    error = capsys.readouterr().err
    assert error.startswith("demo.py: ") and message in error and error.count("\n") == 1


def test_weights_are_needed(demo, config, photos, capsys):
    assert demo.main([*config[0], "--input", str(photos), "--output", "x"]) == 2
    assert "MODEL.WEIGHTS: names no checkpoint" in capsys.readouterr().err
