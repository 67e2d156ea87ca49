"""Frames from files, patterns and videos, and what happens to those that cannot be read."""

import struct
import zlib

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
    assert frames[0].reason.endswith("replace it or leave it out")  # there is no split to take it out of
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
    """Stands for cv2.VideoCapture at 12.5 frames a second: which frames can be decoded; those that are None, decoders
    pass over without a word."""

    def __init__(self, known):
        self.known, self.number = list(known), 0

    def read(self):
        known = None
        while self.known and known is None:
            known, self.number = self.known.pop(0), self.number + 1
        return bool(known), np.zeros((4, 4, 3), np.uint8) if known else None

    def get(self, key):
        assert key == cv2.CAP_PROP_POS_MSEC
        return 80.0 * (self.number - 1)

    def release(self):
        pass


@pytest.mark.parametrize(
    "known, reasons",
    [
        ([1, 0, 1, 1], ["frame 2 cannot be decoded"]),
        ([1, 1, 1, 0], []),
        ([1, 1, 0, 0], ["ends 2 frames short"]),
        ([1, None, 1, 1], ["a frame after frame 1 cannot be decoded"]),
        ([1, None, None, 1], ["2 frames after frame 1 cannot be decoded"]),
        ([None, 1, 0, 1], ["frame 2 cannot be decoded"]),
    ],
)
@pytest.mark.parametrize("total", [4, None])
def test_frames_that_are_missing(tmp_path, known, reasons, total):
    """Without a length in the header nobody knows what the end misses, but the middle is passed over, too."""
    video = Video(str(write_video(tmp_path / "drive.mp4")))
    video._capture, video.total = Capture(known), total
    reasons = [reason for reason in reasons if total or " frame" not in reason]
    frames = list(video)
    assert sum(frame.image is not None for frame in frames) == known.count(1)
    told = [frame.reason for frame in frames if frame.reason]
    assert len(told) == len(reasons) and all(a in b for a, b in zip(reasons, told, strict=True))


def test_an_uneven_rate_is_no_damage(tmp_path):
    """Gaps between the times of frames, but as many frames as the header names."""
    video = Video(str(write_video(tmp_path / "drive.mp4")))
    video._capture, video.total = Capture([1, None, 1, None, None, 1]), 3
    assert [frame.reason for frame in video] == [""] * 3


def test_a_frame_that_the_decoder_passes_over_is_told(tmp_path):
    """The header of a frame in the middle overwritten: FFmpeg gives the others and says nothing."""
    path = write_video(tmp_path / "drive.mp4")
    data = path.read_bytes()
    third = [i for i in range(len(data)) if data.startswith(b"\x00\x00\x01\xb6", i)][2]
    path.write_bytes(data[: third + 4] + 4 * b"\xff" + data[third + 8 :])
    frames = list(Video(str(path)))
    assert sum(frame.image is not None for frame in frames) == 4
    assert [frame.reason for frame in frames if frame.reason] == ["drive: a frame after frame 2 cannot be decoded"]


def test_a_video_without_a_single_frame_is_told(tmp_path):
    """A picture that says it is larger than FFmpeg takes, under a video's name."""
    data = bytearray(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    data[16:24] = struct.pack(">2I", 20_000, 20_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "large.mp4").write_bytes(data)
    frames = list(Video(str(tmp_path / "large.mp4")))
    assert [(frame.image, frame.reason) for frame in frames] == [(None, "large: no frame of it can be decoded")]


def test_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("none.mp4", "text.mp4"):
        with pytest.raises(InputError, match=name):
            Video(str(tmp_path / name))
