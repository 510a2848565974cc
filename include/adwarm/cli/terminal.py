"""What commands share: arguments and options, the parsers of their values, and how they print.

Output of the commands: tables for humans, one JSON document for programs.

`--json` means the same for every command. Standard output is exactly one JSON document, also when the command fails;
notes and progress go to standard error. Names are lower case with underscores, timestamps are ISO 8601 with an offset,
days `YYYY-MM-DD`, durations numbers whose name says the unit. An error is `{"error": MESSAGE, "kind": CLASS}`, with
`retry_after` in seconds where waiting helps. Exit codes are those of the same command without `--json`.
"""

import getpass
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adwarm.foundation.clock import Clock, FrozenClock, SystemClock, utc
from adwarm.foundation.errors import AdwarmError, BadRequest, Refused
from adwarm.foundation.redaction import redact
from adwarm.foundation.wording import INVISIBLE

if TYPE_CHECKING:
    from adwarm.actions.audit import Doer

T = TypeVar("T")

AccountArgument = Annotated[str, typer.Argument(help="Account id, such as act_1234.")]
DateRangeArgument = Annotated[str, typer.Argument(help="A preset such as last_7d, or YYYY-MM-DD..YYYY-MM-DD.")]
AtOption = Annotated[str | None, typer.Option("--at", help="Act as of this time (ISO 8601); default: now.")]
ReportOption = Annotated[str, typer.Option("--report", help="Name of a report in the settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_PIPE_WIDTH = 160
"""Columns of a table that is written to a file or a pipe, where no terminal says how wide it is."""
_NAME_WIDTH = 24
"""A first column with no value longer than this is never wrapped."""
_WORD_WIDTH = 12
"""A table may break words longer than this."""
_MAX_LINES = 6
"""Lines that a value may take in a table before each row becomes a block."""
_FRAME_WIDTH = 3
"""Columns of the terminal that the border and the space around a value take."""
_NONE = "-"
"""Text of a value that is None."""


def get_doer() -> "Doer":
    """Return the user of the operating system who runs the command, as actions name them."""
    from adwarm.actions.audit import Doer

    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number without a name
        name = f"user {os.getuid()}"
    return Doer(name, "cli")


def show_version(is_requested: bool) -> None:
    """Print the version of the running code and end the command line, when `is_requested`."""
    from adwarm import __version__

    if is_requested:
        typer.echo(f"adwarm {__version__}")
        raise typer.Exit


def clock_at(text: str | None) -> Clock:
    """Return a clock frozen at `text`, or the system clock when `text` is empty.

    Raises:
        BadRequest: `text` is not an ISO 8601 timestamp.
    """
    return FrozenClock(parse_timestamp(text, "--at")) if text else SystemClock()


def parse_timestamp(text: str, name: str) -> datetime:
    """Return the ISO 8601 timestamp or day in `text` as UTC; `name` is the option to name in the error.

    Raises:
        BadRequest: `text` is not a timestamp.
    """
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError:
        raise BadRequest(f"{name} {text!r} is not a timestamp; write one such as 2026-11-25T09:00:00+00:00") from None


def parse_day(text: str) -> date:
    """Return the day in `text`, `YYYY-MM-DD`.

    Raises:
        BadRequest: `text` is not a day.
    """
    return parse_option(date.fromisoformat, text, "is not a day; write one such as 2026-11-25")


def split_commas(texts: Iterable[str] | None) -> list[str]:
    """Return the values of an option that may be repeated, and whose text may hold several separated by commas."""
    return [value for text in texts or () for part in text.split(",") if (value := part.strip())]


def parse_option(parse: Callable[[str], T], text: str, hint: str | None = None) -> T:
    """Return `parse(text)`.

    Args:
        parse: raises ValueError for text that it does not accept.
        hint: the rest of the error message after the value; by default the message of the ValueError is used.

    Raises:
        BadRequest: `parse` raised ValueError.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise BadRequest(f"{text[:60]!r} {hint}" if hint else str(error)) from None


def print_json(document: object) -> None:
    """Print `document` as JSON; a timestamp without a zone is UTC, values of unknown types become their `str`."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC
    sys.stdout.buffer.write(orjson.dumps(document, default=_to_json, option=options) + b"\n")


def _to_json(value: object) -> object:
    """Return a value of another type as one that JSON has; timestamps of pandas are a subclass of datetime."""
    return datetime.fromisoformat(value.isoformat()) if isinstance(value, datetime) else str(value)


def make_console() -> Console:
    """Return the console on standard output; a file or a pipe, which has no width, gets a wide one."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(width=width, markup=False, emoji=False)  # values may hold brackets, such as a line of a log


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "nothing") -> None:
    """Print `rows` under their column names and a title of one line, or `empty` when there are none.

    On a terminal that is too narrow for the columns, each row becomes a block with a line for each of its values.
    """
    console = make_console()
    texts = [[format_value(value) for value in row] for row in rows]
    if not texts:
        console.print(f"{title}: {empty}")
        return
    console.print(Text(title, style="table.title"), soft_wrap=True)  # a table would wrap it at its own width
    names_fit = max(len(text[0]) for text in texts) <= _NAME_WIDTH
    is_narrow = _get_readable_width(columns, texts, names_fit=names_fit) > console.width
    if console.is_terminal and (is_narrow or _is_squeezed(columns, texts, console.width)):
        console.print(Text("\n".join(_describe_rows(columns, texts, console.width))))
        return
    table = Table(show_header=any(columns))
    for number, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=names_fit and number == 0)
    for text in texts:
        table.add_row(*map(Text, text))  # an account may be named "[draft]", which is not markup
    console.print(table)


def _get_readable_width(columns: Sequence[str], texts: Sequence[Sequence[str]], *, names_fit: bool) -> int:
    """Return the width below which a table breaks words of common length; the first column may keep its full width."""
    width = len(columns) * _FRAME_WIDTH + 1
    for number, cells in enumerate(zip(columns, *texts, strict=True)):
        if names_fit and number == 0:
            width += max(map(len, cells))
        else:
            width += min(max(len(word) for cell in cells for word in cell.split() or [""]), _WORD_WIDTH)
    return width


def _is_squeezed(columns: Sequence[str], texts: Sequence[Sequence[str]], width: int) -> bool:
    """Return whether the column with the longest text would take too many lines beside the others."""
    widths = sorted(max(map(len, cells)) for cells in zip(columns, *texts, strict=True))
    others = sum(min(size, _NAME_WIDTH) for size in widths[:-1]) + len(columns) * _FRAME_WIDTH + 1
    return widths[-1] > _MAX_LINES * max(width - others, 1)


def _describe_rows(columns: Sequence[str], texts: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the lines of each row: its first value, then the other values that it has, each with its column name."""
    # A long value goes on below its own begin.
    indent = max(map(len, columns[1:]), default=0)
    wrapper = textwrap.TextWrapper(
        max(width, _WORD_WIDTH + indent + 4),
        subsequent_indent=" " * (indent + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )
    for text in texts:
        yield text[0]
        for name, value in zip(columns[1:], text[1:], strict=True):
            if value != _NONE:
                yield from wrapper.wrap(f"  {name:{indent}}  {value}")


def print_lines(lines: Iterable[tuple[int, str]]) -> None:
    """Print lines of text; a terminal wraps each at its width, with the rest indented by the number beside it.

    To a file or a pipe each is written whole, so that a search finds it.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for indent, text in lines:
        line = escape_controls(text)
        parts = [line] if width is None else textwrap.wrap(line, max(width, 40), subsequent_indent=" " * indent)
        print("\n".join(parts))


def print_fields(title: str, fields: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print names and values as a table of two columns, or as one JSON document without the title."""
    if as_json:
        print_json(fields)
    else:
        print_table(title, ("", ""), fields.items())


def write_to_stderr(level: int, line: str) -> None:
    """Write a line of progress on standard error, whatever its level."""
    del level
    typer.echo(escape_controls(line), err=True)


def print_error(console: Console, error: AdwarmError, *, as_json: bool) -> None:
    """Print an expected error as one line on `console`, or as JSON on standard output."""
    if as_json:
        hint = {"retry_after": error.retry_after} if isinstance(error, Refused) else {}
        print_json({"error": str(error), "kind": type(error).__name__, **hint})
    else:
        _print_line(console, str(error))


def print_usage_error(error: Exception, *, as_json: bool) -> int:
    """Print an error in the command line as typer does, or as JSON on standard output, and return the exit code."""
    if as_json:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        print_json({"error": redact(message), "kind": "UsageError"})
    elif hasattr(error, "show"):
        if isinstance(message := getattr(error, "message", None), str):
            error.message = escape_controls(redact(message))  # type: ignore[attr-defined]  # it repeats the words of the command line
        error.show()
    return int(getattr(error, "exit_code", 2))


def print_unexpected_error(console: Console, line: str, kind: str, traceback: Path | None, *, as_json: bool) -> None:
    """Print an unexpected error as one line on `console`, or as JSON on standard output.

    Args:
        console: standard error.
        kind: name of the error's class.
        traceback: the file that holds the traceback, if it could be written.
    """
    if as_json:
        print_json({"error": line, "kind": kind, "traceback": None if traceback is None else str(traceback)})
    else:
        _print_line(console, line)


def print_note(text: str) -> None:
    """Print one line for people on standard error."""
    Console(stderr=True).print(escape_controls(text), markup=False, highlight=False, soft_wrap=True)


def _print_line(console: Console, line: str) -> None:
    console.print(f"adwarm: {escape_controls(line)}", style="red", markup=False, highlight=False, soft_wrap=True)


def format_value(value: object) -> str:
    """Return `value` as text for a table cell: grouped thousands, three decimals, times in UTC, `-` for None."""
    if value is None:
        return _NONE
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_value(item)}" for name, item in value.items()) or "-"
    return escape_controls(str(value))


def escape_controls(text: str) -> str:
    """Return `text` with the characters escaped that would control a terminal or change the order of what it shows.

    Names of ads and files come from others. Line ends and tabs stay.
    """
    return INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
