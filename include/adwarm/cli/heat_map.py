"""The heat map of a week in a terminal: a row per weekday, a cell per hour. Reads as well without color as with it."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.text import Text

_BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_DIGITS = " 123456789"
_QUIET_STYLE, _BUSY_STYLE, _PEAK_STYLE = "dim", "yellow", "bold red"


def draw_heat_map(
    console: Console, rate: Sequence[float], busy: Collection[int], peak: Collection[int], quiet: Collection[int]
) -> Text:
    """Return the map of 168 rates, with a legend.

    A terminal that cannot show bars gets digits. Peak hours have an asterisk and quiet hours a dot, so color is not
    needed.
    """
    from adwarm.patterns.hour_of_week import SHORT_DAYS
    from adwarm.patterns.pattern_page import heat_levels

    symbols, dot = (_BARS, "\u00b7") if console.encoding.lower().startswith("utf") else (_DIGITS, ".")
    levels = heat_levels(rate, len(symbols) - 1)
    width = 2 if symbols is _BARS else 1
    text = Text("    " + "".join(f" {hour:02d}" for hour in range(24)) + "\n", no_wrap=True)
    for day, name in enumerate(SHORT_DAYS):
        text.append(f"{name} ")
        for hour in range(day * 24, day * 24 + 24):
            if hour in quiet:
                text.append(f" {dot * width:>2}", _QUIET_STYLE)
            else:
                mark, style = ("*", _PEAK_STYLE) if hour in peak else (" ", _BUSY_STYLE if hour in busy else "")
                text.append(f"{mark + symbols[levels[hour]] * width:>3}", style)
        text.append("\n")
    marks = f"{symbols[1]} to {symbols[-1]}: first opens per hour, up to {max(rate, default=0.0):,.3g}"
    text.append(f"    {marks}; * peak hour; {dot} quiet hour", "dim")
    return text
