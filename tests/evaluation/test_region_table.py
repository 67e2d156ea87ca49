"""Studies of several seeds: mean and spread by hand, unlike studies refused, plots written."""

import copy
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from PIL import Image

from nightlab.errors import InputError
from nightlab.evaluation.region_table import auc_line, collect, draw_study, study_table


def row(source, number, miou, hard=20.0, easy=80.0, regions=0.0, time=0.0):
    figures = {"mIoU": miou, "mIoU-hard": hard, "mIoU-easy": easy}
    return {
        "source": source,
        "max_regions": number,
        "regions_per_image": regions,
        "time_over_image_level": time,
        **figures,
    }


def document(shift=0.0, **changes):
    rows = [
        row("image level", 0, 50 + shift),
        row("image level, scales 1, 1.5", 0, 51 + shift, time=2.0),
        row("detector", 1, 52 + shift, regions=1.0, time=0.5),
        row("detector", 5, 54 + shift, hard=30 + 2 * shift, regions=4.5 - shift, time=1.5 + shift),
        row("gain", 1, 55 + shift, regions=1.0, time=3.0),
        row("gain", 5, 60 + shift, regions=4.0, time=9.0),
        row("gain (image level on the crops)", 5, 53 + shift, regions=4.0),
    ]
    plain = {"dataset": "tiny_test", "images": 7, "hard_classes": ["pole"], "auc": 0.75, "share_with_gain": 0.5}
    return {**plain, "rows": rows, **changes}


def cells(table):
    """Rows of a Markdown table by their first cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {line[0]: line[1:] for line in lines}


def test_one_study():
    table = study_table([document()])
    found = cells(table)
    assert len(table.splitlines()) == len(found) == 7, "one line each, of the most regions"
    assert found["regions from"] == ["regions", "mIoU", "hard", "easy", "time on top"]
    assert found["image level"] == ["0.0", "50.00", "20.00", "80.00", "0.00"]
    assert found["detector"] == ["4.5", "54.00", "30.00", "80.00", "1.50"]
    assert list(found)[2:] == [
        "image level",
        "image level, scales 1, 1.5",
        "detector",
        "gain",
        "gain (image level on the crops)",
    ]


def test_mean_and_sample_deviation_of_several():
    found = cells(study_table([document(), document(1.0), document(2.0)]))
    # 54, 55, 56 deviate by 1 about 55; 30, 32, 34 by 2 about 32.
    assert found["detector"] == ["3.5", "55.00 ± 1.00", "32.00 ± 2.00", "80.00 ± 0.00", "2.50"]
    assert cells(study_table([document(), document(1.0)]))["gain"][1] == "60.50 ± 0.71"


def test_another_number_of_regions():
    found = cells(study_table([document()], 1))
    assert (found["detector"][1], found["gain"][1]) == ("52.00", "55.00")
    assert "gain (image level on the crops)" not in found and "image level" in found


def test_means_over_no_class_are_dashed():
    documents = [document(), document(1.0)]
    for given in documents:
        given["rows"][3]["mIoU-hard"] = None
    assert cells(study_table(documents))["detector"][2] == "-"
    assert cells(study_table(documents[:1]))["detector"][2] == "-"


@pytest.mark.parametrize("field, value", [("hard_classes", ["car"]), ("images", 8), ("dataset", "tiny_val")])
def test_unlike_studies_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        collect([document(), document(), document(**{field: value})])


@pytest.mark.parametrize("first", [0, 1])
def test_studies_of_other_rows_are_refused(first):
    documents = [document(), document()]
    documents[first]["rows"] = [r for r in documents[first]["rows"] if (r["source"], r["max_regions"]) != ("gain", 5)]
    for use in (collect, study_table):
        with pytest.raises(InputError, match="gain, 5 regions"):
            use(documents)


def test_rows_are_matched_by_name_and_not_by_place():
    other = document(2.0)
    other["rows"].reverse()
    rows = collect([document(), other])
    assert [r["mIoU"] for r in rows[("detector", 5)]] == [54, 56]
    assert next(iter(rows)) == ("image level", 0)


def test_what_the_score_says_about_gain():
    line = auc_line([document(), document(auc=0.85, share_with_gain=0.25)])
    assert "0.80 ± 0.07" in line and "0.38 ± 0.18" in line
    assert "0.75;" in auc_line([document(), document(auc=None, share_with_gain=None)])
    assert "no AUC" in auc_line([document(auc=None, share_with_gain=None)])


@pytest.mark.parametrize("documents", [[document()], [document(), document(1.0)]])
def test_drawing(tmp_path, documents):
    before = copy.deepcopy(documents)
    draw_study(documents, tmp_path / "plots" / "study.png")
    with Image.open(tmp_path / "plots" / "study.png") as image:
        assert image.size == (1350, 600)
    assert documents == before
    draw_study(documents, tmp_path / "study.svg")
    draw_study(documents, tmp_path / "again.svg")
    assert ElementTree.parse(tmp_path / "study.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "study.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "study.svg").read_bytes(), "the same plot on every day"


def test_a_source_has_one_colour_in_both_plots(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: (path.touch(), drawn.append(figure)))
    draw_study([document(), document(2.0)], tmp_path / "study.png")
    left, right = drawn[0].axes
    curves = {line.get_label(): line for line in right.lines}
    assert [text.get_text() for text in right.get_legend().get_texts()] == list(curves)
    assert list(curves) == list(dict.fromkeys(r["source"] for r in document()["rows"]))
    colours = [line.get_color() for line in curves.values()]
    assert len(set(colours)) == len(colours)
    for beside, line in zip(left.lines, curves.values(), strict=True):
        assert beside.get_color() == line.get_color()
        assert beside.get_ydata()[-1] == line.get_ydata()[-1]
    assert [list(x) for x in curves["detector"].get_data()] == [[1.5, 3.5], [53, 55]], "times and means"
    assert [list(x) for x in left.lines[2].get_data()] == [[1, 3.5], [53, 55]], "regions and means"
    assert list(curves["image level, scales 1, 1.5"].get_xdata()) == [3]
