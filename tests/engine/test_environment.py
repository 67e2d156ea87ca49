"""What a run was made with."""

import json

import timm
import torch

import nightlab
from nightlab.engine.environment import record_environment


def test_versions_device_and_command_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train_net.py", "--config-file", "my config.yaml"])
    record_environment(tmp_path, "cpu")
    found = json.loads((tmp_path / "environment.json").read_text())
    assert (found["nightlab"], found["torch"], found["timm"]) == (
        nightlab.__version__,
        torch.__version__,
        timm.__version__,
    )
    assert found["command"] == "train_net.py --config-file 'my config.yaml'"
    assert found["device"].startswith("cpu") and found["processes"] == "1"


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("nightlab.engine.environment.comm.is_main_process", lambda: False)
    record_environment(tmp_path, "cpu")
    assert not list(tmp_path.iterdir())
