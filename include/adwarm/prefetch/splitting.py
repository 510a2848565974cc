"""Splits a request that is too large until its parts fit, and goes around what cannot be read at all.

The order is days, then campaigns, ad sets and ads, then fields, whose answers are merged on what names a row. So one ad
that the platform cannot compute ends up alone: everything else arrives, and the ad becomes a gap with its reason. Once
it is known, later questions of the same fetch leave it out and ask for it apart, so that it is isolated once.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from adwarm.foundation.errors import TooMuchData, clear_tracebacks
from adwarm.model import Row, Window
from adwarm.prefetch.row_buffer import RowBuffer
from adwarm.sources.protocol import FetchUnit
from adwarm.sources.units import (
    exclude_objects,
    filtered_objects,
    is_single_object,
    level_below,
    restrict_to_objects,
    split_by_objects,
    with_fields,
)
from adwarm.store.partition_rows import row_key

MAX_SPLIT_REQUESTS = 600
MAX_MISSING = 20
_NAMED = re.compile(r"(?:^|; )(campaign|adset|ad) (\d+): ")
_NAMING = ("_id", "_name")
_DATES = frozenset({"date_start", "date_stop"})


@dataclass(frozen=True, slots=True)
class MissingData:
    """Something that could not be read: an object by its level and id, or a field by its name (level `field`)."""

    level: str
    id: str
    windows: tuple[Window, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.level} {self.id}: {self.reason}"

    @classmethod
    def parse_objects(cls, text: str) -> "list[MissingData]":
        """Return the objects that an earlier text of gaps names, without windows: they have to be tried again."""
        return [cls(found[1], found[2], (), "") for found in _NAMED.finditer(text)]

    def covers(self, unit: FetchUnit) -> bool:
        """Whether every window of `unit` is inside one of the gap's."""
        return bool(self.windows) and all(
            any(_contains(own, window) for own in self.windows) for window in unit.windows
        )


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The whole answer of one unit, or of a part of it that is whole for its own windows.

    Attributes:
        windows: the windows that the rows are complete for, but for the gaps.
        asked_at: when the platform began to make them, if that was before this fetch.
        gaps: what is missing from them, and why.
    """

    rows: RowBuffer
    windows: tuple[Window, ...] = ()
    api_version: str = ""
    requested_at: datetime | None = None
    missing: tuple[MissingData, ...] = ()


def concatenate(first: FetchResult, others: Iterable[FetchResult]) -> FetchResult:
    """Return the rows of all parts together, as the answer for the windows of the first."""
    parts = [first]
    for part in others:
        first.rows.extend(part.rows)
        parts.append(part)
    return FetchResult(
        first.rows,
        first.windows,
        next((part.api_version for part in parts if part.api_version), ""),
        min((part.requested_at for part in parts if part.requested_at), default=None),
        tuple(dict.fromkeys(gap for part in parts for gap in part.missing)),
    )


def merge_fields(parts: Sequence[FetchResult], level: str) -> RowBuffer:
    """Return rows that name the same thing as one row, with the fields of all parts."""
    rows: dict[tuple[str, str, str], Row] = {}
    for part in parts:
        for row in part.rows.rows():
            rows.setdefault(row_key(row, level), {}).update(row)
    return RowBuffer(level, rows.values())


class Splitter:
    """Answers one unit after another, in parts where it has to. Equal answers give equal requests.

    Args:
        ask: answers a unit as a whole, or raises `TooMuchData`.
        split: returns smaller units that need no further knowledge.
        listed: returns the ids of the objects of a level that a unit is about; absent where the source cannot.
        known: what could not be read the last time; it is asked for apart from the beginning.
    """

    def __init__(
        self,
        fetch_whole: Callable[[FetchUnit], FetchResult],
        split: Callable[[FetchUnit], list[FetchUnit]],
        list_objects: Callable[[FetchUnit, str], list[str]] | None,
        known_missing: Sequence[MissingData] = (),
    ) -> None:
        self._ask, self._split, self._listed = fetch_whole, split, list_objects
        self._missing: list[MissingData] = list(known_missing)
        self._request_count = 0

    def iter_results(self, unit: FetchUnit) -> Iterator[FetchResult]:
        """Yield the rows of `unit` that can be read, and the gaps: each part as soon as it is whole for its windows.

        Raises:
            TooMuchData: it can neither be answered nor split, or too much of it cannot be read.
        """
        asked, apart, gaps = self._exclude_missing(unit)
        found = self._try_fetch(asked)
        if isinstance(found, TooMuchData):
            smaller = self._split(asked) or self._narrowed(asked)
            if smaller and smaller[0].windows != asked.windows:
                for part in self._split(unit):
                    yield from self.iter_results(part)
                return
            found = self._fetch_smaller(asked, smaller) if smaller else self._fetch_by_fields(asked, found)
        whole = concatenate(found, (self._fetch_isolated(part) for part in apart))
        yield replace(whole, missing=tuple(dict.fromkeys((*gaps, *whole.missing))))

    def fetch(self, unit: FetchUnit) -> FetchResult:
        """Return every row of `unit` that can be read, and the gaps, as one answer.

        Raises:
            TooMuchData: as for `parts`.
        """
        first, *others = self.iter_results(unit)
        return replace(concatenate(first, others), windows=unit.windows)

    def _fetch_smaller(self, unit: FetchUnit, smaller: Sequence[FetchUnit]) -> FetchResult:
        """Return the rows of units about the objects of `unit`, as the answer for its windows."""
        found = concatenate(
            FetchResult(RowBuffer(unit.spec.level), unit.windows), (self.fetch(part) for part in smaller)
        )
        return replace(found, windows=unit.windows)

    def _whole(self, unit: FetchUnit) -> FetchResult:
        self._request_count += 1
        if self._request_count > MAX_SPLIT_REQUESTS:
            raise _SplitLimitReached(f"{unit.account_id}: still too large after {MAX_SPLIT_REQUESTS} smaller questions")
        return self._ask(unit)

    def _narrowed(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return units about the objects below; one object alone is passed over, because it is the whole again."""
        level = level_below(unit) if self._listed else None
        while self._listed and level:
            ids = self._listed(unit, level)
            if len(ids) != 1:
                return split_by_objects(unit, level, ids)
            unit = restrict_to_objects(unit, level, ids)
            deeper = level_below(unit)
            if deeper is None:
                return [unit]
            level = deeper
        return []

    def _fetch_by_fields(self, unit: FetchUnit, error: TooMuchData) -> FetchResult:
        """Ask without any figure, then for halves of the figures, and of what fails, until single ones are left."""
        naming = [name for name in unit.spec.fields if name.endswith(_NAMING)]
        figures = [name for name in unit.spec.fields if name not in naming and name not in _DATES]
        bare = self._try_fetch(with_fields(unit, naming)) if figures else error
        if isinstance(bare, TooMuchData):
            return self._as_missing(unit, error)
        found, failing = [bare], [figures]
        gaps: list[MissingData] = []
        while failing:
            suspects = failing.pop()
            if len(suspects) == 1:
                gaps.append(self._record_missing(MissingData("field", suspects[0], unit.windows, str(error))))
                continue
            middle = len(suspects) // 2
            for half in (suspects[:middle], suspects[middle:]):
                answer = self._try_fetch(with_fields(unit, [*naming, *half]))
                if isinstance(answer, TooMuchData):
                    failing.append(half)
                else:
                    found.append(answer)
        rows = merge_fields(found, unit.spec.level)
        return replace(concatenate(bare, found[1:]), rows=rows, missing=tuple(gaps))

    def _try_fetch(self, unit: FetchUnit) -> FetchResult | TooMuchData:
        """Return the answer, or why there is none, without the frames behind it: they hold what was read."""
        try:
            return self._whole(unit)
        except _SplitLimitReached:
            raise
        except TooMuchData as error:
            return clear_tracebacks(error)

    def _as_missing(self, unit: FetchUnit, error: TooMuchData) -> FetchResult:
        if not is_single_object(unit):
            raise error
        level, (name,) = filtered_objects(unit)
        gap = self._record_missing(MissingData(level, name, unit.windows, str(error)))
        return FetchResult(RowBuffer(unit.spec.level), unit.windows, missing=(gap,))

    def _record_missing(self, gap: MissingData) -> MissingData:
        self._missing.append(gap)
        if len({found.id for found in self._missing}) > MAX_MISSING:
            raise _SplitLimitReached(f"more than {MAX_MISSING} things cannot be read; the last: {gap}")
        return gap

    def _exclude_missing(self, unit: FetchUnit) -> tuple[FetchUnit, list[FetchUnit], list[MissingData]]:
        """Return `unit` without what is known to be unreadable, what to ask for apart, and the gaps that stand."""
        fields = {gap.id: gap for gap in self._missing if gap.level == "field" and gap.id in unit.spec.fields}
        standing = [replace(gap, windows=unit.windows) for gap in fields.values()]
        if fields:
            unit = with_fields(unit, [name for name in unit.spec.fields if name not in fields])
        left_out = {item for name, how, ids in unit.filters if how == "NOT_IN" for item in ids.split(",")}
        known = {gap.id for gap in self._missing if gap.level == unit.spec.level} - left_out
        if not known:
            return unit, [], standing
        covered = {gap.id: gap for gap in self._missing if gap.id in known and gap.covers(unit)}
        apart = [restrict_to_objects(unit, unit.spec.level, [name]) for name in sorted(known - set(covered))]
        return exclude_objects(unit, known), apart, [*standing, *covered.values()]

    def _fetch_isolated(self, unit: FetchUnit) -> FetchResult:
        """Ask for an object that failed elsewhere; what fails again is a gap as a whole."""
        found = self._try_fetch(unit)
        return self._as_missing(unit, found) if isinstance(found, TooMuchData) else found


def _contains(outer: Window, inner: Window) -> bool:
    return outer.since <= inner.since and inner.until <= outer.until


class _SplitLimitReached(TooMuchData):
    """Dividing further would cost more than the answer is worth."""
