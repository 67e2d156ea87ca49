"""What a run was made with: versions, device and command, kept as `environment.json` in the run's folder."""

import importlib
import json
import os
import platform
import shlex
import sys
from datetime import datetime
from pathlib import Path

import torch
from detectron2.utils import comm

PACKAGES = ("nightlab", "torch", "torchvision", "timm", "detectron2", "numpy")


def describe_environment(device: str) -> dict[str, str]:
    """Names and values to print: versions, the device in words, the number of processes, the command, the time."""
    return {
        **versions(),
        "Python": platform.python_version(),
        "system": platform.platform(),
        "device": _device_name(device),
        "processes": str(comm.get_world_size()),
        "command": shlex.join(sys.argv),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Versions of NightLab and of what its figures depend on."""
    return {name: importlib.import_module(name).__version__ for name in PACKAGES}


def record_environment(folder: str | Path, device: str) -> None:
    """Write `environment.json`; a resumed run replaces it. Only the first process writes."""
    if comm.is_main_process():
        text = json.dumps(describe_environment(device), indent=1)
        Path(folder, "environment.json").write_text(text + "\n", encoding="utf-8")


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"
