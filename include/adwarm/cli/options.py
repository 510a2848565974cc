"""Arguments and options that several commands share, and the parsers of their values."""

import getpass
import os
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from adwarm.foundation.clock import Clock, FrozenClock, SystemClock, utc
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from adwarm.actions.audit import Doer

T = TypeVar("T")

AccountArgument = Annotated[str, typer.Argument(help="Account id, such as act_1234.")]
DateRangeArgument = Annotated[str, typer.Argument(help="A preset such as last_7d, or YYYY-MM-DD..YYYY-MM-DD.")]
AtOption = Annotated[str | None, typer.Option("--at", help="Act as of this time (ISO 8601); default: now.")]
ReportOption = Annotated[str, typer.Option("--report", help="Name of a report in the settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def get_doer() -> "Doer":
    """Return the user of the operating system who runs the command, as actions name them."""
    from adwarm.actions.audit import Doer

    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number without a name
        name = f"user {os.getuid()}"
    return Doer(name, "cli")


def show_version(wanted: bool) -> None:
    """Print the version of the running code and end the command line, when `wanted`."""
    from adwarm import __version__

    if wanted:
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
        text: the value from the command line.
        hint: the rest of the error message after the value; by default the message of the ValueError is used.

    Raises:
        BadRequest: `parse` raised ValueError.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise BadRequest(f"{text[:60]!r} {hint}" if hint else str(error)) from None
