"""The command `nightlab` and the folders that it reads."""

import sys

import pytest

import nightlab
from nightlab import cli, places


def test_help_names_every_command_and_each_has_its_file(capsys):
    assert cli.main([]) == 0 and cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (place, file, _) in cli.COMMANDS.items():
        assert f"  {name} " in out and (places.folder(place) / file).is_file()


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"nightlab {nightlab.__version__}\n"


def test_an_unknown_command(capsys):
    assert cli.main(["fly"]) == 2
    assert "usage: nightlab COMMAND" in capsys.readouterr().err


def test_without_detectron2_there_is_a_line_and_a_command_that_mends_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2", None)
    monkeypatch.delitem(sys.modules, "nightlab.needs_detectron2", raising=False)
    monkeypatch.delattr(nightlab, "needs_detectron2", raising=False)
    assert cli.main(["demo", "--help"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nightlab: NightLab needs Detectron2") and error.count("\n") == 1
    assert "`nightlab install-detectron2`" in error
    assert cli.main(["install-detectron2", "--help"]) == 0


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (["check", "--help"], 0, "usage: check_dataset.py"),
        (["report", "nowhere"], 2, "report.py: "),
        (["evaluate", "--config-file", "none.yaml"], 2, "train_net.py: none.yaml"),
    ],
)
def test_commands_run_with_their_arguments(capsys, arguments, status, said):
    assert cli.main(arguments) == status
    output = capsys.readouterr()
    assert said in output.out + output.err


def test_configurations_are_found_from_anywhere(tmp_path, monkeypatch, repository):
    monkeypatch.chdir(tmp_path)
    name = "configs/camvid/upernet_effnet_lite0.yaml"
    assert places.find_config(name) == places.find_config(name[8:]) == repository / name
    assert places.find_config("none.yaml").name == "none.yaml"
    (tmp_path / "configs" / "camvid").mkdir(parents=True)
    (tmp_path / name).touch()
    assert places.find_config(name).resolve() == tmp_path / name  # one's own comes first
