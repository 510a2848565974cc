"""The heat map reads in every terminal: with and without color, with and without Unicode."""

import io

import pytest
from rich.console import Console

from adwarm.cli.heat_map import draw_heat_map

RATE = [0.0] * 168
RATE[9], RATE[10], RATE[33] = 8.0, 4.0, 0.5


def _draw(encoding: str, *, color: bool) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, force_terminal=color, color_system="standard" if color else None, width=80)
    console.print(draw_heat_map(console, RATE, {9, 10}, {9}, set(range(48, 168))), soft_wrap=True)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("encoding", "full", "half", "quiet"), [("utf-8", "*██", " ▄▄", "··"), ("ascii", " *9", "  5", " .")]
)
def test_marks_replace_color(encoding: str, full: str, half: str, quiet: str) -> None:
    """Each hour is three characters under its number: a bar or digit for the rate, an asterisk for a peak, or dots."""
    lines = _draw(encoding, color=False).splitlines()
    assert "\x1b" not in "".join(lines)
    assert [line[:3] for line in lines[1:8]] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert lines[0][4 + 9 * 3 : 4 + 10 * 3] == " 09"
    assert lines[1][4 + 9 * 3 : 4 + 11 * 3] == full + half
    assert lines[3][4:].split() == [quiet.strip()] * 24
    assert "up to 8; * peak hour" in lines[8]
    assert max(map(len, lines)) <= 80


def test_color_only_adds_to_the_text() -> None:
    """The text is the same when escape codes are taken out."""
    import re

    colored = _draw("utf-8", color=True)
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == _draw("utf-8", color=False)
