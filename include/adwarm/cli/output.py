"""What the commands print: tables for people, one JSON document for programs."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from adwarm.errors import AdwarmError, Refused

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def print_json(document: Any) -> None:
    """Print `document` as JSON; moments become ISO text, everything unknown its `str`."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    sys.stdout.buffer.write(orjson.dumps(document, default=str, option=options) + b"\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "nothing") -> None:
    """Print rows under their columns, or `empty` when there are none."""
    console = Console()
    table = Table(title=title, title_justify="left", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    found = False
    for row in rows:
        found = True
        table.add_row(*(text_of(value) for value in row))
    if found:
        console.print(table)
    else:
        console.print(f"{title}: {empty}")


def print_facts(title: str, facts: dict[str, Any]) -> None:
    """Print names with their values."""
    print_table(title, ("", ""), facts.items())


def print_error(console: Console, error: AdwarmError, *, as_json: bool) -> None:
    """Print an error as one line, or as JSON on standard output."""
    if as_json:
        hint = {"retry_after": error.retry_after} if isinstance(error, Refused) else {}
        print_json({"error": str(error), "kind": type(error).__name__, **hint})
    else:
        console.print(f"adwarm: {error}", style="red", markup=False, highlight=False, soft_wrap=True)


def text_of(value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {text_of(item)}" for name, item in value.items()) or "-"
    return str(value)
