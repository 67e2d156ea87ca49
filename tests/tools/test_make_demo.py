"""When the demo trains, when it goes on, and what it says at the end."""

import json

import pytest

from nightlab.errors import InputError


@pytest.fixture
def demo(load_tool, monkeypatch):
    """The tool with a training that only leaves its traces, and the arguments it got."""
    tool = load_tool("make_demo")
    tool.calls = []

    def run(arguments):
        tool.calls.append(arguments)
        folder = tool.Path(dict(zip(arguments.opts[::2], arguments.opts[1::2], strict=True))["OUTPUT_DIR"])
        for kind, score in (("best", 41.26), ("last", 40.0)):
            path = folder / "evaluation" / "nightstreet_night_test" / f"{kind}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            document = {"dataset": "nightstreet_night_test", "kind": kind, "images": 200, "iteration": 399}
            results = {"sem_seg": {"mIoU": score}, "sem_seg_image_level": {"mIoU": 38.04}}
            path.write_text(json.dumps(document | {"results": results}))
        (folder / "config.yaml").touch()
        (folder / "report.html").touch()

    monkeypatch.setattr(tool, "run", run)
    return tool


def test_trains_once_and_then_only_says_where_to_look(demo, tmp_path, capsys):
    folder = tmp_path / "demo"
    assert demo.main(["--output", str(folder)]) == 0
    first = capsys.readouterr().out
    assert "mIoU 41.3 (image level alone 38.0) on nightstreet_night_test (200 images; best checkpoint," in first
    assert str(folder / "report.html") in first and str(folder / "pictures") in first
    assert demo.main(["--output", str(folder)]) == 0
    assert len(demo.calls) == 1 and capsys.readouterr().out == first


def test_fresh_starts_over(demo, tmp_path):
    folder = tmp_path / "demo"
    demo.main(["--output", str(folder)])
    (folder / "model_final.pth").touch()
    demo.main(["--fresh", "--output", str(folder)])
    assert len(demo.calls) == 2 and not (folder / "model_final.pth").exists()


def test_fresh_spares_a_folder_that_is_no_run(demo, tmp_path):
    (tmp_path / "letters.txt").touch()
    demo.main(["--fresh", "--output", str(tmp_path)])
    assert (tmp_path / "letters.txt").exists()


def test_an_unfinished_demo_goes_on(demo, tmp_path):
    demo.main(["--output", str(tmp_path), "SEED", "2"])
    (call,) = demo.calls
    assert call.resume and not call.eval_only and call.opts[-2:] == ["SEED", "2"]


def test_the_configuration_fits_the_tool(demo):
    assert demo.CONFIG.is_file()


def test_a_problem_of_the_user_is_one_line(demo, monkeypatch, tmp_path, capsys):
    def run(arguments):
        raise InputError("SEEED: no such key")

    monkeypatch.setattr(demo, "run", run)
    assert demo.main(["--output", str(tmp_path / "demo")]) == 2
    assert capsys.readouterr().err == "make_demo.py: SEEED: no such key\n"
