"""Output of the commands: tables for humans, one JSON document for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from adwarm.foundation.errors import AdwarmError, Refused

_PIPE_WIDTH = 160
"""Columns of a table that is written to a file or a pipe, where no terminal says how wide it is."""
_NAME_WIDTH = 24
"""A first column with no value longer than this is never wrapped."""


def print_json(document: object) -> None:
    """Print `document` as JSON; timestamps become ISO 8601 text, values of unknown types their `str`."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    sys.stdout.buffer.write(orjson.dumps(document, default=str, option=options) + b"\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "nothing") -> None:
    """Print `rows` under their column names, or `empty` when there are none."""
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    texts = [[format_value(value) for value in row] for row in rows]
    if not texts:
        console.print(f"{title}: {empty}")
        return
    table = Table(title=title, title_justify="left", pad_edge=False)
    names_fit = max(len(text[0]) for text in texts) <= _NAME_WIDTH
    for number, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=names_fit and number == 0)
    for text in texts:
        table.add_row(*text)
    console.print(table)


def print_fields(title: str, fields: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print names and values as a table of two columns, or as one JSON document without the title."""
    if as_json:
        print_json(fields)
    else:
        print_table(title, ("", ""), fields.items())


def print_error(console: Console, error: AdwarmError, *, as_json: bool) -> None:
    """Print an expected error as one line on `console`, or as JSON on standard output."""
    if as_json:
        hint = {"retry_after": error.retry_after} if isinstance(error, Refused) else {}
        print_json({"error": str(error), "kind": type(error).__name__, **hint})
    else:
        _print_line(console, str(error))


def print_unexpected_error(console: Console, line: str, kind: str, traceback: Path | None, *, as_json: bool) -> None:
    """Print an unexpected error as one line on `console`, or as JSON on standard output.

    Args:
        console: standard error.
        line: the message.
        kind: name of the error's class.
        traceback: the file that holds the traceback, if it could be written.
        as_json: whether the command was called with `--json`.
    """
    if as_json:
        print_json({"error": line, "kind": kind, "traceback": None if traceback is None else str(traceback)})
    else:
        _print_line(console, line)


def print_note(text: str) -> None:
    """Print one line for people on standard error."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def _print_line(console: Console, line: str) -> None:
    console.print(f"adwarm: {line}", style="red", markup=False, highlight=False, soft_wrap=True)


def format_value(value: object) -> str:
    """Return `value` as text for a table cell: grouped thousands, three decimals, times in UTC, `-` for None."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_value(item)}" for name, item in value.items()) or "-"
    return str(value)
