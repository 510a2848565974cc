"""Templates of HTML pages, and charts as SVG: no script, and no style but the classes of the style sheet around.

Every chart has a title for screen readers; what it shows is also in a table or text beside it. Colors are classes
(`c1` to `c6` for series, `h0` to `h8` for heat), so that they follow the light or dark theme.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

WIDTH: Final = 480
"""Of charts by hour or day: their text stays readable from a phone to a wide tile."""
HEAT_LEVELS: Final = 8
_MARKS: Final = 4
Scale = Callable[[float], float]
"""Turns a place or a value into a coordinate."""
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Series:
    """A named line or set of bars.

    Attributes:
        values: one per place of the axis; None leaves a gap.
        kind: classes of its line: its color, `c1` to `c6`, and `dashed` or `dots`.
    """

    name: str
    values: Sequence[float | None]
    kind: str = "c1"


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a chart: an upright line with a short text at its top.

    Attributes:
        place: of the axis, 0 for the first label.
        text: beside the line.
    """

    place: int
    text: str
    kind: str = "c6"


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve; its dot has a radius, and none is drawn for 0."""

    x: float
    y: float
    text: str = ""
    radius: float = 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that a line joins, unless there is no line."""

    name: str
    points: Sequence[Point]
    kind: str = "c1"
    has_line: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from its first mark to its last; a mark is a value and what is written at it."""

    label: str
    marks: Sequence[tuple[float, str]]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return self.marks[0][0], self.marks[-1][0]


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """How often came true what was stated with about the same chance: the chance, the true share, and the cases."""

    x: float
    y: float
    count: int


def heat_map(values: Sequence[float], title: str, unit: str) -> Markup:
    """Return a map of 7 weekdays x 24 hours.

    Args:
        values: 168 numbers, Monday 00:00 first.
        title: what it shows, for screen readers.
        unit: of the values, for the text of each cell.

    Raises:
        ValueError: there are not 168 values.
    """
    if len(values) != 168:
        raise ValueError(f"a week has 168 hours, got {len(values)} values")
    highest = max(values)
    parts = []
    for hour in range(0, 24, 3):
        parts.append(_fill('<text x="{}" y="12" class="axis">{:02d}</text>', 42 + hour * 18, hour))
    for day, name in enumerate(_DAYS):
        parts.append(_fill('<text x="36" y="{}" class="axis end">{}</text>', 34 + day * 24, name))
    for place, value in enumerate(values):
        day, hour = divmod(place, 24)
        level = math.ceil(value / highest * HEAT_LEVELS) if highest > 0 and value > 0 else 0
        text = f"{_DAYS[day]} {hour:02d}:00: {value:,.3g} {unit}"
        cell = '<rect x="{}" y="{}" width="16" height="22" rx="3" class="h{}"><title>{}</title></rect>'
        parts.append(_fill(cell, 42 + hour * 18, 18 + day * 24, level, text))
    return _svg(WIDTH, 190, title, parts, "heat")


def line_chart(
    series: Sequence[Series], labels: Sequence[str], title: str, *, height: int = 180, marks: Sequence[Mark] = ()
) -> Markup:
    """Return lines over a common axis that starts at 0.

    Args:
        series: lines of equal length.
        labels: of the places of the axis; about eight of them are written.
    """
    return _plot(series, labels, title, height, bars=False, moments=marks)


def bar_chart(series: Sequence[Series], labels: Sequence[str], title: str) -> Markup:
    """Return bars side by side; arguments as for `line_chart`."""
    return _plot(series, labels, title, 180, bars=True)


def share_bar(share: float, title: str, kind: str = "c1") -> Markup:
    """Return a bar that is filled to a share of 0 to 1."""
    width = max(0.0, min(1.0, share)) * 100
    part = '<rect width="100" height="8" rx="4" class="track"/><rect width="{:.1f}" height="8" rx="4" class="fill {}"/>'
    return _svg(100, 8, title, [_fill(part, width, kind)], "share")


def sparkline(values: Sequence[float | None], title: str, kind: str = "c1") -> Markup:
    """Return a small line without axes."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return Markup("")
    low, high = min(numbers), max(numbers)
    step = 118 / max(1, len(values) - 1)
    points = _points(values, lambda place: 1 + place * step, lambda value: 26 - 24 * _share(value, low, high))
    lines = [_fill('<polyline points="{}" class="line {}"/>', text, kind) for text in points]
    return _svg(120, 28, title, lines, "spark")


def calibration_chart(sources: Mapping[str, Sequence[CalibrationPoint]], title: str) -> Markup:
    """Return the shares that came true over the stated chances of each source; on the diagonal both agree.

    The area of a dot follows its cases. The dots of more than one source are joined by lines.
    """
    axis = [(share, f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    most = max((point.count for points in sources.values() for point in points), default=1)
    curves = [Curve("both agree", [Point(0, 0), Point(1, 1)], "c6")]
    for number, (name, points) in enumerate(sources.items()):
        dots = [
            Point(
                point.x,
                point.y,
                f"{name}: stated {point.x:.0%}, came true {point.y:.0%} of {point.count:,}",
                3 + 9 * math.sqrt(point.count / most),
            )
            for point in points
        ]
        curves.append(Curve(name, dots, f"c{number % 5 + 1}", len(sources) > 1))
    x, y = Axis("stated chance", axis), Axis("came true", axis)
    return xy_chart(curves, x, y, title, size=(336, 314), kind="calibration")


def xy_chart(
    curves: Sequence[Curve], x: Axis, y: Axis, title: str, *, size: tuple[int, int] = (760, 380), kind: str = "plot"
) -> Markup:
    """Return curves over two axes; what lies outside the axes is cut off.

    Args:
        curves: in the order in which they are drawn.
    """
    (left, top), (width, height) = (56, 24), (size[0] - 76, size[1] - 68)

    def place_x(value: float) -> float:
        return left + width * _share(value, *x.ends)

    def place_y(value: float) -> float:
        return top + height * (1 - _share(value, *y.ends))

    line = '<line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}" class="grid"/>'
    parts = []
    for value, text in y.marks:
        at = place_y(value)
        parts.append(_fill(line, left, left + width, at, at))
        parts.append(_fill('<text x="{}" y="{:.1f}" class="axis end">{}</text>', left - 6, at + 4, text))
    for value, text in x.marks:
        words = '<text x="{:.1f}" y="{}" class="axis middle">{}</text>'
        parts.append(_fill(words, place_x(value), top + height + 16, text))
    below = '<text x="{}" y="{}" class="axis middle">{}</text>'
    parts.append(_fill(below, left + width / 2, top + height + 34, x.label))
    parts.append(_fill('<text x="{}" y="12" class="axis">{}</text>', left, y.label))
    lines, dots = [], []
    for curve in curves:
        if curve.has_line:
            points = " ".join(f"{place_x(point.x):.1f},{place_y(point.y):.1f}" for point in curve.points)
            lines.append(_fill('<polyline points="{}" class="line {}"/>', points, curve.kind))
        for point in curve.points:
            is_inside = x.ends[0] <= point.x <= x.ends[1] and y.ends[0] <= point.y <= y.ends[1]
            if is_inside and (point.radius or point.text):
                dot = '<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" class="{} {}"><title>{}</title></circle>'
                looks = point.radius or 5, "fill" if point.radius else "hit", curve.kind
                dots.append(_fill(dot, place_x(point.x), place_y(point.y), *looks, point.text))
    inner = left, top, width, height
    cut = '<svg x="{}" y="{}" width="{}" height="{}" viewBox="{} {} {} {}">{}</svg>'
    parts += [_fill(cut, *inner, *inner, Markup("").join(lines)), *dots]
    return _svg(*size, title, parts, kind) + _legend(curves)


def make_axis(label: str, highest: float, unit: str = "") -> Axis:
    """Return an axis from 0 to just above the highest value."""
    mark, marks = _choose_marks(highest)
    return Axis(label, [(mark * number, f"{_write_mark(mark * number)}{unit}") for number in range(marks + 1)])


def _plot(
    series: Sequence[Series],
    labels: Sequence[str],
    title: str,
    height: int,
    *,
    bars: bool,
    moments: Sequence[Mark] = (),
) -> Markup:
    left, bottom, top = 52, 24, 10 + 16 * len(moments)
    highest = max((value for item in series for value in item.values if value is not None), default=0.0)
    mark, marks = _choose_marks(highest)
    inner, count = height - bottom - top, max(1, len(labels))
    step = (WIDTH - left - 8) / count

    def place_x(place: float) -> float:
        return left + (place + 0.5) * step

    def place_y(value: float) -> float:
        return top + inner * (1 - value / (mark * marks))

    parts = []
    for number in range(marks + 1):
        y = place_y(mark * number)
        grid = (
            '<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" class="grid"/>'
            '<text x="{}" y="{:.1f}" class="axis end">{}</text>'
        )
        parts.append(_fill(grid, left, WIDTH - 8, y, y, left - 6, y + 4, _write_mark(mark * number)))
    every = max(1, math.ceil(count / 8))
    for place in range(0, count, every):
        text = '<text x="{:.1f}" y="{}" class="axis middle">{}</text>'
        parts.append(_fill(text, place_x(place), height - 6, labels[place]))
    for number, item in enumerate(series):
        if bars:
            parts += _bars(item, (number, len(series)), (place_x, place_y), step)
        else:
            parts += _lines(item, (place_x, place_y), is_only=len(series) == 1)
    parts += _marks(moments, place_x, height - bottom)
    parts += _hits(series, labels, place_x, (step, top, inner))
    return _svg(WIDTH, height, title, parts, "plot") + _legend(series)


def _marks(moments: Sequence[Mark], place_x: Scale, floor: int) -> list[Markup]:
    """Return upright lines with their texts above the plot, each on a line of its own."""
    parts = []
    for number, mark in enumerate(moments):
        x, y = place_x(mark.place), 12 + 16 * number
        line = '<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}" class="line mark {3}"/>'
        parts.append(_fill(line, x, y - 8, floor, mark.kind))
        is_right = x > WIDTH / 2
        text = '<text x="{:.1f}" y="{}" class="label {}{}">{}</text>'
        parts.append(_fill(text, x - 5 if is_right else x + 5, y + 1, mark.kind, " end" if is_right else "", mark.text))
    return parts


def _lines(item: Series, scale: tuple[Scale, Scale], *, is_only: bool) -> list[Markup]:
    """Return the parts of a line; that of an only series has its area filled, and a lone point is a dot."""
    parts = []
    is_dots = "dots" in item.kind.split()
    for text in _points(item.values, *scale):
        points = text.split()
        if is_dots:
            dot = '<circle cx="{}" cy="{}" r="2.5" class="fill {}"/>'
            parts += [_fill(dot, *point.split(","), item.kind) for point in points]
            continue
        first, last = points[0].partition(",")[0], points[-1].partition(",")[0]
        if len(points) == 1:
            x, _, y = text.partition(",")
            parts.append(_fill('<circle cx="{}" cy="{}" r="3" class="fill {}"/>', x, y, item.kind))
            continue
        if is_only:
            area = '<polygon points="{} {},{base:.1f} {},{base:.1f}" class="area fill {}"/>'
            parts.append(Markup(area).format(text, last, first, item.kind, base=scale[1](0.0)))  # noqa: S704 - constant
        parts.append(_fill('<polyline points="{}" class="line {}"/>', text, item.kind))
    return parts


def _hits(
    series: Sequence[Series], labels: Sequence[str], place_x: Scale, size: tuple[float, float, float]
) -> list[Markup]:
    """Return a strip for each place of the axis with its values: the page shows them to the pointer and to keys."""
    step, top, inner = size
    parts = []
    for place, label in enumerate(labels):
        values = [(item.name, item.values[place]) for item in series if place < len(item.values)]
        text = ", ".join(f"{value:,.4g} {name}" for name, value in values if value is not None)
        if text:
            strip = '<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" class="hit"><title>{}</title></rect>'
            parts.append(_fill(strip, place_x(place) - step / 2, top, step, inner, f"{label}: {text}"))
    return parts


def _bars(item: Series, order: tuple[int, int], scale: tuple[Scale, Scale], step: float) -> list[Markup]:
    number, count = order
    place_x, place_y = scale
    width = step * 0.8 / count
    parts = []
    for place, value in enumerate(item.values):
        if not value:
            continue
        x, y = place_x(place) - step * 0.4 + number * width, place_y(value)
        bar = '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="fill {}"/>'
        parts.append(_fill(bar, x, y, max(1.0, width - 1), max(0.5, place_y(0.0) - y), item.kind))
    return parts


def _points(values: Sequence[float | None], place_x: Scale, place_y: Scale) -> list[str]:
    """Return the points of each unbroken part of a line."""
    lines: list[str] = []
    points: list[str] = []
    for place, value in enumerate([*values, None]):
        if value is not None:
            points.append(f"{place_x(place):.1f},{place_y(value):.1f}")
        elif points:
            lines.append(" ".join(points))
            points = []
    return lines


def _legend(series: Sequence[Series | Curve]) -> Markup:
    if len(series) < 2:
        return Markup("")
    items = [_fill('<li><span class="key {}"></span>{}</li>', item.kind, item.name) for item in series]
    return _fill('<ul class="legend">{}</ul>', Markup("").join(items))


def _svg(width: int, height: int, title: str, parts: Sequence[Markup], kind: str) -> Markup:
    text = '<svg viewBox="0 0 {} {}" class="chart {}" role="img" aria-label="{}">{}</svg>'
    return _fill(text, width, height, kind, escape(title), Markup("").join(parts))


def _fill(template: str, *values: object) -> Markup:
    """Return one of this module's templates with values, which are escaped."""
    return Markup(template).format(*values)  # noqa: S704 - the templates are constants


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high == low else (value - low) / (high - low)


def _choose_marks(highest: float) -> tuple[float, int]:
    """Return the distance of the marks of an axis, which is 1, 2, 2.5 or 5 times a power of ten, and their number."""
    if highest < 1e-300 or not math.isfinite(highest):
        return 1.0, 1
    power = 10.0 ** math.floor(math.log10(highest / _MARKS))
    factors = (1.0, 2.0, 2.5, 5.0, 10.0)
    mark = next(factor * power for factor in factors if highest <= factor * power * _MARKS * (1 + 1e-9))
    return mark, math.ceil(highest / mark - 1e-9)


def _write_mark(value: float) -> str:
    """Return a number of an axis, short: `12,500` as `12.5k`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):,.4g}{unit}"
    return f"{value:,.4g}"


def load_templates(package: str) -> Environment:
    """Return an environment for the folder `templates` of a package, such as `adwarm.replay`."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
