"""The wheel, and a clean environment without torch in which it runs an exported model."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest

import nightlab
from nightlab.places import FOLDERS

RUNTIME_NEEDS = ("numpy", "onnxruntime", "opencv-python-headless")
SCRIPT = """
import sys
import numpy
import nightlab
from nightlab.places import find_config

assert find_config("configs/camvid/upernet_effnet_lite0.yaml").is_file()
seen = nightlab.load(sys.argv[1])(sys.argv[2])
numpy.savez(sys.argv[3], labels=seen.labels, boxes=[region.box for region in seen.regions])
print(nightlab.__file__)
"""

EVERY_COMMAND = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
from nightlab import cli, places
from nightlab.config import load_config

for name in (*cli.COMMANDS, "evaluate"):
    assert cli.main([name, "--help"]) == 0, name
assert load_config("configs/quickstart/nightlab_hdm_swin_nano.yaml").MODEL.REGION.ENABLED
tool = runpy.run_path(str(places.folder("tools") / "install_detectron2.py"))
assert "--hash=" in tool["REQUIREMENT"].read_text()
print(cli.__file__)
"""


def run(*command: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """With nothing of this checkout in sight."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory) -> Path:
    """Built from a copy of what it is made of, so that nothing is left in the checkout, nor taken from old builds."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("nightlab", *FOLDERS.values()):
        shutil.copytree(repository / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.py", "pyproject.toml"):
        shutil.copy(repository / file, source)
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", target)
    built = run(sys.executable, "-m", "pip", "wheel", *options, source, folder=source)
    assert built.returncode == 0, built.stderr[-2000:]
    (path,) = target.glob("nightlab-*.whl")
    return path


def test_the_wheel_carries_the_package_configurations_cards_and_commands(wheel: Path, repository: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if name.startswith("nightlab/")}
    expected = {file.relative_to(repository) for file in (repository / "nightlab").rglob("*.py")}
    expected |= {file.relative_to(repository) for file in (repository / "nightlab/web/page").iterdir()}
    for name, folder in FOLDERS.items():
        files = (file for file in (repository / folder).rglob("*") if file.suffix in (".yaml", ".py", ".txt"))
        expected |= {Path("nightlab/_shipped", name, file.relative_to(repository / folder)) for file in files}
    assert carried == {str(file) for file in expected}


def test_every_command_starts_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """With the libraries of this environment, and nothing of this checkout but the wheel's copies."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    there = run(sys.executable, "-c", EVERY_COMMAND, tmp_path / "site", folder=tmp_path)
    assert there.returncode == 0, there.stderr[-2000:]
    assert Path(there.stdout.splitlines()[-1]).is_relative_to(tmp_path / "site")


@pytest.mark.index
def test_a_clean_environment_runs_an_exported_model(wheel: Path, exported, images, tmp_path: Path) -> None:
    commands = tmp_path / "clean" / "bin"
    assert run(sys.executable, "-m", "venv", tmp_path / "clean", folder=tmp_path).returncode == 0
    install = (commands / "python", "-m", "pip", "install", "--retries", "1", "--only-binary", ":all:")
    needs = [f"{name}=={version(name)}" for name in RUNTIME_NEEDS]
    installed = run(*install, *needs, folder=tmp_path)
    if "from versions: none" in installed.stderr:
        pytest.skip(f"no package index is reachable: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr[-2000:]
    assert run(*install, "--no-deps", wheel, folder=tmp_path).returncode == 0
    listed = run(commands / "python", "-m", "pip", "list", "--format", "json", folder=tmp_path)
    assert not {"torch", "detectron2", "timm"} & {entry["name"] for entry in json.loads(listed.stdout)}

    assert run(commands / "nightlab", "--version", folder=tmp_path).stdout == f"nightlab {nightlab.__version__}\n"
    path, _ = exported(".onnx")
    cv2.imwrite(str(tmp_path / "street.png"), images[0][..., ::-1])
    there = run(commands / "python", "-c", SCRIPT, path, "street.png", "seen.npz", folder=tmp_path)
    assert there.returncode == 0 and "clean" in Path(there.stdout.strip()).parts, there.stderr
    here, seen = nightlab.load(path)(images[0]), np.load(tmp_path / "seen.npz")
    assert (seen["labels"] == here.labels).all()
    assert np.allclose(seen["boxes"], [region.box for region in here.regions], atol=1e-3)
