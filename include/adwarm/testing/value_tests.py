"""Tests of values that an upstream may hold: text, large and negative numbers, and what must be refused."""

import math
from dataclasses import dataclass
from typing import Any, Final

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt
from adwarm.model import Row
from adwarm.sources.protocol import Increment
from adwarm.testing.hooks import CannotHold, SourceHooks, broken, check, is_same
from adwarm.testing.upstream import LARGEST_COUNT, UNICODE_NAME

_REFUSALS = (Corrupt, BadRequest)
REFUSED: Final = object()
"""The source raises Corrupt or BadRequest, and returns no row."""
ABSENT: Final = object()
"""The row comes without the field."""
WITHOUT_ROW: Final = object()
"""The row does not come, and the others may."""


@dataclass(frozen=True)
class UpstreamValue:
    """A value that the upstream holds for a while.

    Attributes:
        name: names the case.
        field: the field of a row; `ad_id` stands for the id of the row's level.
        value: what the upstream holds.
        allowed: what the source may do: return an equal value, or one of `REFUSED`, `ABSENT` and `WITHOUT_ROW`.
    """

    name: str
    field: str
    value: Any
    allowed: tuple[Any, ...]

    def __str__(self) -> str:
        return self.name


VALUES: Final = (
    UpstreamValue("unicode", "ad_name", UNICODE_NAME, (UNICODE_NAME,)),
    UpstreamValue("long-name", "ad_name", "é" * 400, ("é" * 400,)),
    UpstreamValue("name-like-a-number", "ad_name", "1e5", ("1e5",)),
    UpstreamValue("largest-count", "impressions", int(LARGEST_COUNT), (LARGEST_COUNT,)),
    UpstreamValue("large-amount", "spend", 123456789012.34, ("123456789012.34",)),
    UpstreamValue("number-as-text", "impressions", "4321", ("4321",)),
    UpstreamValue("amount-as-text", "spend", "12.50", ("12.50",)),
    UpstreamValue("negative-amount", "spend", -1.5, ("-1.50", REFUSED)),
    UpstreamValue("null", "clicks", None, (ABSENT,)),
    UpstreamValue("nan", "spend", math.nan, (ABSENT, REFUSED)),
    UpstreamValue("infinite", "spend", math.inf, (REFUSED,)),
    UpstreamValue("minus-infinite", "spend", -math.inf, (REFUSED,)),
    UpstreamValue("nan-as-text", "spend", "NaN", (REFUSED,)),
    UpstreamValue("text", "impressions", "many", (REFUSED,)),
    UpstreamValue("too-large", "impressions", "9" * 40, (REFUSED,)),
    UpstreamValue("id-of-18-digits", "ad_id", "987654321098765432", ("987654321098765432",)),
    UpstreamValue("id-is-null", "ad_id", None, (REFUSED,)),
    UpstreamValue("foreign-account", "account_id", "999", (REFUSED, WITHOUT_ROW)),
    UpstreamValue("impossible-day", "date_start", "2026-13-45", (REFUSED, WITHOUT_ROW)),
)


class ValueTests(SourceHooks):
    """Tests of values."""

    def test_values(self, value: UpstreamValue) -> None:
        """A value comes through unchanged, or the whole response is refused: never as another value."""
        data, source = self.data(), self.make_source()
        row = data.rows_of(data.main_account.id)[1]
        name = f"{data.level}_id" if value.field == "ad_id" else value.field
        if name not in row:
            return
        try:
            with self.replace_value(row, name, value.value):
                outcome = self._outcome(source, row, name)
        except CannotHold:
            return
        allowed = value.allowed
        check(
            any(outcome is item or (isinstance(outcome, str) and is_same(outcome, item)) for item in allowed),
            f"{value}: the upstream holds {value.value!r} in {name}, and the source {_describe(outcome)}; it may "
            + " or ".join(_describe(item) for item in allowed),
        )
        rows = self.read(source, data.window)
        check(len(rows) == len(data.rows_of(data.main_account.id)), "the source does not recover from a bad value")

    def _outcome(self, source: Any, row: Row, name: str) -> Any:
        """Return the value of the field as the source returns it, or what it does instead."""
        data = self.data()
        try:
            rows = self.read(source, data.window)
            self.read(source, data.window, Increment.RANGE)
        except _REFUSALS:
            return REFUSED
        except AdwarmError as error:
            broken(f"a bad value of {name} raised {type(error).__name__} ({error}); raise Corrupt or BadRequest")
        day, own_id = row["date_start"], f"{data.level}_id"
        others = {item[own_id] for item in data.rows_of(data.main_account.id) if item["date_start"] == day}
        others -= {row[own_id]}
        own_rows = [item for item in rows if item["date_start"] == day and item[own_id] not in others]
        if not own_rows:
            return WITHOUT_ROW
        result = own_rows[0].get(name)
        return ABSENT if result is None else result if isinstance(result, str) else repr(result)


def _describe(outcome: Any) -> str:
    if outcome is REFUSED:
        return "raises Corrupt or BadRequest"
    if outcome is ABSENT:
        return "leaves the field out"
    return "leaves the row out" if outcome is WITHOUT_ROW else f"returns {str(outcome)[:60]!r}"
