"""CSV text (RFC 4180) that a spreadsheet opens without running anything in it.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line end for a formula, and names of ads come
from others. Such a text gets an apostrophe in front, as the OWASP page on CSV injection advises. Numbers stay numbers,
also negative ones.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, Final

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def format_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows under a header line; lines end with CR LF, None is an empty cell, times are ISO 8601."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\r\n")
    writer.writerow([_format_cell(name) for name in columns])
    writer.writerows([_format_cell(value) for value in row] for row in rows)
    return sink.getvalue()


def _format_cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = str(value).replace("\0", "")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
