"""Ticks, curves, bars and heat maps."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.report.charts import MOST_POINTS, Series, bars, heat_map, line_chart, nice_ticks, paired_bars


def polylines(html):
    return [
        [tuple(map(float, point.split(","))) for point in line.split()]
        for line in re.findall(r'points="([^"]*)"', html)
    ]


@pytest.mark.parametrize(
    "largest, ticks",
    [
        (4.1, [0, 1, 2, 3, 4, 5]),
        (100, [0, 20, 40, 60, 80, 100]),
        (7, [0, 2, 4, 6, 8]),
        (0.001, [0, 2e-4, 4e-4, 6e-4, 8e-4, 1e-3]),
    ],
)
def test_round_ticks(largest, ticks):
    assert nice_ticks(largest, 5) == pytest.approx(ticks)


@given(st.floats(1e-300, 1e300))
def test_ticks_reach_the_largest_value_and_are_few(largest):
    ticks = nice_ticks(largest, 5)
    assert ticks[0] == 0 and ticks[-1] >= largest * (1 - 1e-6) and 3 <= len(ticks) <= 7


@pytest.mark.parametrize("largest", [0, -3])
def test_ticks_of_nothing(largest):
    assert nice_ticks(largest, 5) == [0, 1]


def test_curves_rise_to_the_right_and_up():
    ((first, second),) = polylines(line_chart("mIoU", [Series("mIoU", [50, 100], [10, 30])]))
    assert second[0] > first[0] and second[1] < first[1], "y counts downwards in SVG"


def test_a_chart_is_well_formed_and_escaped():
    html = line_chart("<loss> & more", [Series("<b>", [1, 2], [3, 4]), Series("&", [1], [0])], mark=(1, "<best>"))
    ElementTree.fromstring(html)
    assert "<b>&lt;loss&gt; &amp; more</b>" in html and "<best>" not in html


@pytest.mark.parametrize("series", [[], [Series("loss", [], [])]])
def test_no_data_makes_no_chart(series):
    assert line_chart("loss", series) == ""


def test_flat_and_negative_values_are_drawn_at_zero():
    for values in ([0, 0], [-1, -2]):
        ((first, second),) = polylines(line_chart("loss", [Series("loss", [1, 2], values)]))
        assert first[1] == second[1]


def test_long_curves_are_thinned_but_keep_their_ends():
    x = list(range(1, 10 * MOST_POINTS))
    ((*points,),) = polylines(line_chart("loss", [Series("loss", x, [float(v) for v in x])]))
    ((first, last),) = polylines(line_chart("loss", [Series("loss", [x[0], x[-1]], [x[0], x[-1]])]))
    assert len(points) <= MOST_POINTS + 1 and points[0] == first and points[-1] == last


def test_bars_are_as_long_as_their_value_and_mark_hard_classes():
    html = bars([("road", 98.25, False), ("<pole>", 11.5, True)])
    ElementTree.fromstring(html.replace("class=hard", 'class="hard"'))
    assert "width:98.25%" in html and "width:11.50%" in html and html.count('class="tag"') == 1
    assert "&lt;pole&gt;" in html


def test_paired_bars_show_both_values_and_the_signed_difference():
    html = paired_bars([("road", 90, 90.02, False), ("<pole>", 10, 12.5, True), ("car", 50, 49, False)])
    ElementTree.fromstring("<div>" + html.replace("class=hard", 'class="hard"') + "</div>")
    widths = re.findall(r'class="(before|after)" style="width:([0-9.]+)%', html)
    assert [float(width) for _, width in widths] == [90, 90.02, 10, 12.5, 50, 49]
    assert [which for which, _ in widths] == ["before", "after"] * 3
    assert re.findall(r'class="change (\w+)">([^<]+)<', html) == [("same", "0.0"), ("up", "+2.5"), ("down", "−1.0")]
    assert html.count('class="tag"') == 1 and "&lt;pole&gt;" in html


def cells(html):
    rows = re.findall(r"<tr>(.*?)</tr>", html.split("<tbody>")[1])
    return [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in rows]


def test_heat_map_is_normalised_by_row():
    # Of 100 road pixels 75 are right; pole is always taken for road; sky has no pixels but is predicted once.
    html = heat_map(["road", "pole", "sky"], [[75, 24, 1], [8, 0, 0], [0, 0, 0]])
    assert cells(html) == [["75", "24", "1"], ["100", "", ""], ["–", "–", "–"]]
    assert "road taken for pole: 24.0 % (24 pixels)" in html
    assert "--v:0.750" in html


def test_heat_map_leaves_out_classes_that_are_nowhere():
    html = heat_map(["road", "train", "sky"], [[3, 0, 1], [0, 0, 0], [1, 0, 1]])
    assert cells(html) == [["75", "25"], ["50", "50"]] and "train" not in html
