"""Figures of light adaptation by hand, and the command line on made scenes."""

import json
import re

import pytest
import torch

from nightlab.evaluation.light_study import average, light_figures


def test_an_even_image_made_twice_as_bright():
    figures = light_figures(torch.full((1, 3, 16, 16), 50.0), torch.full((1, 3, 16, 16), 100.0))
    assert figures["luminance"] == pytest.approx(50) and figures["adapted_luminance"] == pytest.approx(100)
    assert figures["contrast"] == 0 and figures["clipped"] == 0
    # SSIM of constants: (2ab + c) / (a^2 + b^2 + c) with c = (0.01 * 255)^2.
    c = 2.55**2
    assert figures["ssim"] == pytest.approx((2 * 50 * 100 + c) / (50**2 + 100**2 + c), abs=1e-4)
    assert average([figures, figures]) == pytest.approx({**figures, "images": 2})


def test_command_line(load_tool, repository, tiny_card, tmp_path, capsys):
    tool = load_tool("study_light")
    sheet, document = tmp_path / "sheet.png", tmp_path / "light.json"
    command = ["--config-file", str(repository / "configs/backbones/swin_nano.yaml"), "--dataset", f"{tiny_card}_test"]
    command += ["--number", "2", "--sheet", str(sheet), "--json", str(document), "MODEL.DEVICE", "cpu"]
    assert tool.main([*command, "MODEL.LIGHT.NAME", "gamma"]) == 0
    assert "adapted_luminance" in capsys.readouterr().out and sheet.is_file()
    figures = json.loads(document.read_text())
    assert figures["images"] == 2 and figures["adapted_luminance"] >= figures["luminance"]
    assert tool.main(command) == 2
    assert "has no light adaptation" in capsys.readouterr().err
    (tmp_path / "file").write_bytes(b"")
    command[command.index(str(sheet))] = str(tmp_path / "file" / "sheet.png")
    assert tool.main([*command, "MODEL.LIGHT.NAME", "gamma"]) == 2
    assert re.search(r"file/sheet\.png: cannot be written \(.+\); name another file", capsys.readouterr().err)
    command[command.index("--number") + 1] = "0"
    with pytest.raises(SystemExit):
        tool.main(command)
    assert "0 is not a positive number" in capsys.readouterr().err


def test_figures_of_several_adaptations_are_drawn(load_tool, tmp_path, capsys):
    tool = load_tool("study_light")
    figures = {"luminance": 30, "adapted_luminance": 60.04, "contrast": 20, "adapted_contrast": 33, "clipped": 0.5}
    paths = [tmp_path / "weak.json", tmp_path / "strong.json"]
    for path, ssim in zip(paths, (0.9, 0.6), strict=True):
        path.write_text(json.dumps(figures | {"ssim": ssim, "name": path.stem}))
    plot = tmp_path / "light.png"
    command = ["--combine", *map(str, paths), "--day", str(paths[0]), "--plot", str(plot)]
    assert tool.main(command) == 0 and plot.is_file()
    said = capsys.readouterr().out
    assert "| strong" in said and "60.0" in said and "0.600" in said
    paths[1].write_text('{"ssim": 1}')
    assert tool.main(command) == 2
    assert "strong.json: no figures that study_light.py wrote" in capsys.readouterr().err
