"""Commands that documents and configurations show: their tools take them, with keys and configurations that exist."""

import argparse
import re
import runpy
import shlex
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path

import pytest

from nightlab.cli import COMMANDS
from nightlab.config import load_config
from nightlab.places import folder

from .conftest import REPOSITORY

DOCUMENTS = sorted(
    path for where in (".", "docs", "datasets", "projects/NightLab") for path in (REPOSITORY / where).glob("*.md")
)
CONFIGS = sorted(chain((REPOSITORY / "configs").rglob("*.yaml"), (REPOSITORY / "projects").rglob("*.yaml")))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
# A name alone, as `python tools/demo.py`, is a name; what has dots is no command yet.
IN_SENTENCE = re.compile(r"(python \S+\.py|nightlab ({})) (?!.*\.\.\.)".format("|".join(COMMANDS)))
PROGRAM = re.compile(r"(?:python )?(\S+\.py)|nightlab ([a-z-]+)")
# What stands for a reader's own files, and what serves in its place here.
_ANY = "configs/quickstart/nightlab_hdm_swin_nano.yaml"
PLACEHOLDERS = {"CONFIG": _ANY, "CFG": _ANY, "...": "weights.pth"}
OWN_FILES = re.compile(r"^(my_streets|imported/)|\.\.\.$")


class Parsed(BaseException):
    """Ends a tool once its command line is read."""

    def __init__(self, options: argparse.Namespace):
        self.options = options


def in_document(text: str) -> Iterator[str]:
    """The commands of a document: those of its blocks, their variables filled in, and those inside of sentences."""
    for language, block in FENCED.findall(text):
        if language in ("", "bash", "sh"):
            yield from in_block(block)
    for span in SPAN.findall(FENCED.sub("", text)):
        line = " ".join(span.split())
        if IN_SENTENCE.match(line):
            yield from in_block(line)


def in_block(block: str) -> Iterator[str]:
    """Its lines, continued ones joined, for each value that a loop gives."""
    values: dict[str, list[str]] = {}
    for line in block.replace("\\\n", " ").splitlines():
        while loop := re.match(r"\s*for (\w+) in (.*?); do", line):
            values[loop[1]] = loop[2].split()
            line = line[loop.end() :]
        while assigned := re.match(r"\s*([A-Z_]+)=(\"[^\"]*\"|\S+)\s*", line):
            values[assigned[1]] = [assigned[2].strip('"')]
            line = line[assigned.end() :]
        if quoted := re.match(r"\s*srun bash -c '(.*)'$", line):
            line = re.sub(r"\$\(.*?\)|\$SLURM_\w+", "1", quoted[1]).removeprefix("exec ")
        if not re.match(r"\s*(python|nightlab|torchrun) ", line):
            continue
        used = [name for name in values if re.search(rf"\$\{{?{name}\b", line)]
        for choice in product(*(values[name] for name in used)):
            yield filled(line, dict(zip(used, choice, strict=True)))


def filled(line: str, values: dict[str, str]) -> str:
    for _ in range(3):  # variables may name others
        for name, value in values.items():
            line = re.sub(rf"\$(?:{name}\b|\{{{name}\}})", value, line)
    return line.strip()


def shown() -> Iterator[tuple[str, str]]:
    """Where each command stands, and the command."""
    for document in DOCUMENTS:
        for command in in_document(document.read_text()):
            yield document.relative_to(REPOSITORY).as_posix(), command
    for config in CONFIGS:
        for line in re.findall(r"^# .*?(python \S+\.py .*)$", config.read_text(), re.MULTILINE):
            yield config.relative_to(REPOSITORY).as_posix(), line


SHOWN = sorted(set(shown()))


def test_files_that_documents_name_are_there() -> None:
    """Configurations, studies and tools, in prose as in commands."""
    named = re.compile(r"\b((?:configs|projects|tools|datasets|tests|docs)/[\w./-]+\.(?:yaml|py|md|svg|jpg|png))\b")
    for document in DOCUMENTS:
        for path in named.findall(document.read_text(encoding="utf-8")):
            assert "/my_" in path or (REPOSITORY / path).exists(), f"{document.name} names {path}"


def test_documents_show_commands() -> None:
    assert len(SHOWN) > 100
    assert {"GETTING_STARTED.md", "MODEL_ZOO.md"} <= {where for where, _ in SHOWN}


@pytest.mark.parametrize(("where", "command"), SHOWN, ids=lambda text: text[:80])
def test_a_shown_command_is_taken(where: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = PROGRAM.search(command)
    assert program, command
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command[program.end() :], comments=True)]
    if program[2]:
        place, file, _ = COMMANDS["train" if program[2] == "evaluate" else program[2]]
        script = folder(place) / file
    else:
        script = REPOSITORY / program[1]
    assert script.is_file(), f"{where}: {script.name} does not exist"
    if "argparse" not in script.read_text() and "argument_parser" not in script.read_text():
        assert not words, f"{where}: {script.name} takes no options"
        return
    options = parsed(script, words, monkeypatch)
    config = str(getattr(options, "config_file", None) or "")
    overrides = list(getattr(options, "opts", None) or [])
    if config and not OWN_FILES.search(config):
        assert (REPOSITORY / config).is_file(), f"{where}: {config} does not exist"
        load_config(REPOSITORY / config, overrides)


def parsed(script: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """The options that a tool reads from a command line."""
    parse = argparse.ArgumentParser.parse_args

    def stop(
        self: argparse.ArgumentParser, args: list[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        raise Parsed(parse(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr("sys.argv", [script.name, *words])
    try:
        runpy.run_path(str(script), run_name="__main__")
    except Parsed as found:
        return found.options
    except SystemExit as end:
        pytest.fail(f"{script.name} {shlex.join(words)}: exits with {end.code}")
    pytest.fail(f"{script.name}: reads no command line")
