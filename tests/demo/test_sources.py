"""Frames from files, patterns and videos, and what happens to those that cannot be read."""

import cv2
import numpy as np
import pytest

from nightlab.demo.sources import Images, Video, distinct_stems, find_images
from nightlab.errors import InputError


@pytest.fixture
def photos(tmp_path):
    for name in ("b.png", "a.jpg", "deep/c.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((8, 12, 3), 40, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def write_video(path, frames=5, rate=12.5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (64, 48))
    for i in range(frames):
        writer.write(np.full((48, 64, 3), (0, 0, 40 * i), np.uint8))
    writer.release()
    return path


def test_files_folders_and_patterns(photos):
    assert [f.name for f in find_images([str(photos)])] == ["a.jpg", "b.png"]
    assert [f.name for f in find_images([str(photos / "**" / "*.png")])] == ["b.png", "c.png"]
    assert [f.name for f in find_images([str(photos / "b.png"), str(photos)])] == ["b.png", "a.jpg"]


@pytest.mark.parametrize("name", ["none.png", "*.gif", "empty"])
def test_an_input_that_leads_nowhere(photos, name):
    (photos / "empty").mkdir()
    with pytest.raises(InputError, match=name.replace("*", r"\*")):
        find_images([str(photos), str(photos / name)])


def test_an_unreadable_image_is_told(photos):
    (photos / "broken.png").write_text("no image")
    frames = list(Images([photos / "broken.png", photos / "a.jpg"]))
    assert frames[0].image is None and "broken.png" in frames[0].reason
    assert frames[1].image.shape == (8, 12, 3) and not frames[1].reason


def test_equal_names_are_told_apart(photos):
    assert distinct_stems([photos / "a.jpg", photos / "deep" / "a.png", photos / "b.png"]) == ["a", "a_2", "b"]
    assert distinct_stems([photos / name for name in ("a_2.png", "a.png", "a.jpg", "a.webp")]) == [
        "a_2",
        "a",
        "a_3",
        "a_4",
    ]


def test_a_frame_that_is_hardly_wide_is_told(photos):
    cv2.imwrite(str(photos / "line.png"), np.zeros((300, 3, 3), np.uint8))
    (frame,) = Images([photos / "line.png"])
    assert frame.image is None and "line.png: has 3x300 pixels" in frame.reason


def test_a_header_that_promises_too_much_is_not_waited_for(tmp_path):
    video = Video(str(write_video(tmp_path / "drive.mp4")))
    video.total = 2**31
    frames = list(video)
    assert len(frames) == 6 and f"ends {2**31 - 5} frames short" in frames[-1].reason


def test_a_video_has_its_rate_and_rgb(tmp_path):
    video = Video(str(write_video(tmp_path / "drive.mp4")))
    assert (video.rate, video.total, video.name) == (12.5, 5, "drive")
    images = [frame.image for frame in video]
    assert len(images) == 5 and images[4][..., 0].mean() > 120 and images[4][..., 2].mean() < 40


class Capture:
    """Stands for cv2.VideoCapture: which frames can be decoded."""

    def __init__(self, known):
        self.known = list(known)

    def read(self):
        known = self.known.pop(0) if self.known else False
        return known, np.zeros((4, 4, 3), np.uint8) if known else None

    def release(self):
        pass


@pytest.mark.parametrize(
    "known, reasons",
    [
        ([1, 0, 1, 1], ["frame 2 cannot be decoded"]),
        ([1, 1, 1, 0], []),
        ([1, 1, 0, 0], ["ends 2 frames short"]),
    ],
)
def test_frames_that_are_missing(tmp_path, known, reasons):
    video = Video(str(write_video(tmp_path / "drive.mp4")))
    video._capture, video.total = Capture(known), 4
    frames = list(video)
    assert sum(frame.image is not None for frame in frames) == sum(known)
    told = [frame.reason for frame in frames if frame.reason]
    assert len(told) == len(reasons) and all(a in b for a, b in zip(reasons, told, strict=True))


def test_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("none.mp4", "text.mp4"):
        with pytest.raises(InputError, match=name):
            Video(str(tmp_path / name))
