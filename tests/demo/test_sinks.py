"""Pictures into folders, videos and windows, never half a file."""

import cv2
import numpy as np
import pytest

from nightlab.demo import sinks
from nightlab.demo.sinks import Folder, Window, video_file
from nightlab.errors import InputError

RED = np.zeros((31, 45, 3), np.uint8) + np.array([200, 0, 0], np.uint8)


def test_a_folder_of_images(tmp_path):
    folder = Folder(tmp_path / "new" / "shown")
    assert folder.show("a", RED) and folder.written == 1
    assert cv2.imread(str(tmp_path / "new" / "shown" / "a.png"))[0, 0].tolist() == [0, 0, 200]


def test_a_video_of_even_size_and_the_rate_given(tmp_path):
    path = tmp_path / "out.mp4"
    with video_file(path, 12.5) as sink:
        for _ in range(3):
            sink.show("x", RED)
        assert not path.exists()
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5 and capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.read()[1].shape == (30, 44, 3)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_live_pictures_keep_the_time(tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 0.05, 1.0])
    monkeypatch.setattr(sinks.time, "monotonic", lambda: next(clock))
    with video_file(tmp_path / "out.mp4", 10, live=True) as sink:
        written = []
        for _ in range(3):
            sink.show("x", RED)
            written.append(sink.written)
    assert written == [1, 1, 11]  # the first at 0 s, none for 0.05 s, ten for the second after


def test_an_interrupted_or_empty_video_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), video_file(tmp_path / "out.mp4", 10) as sink:
        sink.show("x", RED)
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="no frame could be read"), video_file(tmp_path / "out.mp4", 10):
        pass
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of files stands in for the disk."""
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(InputError, match=r"a\.png: cannot be written \("):
            Folder(tmp_path).show("a", noise)
        with (
            pytest.raises(InputError, match=r"out\.mp4: cannot be written: 0 of 20 frames"),
            video_file(tmp_path / "out.mp4", 10) as sink,
        ):
            for _ in range(20):
                sink.show("x", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate", [1.0, 24000 / 1001, 59.94, 1000.0])
def test_every_frame_of_a_whole_video_is_found(tmp_path, rate):
    with video_file(tmp_path / "out.mp4", rate) as sink:
        for shade in range(0, 250, 10):
            sink.show("x", np.full_like(RED, shade))
    assert sink.written == 25 and (tmp_path / "out.mp4").is_file()


@pytest.mark.parametrize("gui, reason", [("GUI:   NONE", "opencv-python-headless"), ("GUI:  GTK3", "no display")])
def test_no_window(monkeypatch, gui, reason):
    monkeypatch.setattr(sinks.cv2, "getBuildInformation", lambda: gui)
    monkeypatch.setattr(sinks.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match=reason):
        Window()


class Screen:
    """Stands for OpenCV's windows: what is pressed at each look, None where somebody closes the window."""

    def __init__(self, monkeypatch, *keys):
        self.keys, self.is_open = list(keys), True
        monkeypatch.setattr(sinks, "check_window", lambda: None)
        for name in ("namedWindow", "imshow", "destroyAllWindows"):
            monkeypatch.setattr(sinks.cv2, name, lambda *_: None)
        monkeypatch.setattr(sinks.cv2, "waitKey", self.look)
        monkeypatch.setattr(sinks.cv2, "getWindowProperty", lambda *_: float(self.is_open))

    def look(self, wait):
        assert wait > 0, "for ever, a closed window would not be noticed"
        key = self.keys.pop(0)
        self.is_open = key is not None
        return -1 if key is None else key


@pytest.mark.parametrize("last", [None, ord("q"), 27])
def test_a_picture_waits_for_a_key_until_the_window_is_closed(monkeypatch, last):
    screen = Screen(monkeypatch, -1, -1, ord("n"), -1, last)
    with Window() as window:
        assert window.show("a", RED) and len(screen.keys) == 2
        assert not window.show("b", RED) and not screen.keys


def test_frames_go_on_by_themselves_until_the_window_is_closed(monkeypatch):
    Screen(monkeypatch, -1, -1, None)
    with Window(wait=1) as window:
        assert [window.show("x", RED) for _ in range(3)] == [True, True, False]
