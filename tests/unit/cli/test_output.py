"""Tables on terminals of different widths."""

from collections.abc import Callable

import pytest
from rich.console import Console

from adwarm.cli import output
from adwarm.cli.output import escape_controls, print_error, print_note, print_table
from adwarm.foundation.errors import AdwarmError

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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2Jad", "\\x1b]0;title\\x07\\x1b[2Jad"),
        ("act_\u202e321", "act_\\u202e321"),
        ("a\x9b31mb\x00c\rd", "a\\x9b31mb\\x00c\\rd"),
        ("Größe \u2013 日本 👩\u200d👩", "Größe \u2013 日本 👩\u200d👩"),
        ("one\ttwo\nthree", "one\ttwo\nthree"),
    ],
)
def test_names_cannot_control_the_terminal(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and marks of direction in names of ads and files are shown as escapes; other text stays."""
    assert escape_controls(text) == shown
    print_table("ads", ("name", "clicks"), [(text, 1)])
    print_note(text)
    print_error(Console(stderr=True), AdwarmError(text), as_json=False)
    output = "".join(capsys.readouterr())
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(output)


def test_a_long_text_beside_many_columns_becomes_blocks(print_at: PrintAt) -> None:
    """A message that would take many short lines goes below its row, and goes on below its own begin."""
    columns, row = ("at", "source", "kind", "message"), ("2026-11-26", "meta", "TokenDead", "renew the token " * 20)
    assert print_at(400, "Errors", columns, row)[1].startswith("┏")
    lines = print_at(60, "Errors", columns, row)
    assert lines[1:4] == ["2026-11-26", "  source   meta", "  kind     TokenDead"]
    assert lines[4].startswith("  message  renew the token")
    assert all(line.startswith(" " * 11 + "") and not line[11:12].isspace() for line in lines[5:])
