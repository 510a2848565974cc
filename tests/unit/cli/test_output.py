"""Tables on terminals of different widths."""

from collections.abc import Callable

import pytest
from rich.console import Console

from adwarm.cli import output

PrintAt = Callable[..., list[str]]
"""Prints a table on a terminal of some width, and returns its lines."""
COLUMNS = ("name", "status", "schedule", "calls", "next run", "note")
ROW = ("default_dashboards", "enabled", "0 */6 * * * UTC", 1200, "due now", None)


@pytest.fixture
def print_at(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> PrintAt:
    """Return a function that prints a table on a terminal of some width, and returns its lines."""

    def print_at(width: int, title: str, columns: tuple[str, ...], *rows: tuple[object, ...]) -> list[str]:
        console = Console(width=width, force_terminal=True, color_system=None, markup=False, emoji=False)
        monkeypatch.setattr(output, "make_console", lambda: console)
        output.print_table(title, columns, rows)
        return capsys.readouterr().out.splitlines()

    return print_at


def test_a_title_is_one_line(print_at: PrintAt) -> None:
    """The title of a narrow table is not wrapped, a table without column names has no head, and cells have margins."""
    lines = print_at(80, "Now, and in the last 30 days", ("", ""), ("runs", 3))

    assert lines == ["Now, and in the last 30 days", "┌──────┬───┐", "│ runs │ 3 │", "└──────┴───┘"]


def test_a_table_that_does_not_fit_becomes_blocks(print_at: PrintAt) -> None:
    """On a wide terminal it is a table; on a narrow one each row is a block of the values that it has."""
    assert len(print_at(90, "Strategies", COLUMNS, ROW)) == 6
    assert print_at(50, "Strategies", COLUMNS, ROW, ROW)[:6] == [
        "Strategies",
        "default_dashboards",
        "  status    enabled",
        "  schedule  0 */6 * * * UTC",
        "  calls     1,200",
        "  next run  due now",
    ]
