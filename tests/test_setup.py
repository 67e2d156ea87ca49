"""Tests of the set-up: versions, the check of an installation, life without Detectron2's compiled extension."""

import ast
import importlib.metadata
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torchvision
from packaging.requirements import Requirement

import nightlab

REPOSITORY = Path(__file__).parents[1]
# Left out by `make setup`: tests that can do without skip themselves.
OPTIONAL = {"selenium"}
Tool = Callable[[str], ModuleType]


def pins() -> list[Requirement]:
    """Every requirement of requirements/ (but Detectron2's wheel, whose line carries a hash)."""
    lines = [
        line
        for name in ("base", "web", "dev", "browser")
        for line in (REPOSITORY / "requirements" / f"{name}.txt").open()
    ]
    return [Requirement(line.strip()) for line in lines if line.strip() and not line.startswith(("#", "-r"))]


def ranges() -> dict[str, Requirement]:
    """What setup.py declares, extras included, by distribution name."""
    declared = map(Requirement, importlib.metadata.requires("nightlab") or [])
    return {requirement.name.lower(): requirement for requirement in declared}


def test_every_requirement_is_pinned_and_within_the_range_of_setup_py() -> None:
    assert {pin.name.lower() for pin in pins()} == set(ranges())
    for pin in pins():
        (specifier,) = pin.specifier
        assert specifier.operator == "==", f"{pin} is not pinned"
        assert specifier.version in ranges()[pin.name.lower()].specifier, f"setup.py does not admit {pin}"


def test_nothing_is_imported_that_the_requirements_do_not_install() -> None:
    known = {"detectron2", "nightlab", "tests"} | sys.stdlib_module_names
    known |= {module for name in set(ranges()) - OPTIONAL for module in provided(name)}
    for folder in ("nightlab", "tools", "projects", "datasets", "tests"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            siblings = {path.stem for place in (file.parent, REPOSITORY / "tests") for path in place.iterdir()}
            unknown = imported(file) - known - siblings
            assert not unknown, f"{file} imports {unknown}, which requirements/ does not name"


def provided(name: str) -> set[str]:
    """Top-level modules that an installed distribution brings."""
    return {file.parts[0].partition(".")[0] for file in importlib.metadata.files(name) or []}


def imported(file: Path) -> set[str]:
    """Top-level names of the absolute imports of a Python file."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parents = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in plain | parents}


def test_the_check_passes_on_this_installation(load_tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_tool("check_install").main() == 0
    assert "NightLab is ready" in capsys.readouterr().out


def test_the_check_explains_a_torchvision_of_another_build(
    load_tool: Tool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing_operator(*_: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", missing_operator)
    assert load_tool("check_install").main() == 1
    output = capsys.readouterr().out
    assert "BROKEN  torchvision: torch and torchvision do not match" in output
    assert "install --force-reinstall -r requirements/base.txt" in output
    assert "1 of 5 checks failed" in output


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModuleNotFoundError("No module named 'pkg_resources'"), "'setuptools<82'"),
        (ModuleNotFoundError("No module named 'detectron2'"), "Detectron2 is missing"),
        (ModuleNotFoundError("NightLab needs Detectron2, which ..."), "Detectron2 is missing"),
        (ModuleNotFoundError("No module named 'fvcore'"), "No module named 'fvcore'"),
        (ImportError("libGL.so.1: cannot open shared object file: No such file"), "opencv-python-headless"),
        (RuntimeError("CUDA error: no kernel image is available for execution"), "CUDA_VISIBLE_DEVICES"),
        (ImportError("numpy.core.multiarray failed to import"), "built for another numpy"),
        (KeyError("anything\nelse"), "KeyError: 'anything"),
    ],
)
def test_the_check_names_cause_and_remedy_on_one_line(load_tool: Tool, error: Exception, expected: str) -> None:
    explanation = load_tool("check_install").explain(error)
    assert expected in explanation
    assert "\n" not in explanation


def test_an_importable_detectron2_is_left_alone(
    load_tool: Tool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = load_tool("install_detectron2")
    monkeypatch.setattr(sys, "argv", ["install_detectron2.py"])
    monkeypatch.setattr(tool, "pip", lambda *arguments, remedy: pytest.fail(f"pip was called: {arguments}"))
    tool.main()
    assert "left alone" in capsys.readouterr().out


def test_every_module_imports_without_the_compiled_extension_of_detectron2() -> None:
    modules = [module.name for module in pkgutil.walk_packages(nightlab.__path__, "nightlab.")]
    lines = ["import sys, importlib", "sys.modules['detectron2._C'] = None"]
    lines += [f"importlib.import_module({name!r})" for name in modules]
    result = run_python("\n".join(lines))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", ["nightlab.config", "nightlab.modeling", "nightlab.engine.run"])
def test_without_detectron2_the_import_says_how_to_get_it(module: str) -> None:
    result = run_python(f"import sys; sys.modules['detectron2'] = None; import nightlab; import {module}")
    assert result.returncode == 1
    assert "python tools/install_detectron2.py" in result.stderr


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
