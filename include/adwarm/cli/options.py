"""Options that several commands share, and what they mean."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, TypeVar

import typer

from adwarm.foundation.clock import Clock, FrozenClock, SystemClock, utc
from adwarm.foundation.errors import BadRequest

T = TypeVar("T")

AtOption = Annotated[str | None, typer.Option("--at", help="Act as of this moment (ISO 8601); now by default.")]
ReportOption = Annotated[str, typer.Option("--report", help="A report of the settings.")]
PriorityOption = Annotated[str, typer.Option("--priority", help="critical, high, normal or low.")]


def clock_at(text: str | None) -> Clock:
    """Return a clock that stands at `text`, or the machine's when it is empty.

    Raises:
        BadRequest: it is not a moment.
    """
    if not text:
        return SystemClock()
    try:
        return FrozenClock(utc(datetime.fromisoformat(text)))
    except ValueError:
        raise BadRequest(f"--at {text!r} is not a moment; write one such as 2026-11-25T09:00:00+00:00") from None


def parse_option(parse: Callable[[str], T], text: str, hint: str | None = None) -> T:
    """Return what `parse` makes of `text`; `otherwise` says what to write instead of what it refuses.

    Raises:
        BadRequest: `parse` refused it.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise BadRequest(f"{text[:60]!r} {hint}" if hint else str(error)) from None
