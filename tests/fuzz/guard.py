"""Readings in a process of their own: how each ended, how long it took, how much memory it took, and what it wrote.

The process is forked, so that it costs milliseconds. A crash, a hang and a bomb end it and not the fuzzer.
"""

import ctypes
import os
import resource
import select
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import torch

from nightlab.errors import InputError
from nightlab.picture_limits import MAX_PIXELS, picture_size

# What reading has no business with: the audit events of Python by which it would show.
FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.getaddrinfo")
CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Far above every bound: keeps a bomb from taking the machine along.
SPARE_BYTES = 6 << 30
# What a picture may take for each pixel that it says it has, beside its file: as docs/reliability.md states.
BYTES_A_PIXEL = 20
DEARER = {".webp": 23, ".jp2": 29}
# A busy machine may take so many times longer than it computes; who waits for a pipe computes nothing.
PATIENCE = 5
LONGEST_MESSAGE = 2000


ENDED_BY = {signal.SIGKILL: "hangs", signal.SIGXCPU: "computes for too long"}


@dataclass(frozen=True)
class Outcome:
    """How a reading ended: `fault` is empty where it was read or refused as it should, `message` what the user sees."""

    name: str
    fault: str
    message: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


def watched(
    paths: Sequence[Path], read: Callable[[Path], Any], out: Path, *, seconds: float, megabytes: float
) -> list[Outcome]:
    """Reads files one after the other, until one ends the process.

    `seconds` (of the processor) and `megabytes` are what each may take, and all may write below `out` only.
    """
    receive, send = os.pipe()
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)  # no thread would come along
    torch.set_num_threads(1)
    child = os.fork()
    if not child:
        os.close(receive)
        with os.fdopen(send, "w", encoding="utf-8", errors="backslashreplace") as told:
            _read_all(paths, read, out, seconds, told)
        os._exit(0)
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])
    os.close(send)
    outcomes: list[Outcome] = []
    with os.fdopen(receive, "rb", buffering=0) as told:
        text = b""
        while len(outcomes) < len(paths):
            ready = select.select([told], [], [], PATIENCE * seconds)[0]
            more = told.read(1 << 16) if ready else b""
            if not more:
                os.kill(child, signal.SIGKILL)
                break
            text += more
            *lines, text = text.split(b"\n")
            for line in lines:
                path = paths[len(outcomes)]
                most = max(megabytes, bytes_a_pixel(path) * _pixels_said(path) / 2**20)
                outcomes.append(_outcome(line.decode(), seconds, most))
    status = os.waitpid(child, 0)[1]
    if len(outcomes) < len(paths):
        fault = ENDED_BY.get(os.WTERMSIG(status), "crashed") if os.WIFSIGNALED(status) else "left the process"
        outcomes.append(Outcome(paths[len(outcomes)].name, fault))
    return outcomes


def bytes_a_pixel(path: Path) -> int:
    return DEARER.get(path.suffix, BYTES_A_PIXEL)


def _read_all(paths: Sequence[Path], read: Callable[[Path], Any], out: Path, seconds: float, told: IO[str]) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    for number in (signal.SIGINT, signal.SIGTERM):  # who is asked to stop is the fuzzer
        signal.signal(number, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    tempfile.tempdir = str(out)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Memory that the parent has freed would be taken again, and not show; its own peak would.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    resource.setrlimit(resource.RLIMIT_AS, (_megabytes("VmSize") * 2**20 + SPARE_BYTES,) * 2)
    broken: list[str] = []
    sys.addaudithook(lambda event, arguments: _listen(event, arguments, out, broken))
    for path in paths:
        broken.clear()
        start, before, of_files = time.process_time(), _megabytes("VmRSS"), _megabytes("RssFile")
        resource.setrlimit(resource.RLIMIT_CPU, (int(start + seconds) + 1, resource.RLIM_INFINITY))
        fault, message = _ended(path, read)
        # The high-water mark holds for all readings so far: bounds are for one, so this is on the safe side.
        # Pages of files, as of libraries, are in memory once and are none of a fork's until it touches them.
        peak = _megabytes("VmHWM") - before - max(_megabytes("RssFile") - of_files, 0)
        parts = (path.name, fault or "; ".join(broken), message, time.process_time() - start, peak)
        told.write("\t".join(str(part).replace("\t", " ").replace("\n", "\\n") for part in parts) + "\n")
        told.flush()


def _ended(path: Path, read: Callable[[Path], Any]) -> tuple[str, str]:
    """The fault, or nothing, and what the user is told."""
    try:
        read(path)
    except InputError as error:
        message = str(error)
        if len(message.splitlines()) != 1:
            return "not one line", message
        if len(message) > LONGEST_MESSAGE:
            return f"a message of {len(message)} characters", message[:LONGEST_MESSAGE]
        return ("" if path.name in message or "this file" in message else "does not name the file"), message
    except BaseException as error:  # all that a reading can end with is judged here
        return f"{type(error).__name__}: {str(error)[:300]}", ""
    return "", ""


def _listen(event: str, arguments: tuple[Any, ...], out: Path, broken: list[str]) -> None:
    if event.startswith(FORBIDDEN):
        broken.append(f"{event} {str(arguments)[:200]}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        _may_write(event, arguments[0], out, broken)
    if event in CHANGING:
        _may_write(event, arguments[0], out, broken)


def _may_write(event: str, path: Any, out: Path, broken: list[str]) -> None:
    if isinstance(path, int) or os.fspath(path) == os.devnull:
        return
    if not os.path.realpath(os.fsdecode(path)).startswith(f"{os.path.realpath(out)}{os.sep}"):
        broken.append(f"{event} {path!r}, which is outside of its folder")


def _pixels_said(path: Path) -> int:
    """How many pixels a picture says that it has, within what is read at all; 0 for all else."""
    if not path.is_file():  # a pipe would be waited for
        return 0
    with path.open("rb") as file:
        head = file.read(1 << 16)
    size = struct.unpack_from("<HH", head, 6) if head[:3] == b"GIF" and len(head) >= 10 else picture_size(head)
    pixels = size[0] * size[1] if size else 0
    return pixels if pixels <= MAX_PIXELS else 0


def _outcome(line: str, seconds: float, megabytes: float) -> Outcome:
    name, fault, message, spent, peak = line.split("\t")
    if not fault and float(spent) > seconds:
        fault = f"took {spent} s"
    if not fault and float(peak) > megabytes:
        fault = f"took {peak} MB"
    return Outcome(name, fault, message, float(spent), float(peak))


def _megabytes(key: str) -> int:
    """A figure of this process in /proc/self/status, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{key}:")[1].split()[0]) // 1024
