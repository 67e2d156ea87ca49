"""The web page from the command line: what it serves, and what it says where it cannot start."""

import sys
import threading
import urllib.request

import pytest
import torch
from detectron2.modeling import build_model


@pytest.fixture
def demo(load_tool):
    return load_tool("web_demo")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name --model FILE, or --config-file CFG"),
        (["--model", "none.onnx"], "none.onnx: no such model"),
        (["--config-file", "configs/quickstart/upernet_swin_nano.yaml"], "MODEL.WEIGHTS: names no checkpoint"),
    ],
)
def test_what_cannot_be_started(demo, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(demo, "check_installed", lambda: None)
    assert demo.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("web_demo.py: ") and message in error and error.count("\n") == 1


def test_a_run_is_shown_by_its_folder(demo, tmp_path):
    assert demo.title(tmp_path / "my_run" / "config.yaml") == "my_run"
    assert demo.title(tmp_path / "my_run" / "model.onnx") == "model.onnx"


@pytest.fixture
def given(nano_cfg, tmp_path):
    """The arguments of a small checkpoint, on a free port."""
    torch.save({"model": build_model(nano_cfg).state_dict()}, tmp_path / "model.pth")
    (tmp_path / "config.yaml").write_text(nano_cfg.dump())
    return ["--model", str(tmp_path / "model.pth"), "--port", "0"]


def test_without_flask_it_says_what_to_install(demo, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "flask", None)
    assert demo.main(["--model", "none.onnx"]) == 2
    assert "needs flask" in (error := capsys.readouterr().err) and "pip install flask waitress" in error


def test_it_serves_the_page(demo, given):
    pytest.importorskip("flask", reason="the page's server needs Flask (requirements/web.txt)")
    pytest.importorskip("waitress", reason="the page's server needs waitress (requirements/web.txt)")
    server = demo.build(demo._parse(given))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.effective_port}/", timeout=30) as page:
            assert b"<title>NightLab</title>" in page.read() and "Server" not in page.headers
    finally:
        server.close()
