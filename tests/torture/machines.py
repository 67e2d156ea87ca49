#!/usr/bin/env python
"""Train with two processes in three ways, over gloo on one host, and compare the weights bit for bit.

python tests/torture/machines.py

One machine with two processes; two machines with one process each (`--num-machines 2`); and `torchrun`. Data and
configuration, the image level alone on the CPU, are those of `kill_resume.py`.
"""

import os
import socket
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import torch
from kill_resume import compare, make_data

TRAIN_NET = str(Path(__file__).resolve().parents[2] / "projects" / "NightLab" / "train_net.py")


def main() -> int:
    """Returns the exit status: 1 where the weights differ."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        config = make_data(output, Namespace(iterations=4, workers=0, image_level=True))
        finish([start([sys.executable, TRAIN_NET, "--num-gpus", "2"], config, output / "one machine")])
        machine = [sys.executable, TRAIN_NET, "--num-machines", "2", "--dist-url", f"tcp://127.0.0.1:{free_port()}"]
        two = [[*machine, "--machine-rank", str(rank)] for rank in range(2)]
        finish([start(command, config, output / "two machines") for command in two])
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", TRAIN_NET]
        finish([start(torchrun, config, output / "torchrun")])
        status = 0
        for name in ("two machines", "torchrun"):
            differences = compare(output / "one machine", output / name)
            print(f"{name}: " + ("; ".join(differences) or "the same weights and figures as one machine"))
            status |= bool(differences)
    return status


def start(command: list[str], config: Path, folder: Path) -> subprocess.Popen[str]:
    """A process of `train_net.py` on the configuration."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [*command, "--config-file", str(config), "OUTPUT_DIR", str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """Waits for the processes of one run; ends this one with what they said where one failed."""
    said = [process.communicate()[0] for process in processes]
    for process, text in zip(processes, said, strict=True):
        if process.returncode:
            raise SystemExit(f"exit status {process.returncode}: {' '.join(process.args)}\n{text[-3000:]}")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
