"""A run's folder is for one run at a time, and has to be one that can be written to."""

import errno
import fcntl
import os
import signal
import time

import pytest

from nightlab.engine.alone import LOCK, alone_in, check_writable
from nightlab.engine.run import run
from nightlab.errors import InputError

from .test_run import arguments, config  # noqa: F401 (config is a fixture)


def holding(folder, also=lambda: None):
    """A process that holds the folder, once it does."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with alone_in(folder):
                also()
                os.write(told, b"1")
                time.sleep(60)
        finally:
            os._exit(0)
    assert os.read(ready, 1)
    return pid


def killed(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_second_run_is_refused_and_what_goes_on_is_left_alone(config, tmp_path):  # noqa: F811
    pid = holding(tmp_path / "out")
    try:
        with pytest.raises(InputError, match=r"out: another run is training in this folder; wait"):
            run(arguments(config, resume=True))
        assert [file.name for file in (tmp_path / "out").iterdir()] == [LOCK], "nothing was written to it"
    finally:
        killed(pid)


def test_what_a_killed_run_leaves_behind_does_not_hold_its_folder(tmp_path):
    """As a worker of its data loader, which notices after seconds only."""
    left = tmp_path / "left"

    def helper():
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        left.write_text(str(pid))

    killed(holding(tmp_path, helper))
    try:
        with alone_in(tmp_path):
            pass
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_one_process_may_run_again(tmp_path):
    for _ in range(2):
        with alone_in(tmp_path):
            pass


def test_where_nothing_can_be_locked_training_goes_on(tmp_path, monkeypatch, caplog):
    def unable(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", unable)
    with alone_in(tmp_path):
        pass
    assert "see to it that no other run trains there" in caplog.text


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/out: cannot be written to \(Not a directory\); name another OUTPUT"):
        check_writable(tmp_path / "file" / "out")
    monkeypatch.setattr(os, "access", lambda *_: False)  # to whoever runs as root, permissions mean nothing
    with pytest.raises(InputError, match=r"cannot be written to .* read only"):
        check_writable(tmp_path)
