#!/usr/bin/env python
"""Train with two processes in three ways, over gloo on one host, and compare the weights bit for bit.

python tests/torture/machines.py [--output FOLDER]

One machine with two processes; two machines with one process each (`--num-machines 2`); and `torchrun`. Data and
configuration, the image level alone on the CPU, are those of `kill_resume.py`. With `--output` the runs are kept, and
those that are finished there are not made again.
"""

import argparse
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="a folder to keep; without one, nothing is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return train_in_three_ways(options.output or Path(folder))


def train_in_three_ways(output: Path) -> int:
    config = make_data(output, Namespace(iterations=4, workers=0, image_level=True))
    machine = [sys.executable, TRAIN_NET, "--num-machines", "2", "--dist-url", f"tcp://127.0.0.1:{free_port()}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", TRAIN_NET]
    ways = {
        "one machine": [[sys.executable, TRAIN_NET, "--num-gpus", "2", "--dist-url", "auto"]],
        "two machines": [[*machine, "--machine-rank", str(rank)] for rank in range(2)],
        "torchrun": [torchrun],
    }
    status = 0
    for name, commands in ways.items():
        if not (output / name / "report.html").is_file():
            finish([start(command, config, output / name) for command in commands])
        differences = compare(output / "one machine", output / name)
        print(f"{name}: " + ("; ".join(differences) or "the same weights and figures as one machine"), flush=True)
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
