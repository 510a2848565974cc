"""Charts: right in size and scale, readable without a picture, and safe with hostile names."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.charts import (
    Axis,
    CalibrationPoint,
    Curve,
    Mark,
    Point,
    Series,
    bar_chart,
    calibration_chart,
    heat_map,
    line_chart,
    make_axis,
    share_bar,
    sparkline,
    xy_chart,
)

HOSTILE = "\"><script>alert('1')</script>"
VALUES = st.lists(st.none() | st.floats(0, 1e15), min_size=1, max_size=40)


def heights(chart: str) -> list[float]:
    """Return the y of each point of the lines and dots of a chart."""
    points = [
        pair.partition(",")[2] for text in re.findall(r'polyline points="([^"]*)"', chart) for pair in text.split()
    ]
    return [float(y) for y in [*points, *re.findall(r'cy="([^"]*)"', chart)]]


@given(VALUES)
def test_every_value_is_inside_the_picture(values: list[float | None]) -> None:
    """Lines and bars stay between the axis and the top, whatever their values, and a gap is no point."""
    labels = [str(number) for number in range(len(values))]
    chart = str(line_chart([Series("opens", values)], labels, "Opens"))
    found = heights(chart)
    assert len(found) == sum(value is not None for value in values)
    assert all(9.9 <= y <= 156.1 for y in found)
    bars = str(bar_chart([Series("opens", values)], labels, "Opens"))
    assert bars.count('class="fill c1"') == sum(bool(value) for value in values)
    assert bars.count("<title>") == sum(value is not None for value in values)


@given(st.floats(1e-9, 1e12))
def test_the_axis_ends_just_above_the_highest_value(value: float) -> None:
    """The highest value uses at least 60 % of the height, and the axis has two to six marks."""
    chart = str(line_chart([Series("opens", [value, value])], ["a", "b"], "Opens"))
    assert all(math.isclose(y, heights(chart)[0]) for y in heights(chart))
    assert (156 - heights(chart)[0]) / 146 >= 0.6 - 1e-9
    assert 2 <= chart.count('class="grid"') <= 6


def test_values_are_text_too() -> None:
    """A chart has a title for screen readers, and each place says its values when a mouse is over it."""
    chart = str(line_chart([Series("opens", [1, 2500]), Series("calls", [None, 3])], ["Mon", "Tue"], "Opens and calls"))
    assert 'role="img" aria-label="Opens and calls"' in chart
    assert "<title>Mon: 1 opens</title>" in chart
    assert "<title>Tue: 2,500 opens, 3 calls</title>" in chart
    assert '<span class="key c1"></span>opens' in chart


def test_moments_are_marked_above_the_plot() -> None:
    """Each mark is a line at its place with its text on a line of its own, which stays inside the picture."""
    labels = [str(number) for number in range(10)]
    marks = [Mark(1, "early", "c5"), Mark(9, "late", "c1")]
    chart = str(line_chart([Series("rate", [1.0] * 10, "c6 dots")], labels, "Rate", marks=marks))
    places = {text: (float(x), int(y), kind) for x, y, kind, text in re.findall(
        r'<text x="([^"]*)" y="(\d+)" class="label ([^"]*)">([^<]*)', chart)}  # fmt: skip
    assert places["early"][0] < places["late"][0]
    assert (places["early"][1], places["late"][1]) == (13, 29)
    assert (places["early"][2], places["late"][2]) == ("c5", "c1 end")
    assert chart.count('r="2.5"') == 10
    assert min(heights(chart)) > 29


def test_a_curve_lies_between_its_axes() -> None:
    """The ends of an axis are its marks; a line beyond them is cut off, and so is the dot of a point there."""
    axis = make_axis("calls", 9, "x")
    curve = Curve("plan", [Point(0, 0, "start", 3), Point(10, 10, "end", 3), Point(20, 20, "outside", 3)])
    chart = str(xy_chart([curve], axis, axis, "Calls", size=(500, 400)))
    left, top, width, height = map(
        float, re.findall(r'<svg x="(.+?)" y="(.+?)" width="(.+?)" height="(.+?)" ', chart)[0]
    )
    dots = [tuple(map(float, pair)) for pair in re.findall(r'cx="(.+?)" cy="(.+?)"', chart)]
    assert axis.ends == (0, 10)
    assert dots == [(left, top + height), (left + width, top)]
    assert "<title>end</title>" in chart
    assert "outside" not in chart
    assert ">10x</text>" in chart


def test_dots_of_a_calibration_grow_with_their_cases() -> None:
    """The largest dot is that with the most cases; several sources are joined by lines, a single one is not."""
    few, many = CalibrationPoint(0.2, 0.3, 10), CalibrationPoint(0.8, 0.7, 1000)
    one = str(calibration_chart({"forecast": [few, many]}, "Calibration"))
    assert [float(radius) for radius in re.findall(r' r="(.+?)"', one)] == [3.9, 12.0]
    assert one.count("<polyline") == 1
    assert "<title>forecast: stated 80%, came true 70% of 1,000</title>" in one
    assert str(calibration_chart({"a": [few], "b": [many]}, "Calibration")).count("<polyline") == 3


def test_hostile_names_stay_text() -> None:
    """Titles, labels and names are escaped in every chart."""
    series = [Series(HOSTILE, [1, 2]), Series(HOSTILE, [2, 1])]
    charts = [
        line_chart(series, [HOSTILE] * 2, HOSTILE, marks=[Mark(0, HOSTILE)]),
        bar_chart(series, [HOSTILE] * 2, HOSTILE),
    ]
    charts += [heat_map([1.0] * 168, HOSTILE, HOSTILE), share_bar(0.5, HOSTILE), sparkline([1, 2], HOSTILE)]
    charts += [calibration_chart({HOSTILE: [CalibrationPoint(0.5, 0.5, 1)]}, HOSTILE)]
    axis = Axis(HOSTILE, [(0, HOSTILE), (1, HOSTILE)])
    charts += [xy_chart([Curve(HOSTILE, [Point(0, 1, HOSTILE)])] * 2, axis, axis, HOSTILE)]
    for chart in charts:
        assert "<script" not in chart
        assert 'label="">' not in chart


def test_a_heat_map_has_a_cell_for_each_hour_of_a_week() -> None:
    """The highest value has the darkest cell, nothing has the lightest one, and any other length is refused."""
    chart = str(heat_map([0.0, 8.0, *[0.1] * 166], "Opens", "opens"))
    assert (chart.count('class="h0"'), chart.count('class="h8"'), chart.count('class="h1"')) == (1, 1, 166)
    assert "<title>Mon 01:00: 8 opens</title>" in chart
    with pytest.raises(ValueError, match="168"):
        heat_map([1.0] * 24, "Opens", "opens")


@given(st.floats(-5, 5))
def test_a_share_fills_its_part_of_the_bar(share: float) -> None:
    """The filled part is between nothing and everything."""
    (width,) = re.findall(r'width="([\d.]+)" height="8" rx="4" class="fill', str(share_bar(share, "Share")))
    assert float(width) == pytest.approx(100 * min(1, max(0, share)), abs=0.06)


def test_a_sparkline_of_nothing_is_empty() -> None:
    """Without values there is no picture."""
    assert sparkline([None, None], "Opens") == ""
