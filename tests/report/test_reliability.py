"""Reliability diagrams, and the section of the report that they are in."""

import json
import re
from xml.etree import ElementTree

import pytest

from nightlab.report.reading import read_run
from nightlab.report.reliability import Curve, Point, diagram, expected_error
from nightlab.report.trust import trust

HALVES = [Point(0.5, 0.25, 0.4), Point(1.0, 1.0, 0.6)]
BINS = {"confidence_sum": [0.0, 1.0, 3.0], "right": [0, 1, 3], "pixels": [0, 2, 3]}


def test_points_lie_where_they_should():
    html = diagram("<streets>", [Curve("<ECE>", HALVES)], across="confidence", up="right")
    ElementTree.fromstring(html)
    (line,) = re.findall(r'<polyline[^>]* points="([^"]*)"', html)
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line.split())
    (mark,) = re.findall(r'<line class="mark" x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', html)
    left, base, right, top = map(float, mark)
    assert (x1, y1) == pytest.approx((right, top)), "certain and right: the end of the diagonal"
    assert (x0 - left) / (right - left) == pytest.approx(0.5) and (base - y0) / (base - top) == pytest.approx(0.25)
    assert "0.500 predicted, 0.250 true, 40.0 % of all" in html and "<streets>" not in html


def test_nothing_makes_no_diagram():
    assert diagram("x", [Curve("none", [])], across="", up="") == ""


def test_the_error_is_the_mean_distance():
    assert expected_error(HALVES) == pytest.approx(10)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "evaluation" / "streets_test" / "best.json"
    path.parent.mkdir(parents=True)
    results = {level: {"mIoU": 50.0, "ECE": 0.0} for level in ("sem_seg", "sem_seg_image_level")}
    document = {"classes": ["road"], "results": results, "iteration": 9, "calibrated": True}
    document["calibration"] = {"sem_seg": BINS, "sem_seg_image_level": BINS | {"right": [0, 2, 3]}}
    path.write_text(json.dumps(document))
    fitted = {"temperature": 1.25, "ECE": 3.0, "ECE_after": 1.0, "NLL": 0.5, "NLL_after": 0.4, "pixels": 10}
    (tmp_path / "calibration.json").write_text(json.dumps({"best": {"images": 7, "image_level": fitted}}))
    return tmp_path


def test_the_section_from_the_files_alone(folder):
    run = read_run(folder)
    assert run.evaluations[0].reliability() == [Point(0.5, 0.5, 0.4), Point(1.0, 1.0, 0.6)], "empty bins have no point"
    html = trust(run)
    assert html.count("<svg") == 1 and html.count("<polyline") == 2
    assert "merged, ECE 0.00 %" in html and "image level, ECE 20.00 %" in html
    assert "streets_test, best checkpoint (iteration 10), calibrated" in html
    assert "<td>image level</td><td>1.250</td><td>3.00</td><td>1.00</td><td>0.5000</td><td>0.4000</td>" in html
    assert "7 held-out images" in html and "which it was not in this run" in html


@pytest.mark.parametrize(
    "calibration", [None, [], {"sem_seg": 3}, {"sem_seg": {"confidence_sum": [1], "right": "x", "pixels": [None]}}]
)
def test_damaged_bins_are_left_out(folder, calibration):
    path = folder / "evaluation" / "streets_test" / "best.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"calibration": calibration}))
    (folder / "calibration.json").write_text('{"best": 3}')
    assert trust(read_run(folder)) == ""
