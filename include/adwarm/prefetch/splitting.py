"""Splits a request that is too large until its parts fit, and isolates what cannot be read at all.

| step | splits by                       | because                                                        |
|------|---------------------------------|----------------------------------------------------------------|
| 1    | days                            | the parts need no further call                                  |
| 2    | campaigns, then ad sets, then ads | needs the ids, which the source lists                        |
| 3    | fields, of a single object      | the results are merged by row identity                         |

One ad that the platform cannot compute ends up alone: everything else is read, and the ad is reported as missing with
its reason. Later requests of the same fetch exclude it and ask for it separately, so it is isolated only once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from adwarm.foundation.errors import TooMuchData, clear_tracebacks
from adwarm.model import Row, Window
from adwarm.prefetch.gap_filling import MissingData
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
_IDENTITY_SUFFIXES = ("_id", "_name")
_DATE_FIELDS = frozenset({"date_start", "date_stop"})


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The rows of one unit, or of a part of it that is complete for its own windows.

    Attributes:
        rows: the rows.
        windows: the windows that the rows are complete for, except for `missing`.
        api_version: the version that the source answered with.
        requested_at: when the platform started to compute them, if that was before this fetch.
        missing: what could not be read, and why.
    """

    rows: RowBuffer
    windows: tuple[Window, ...] = ()
    api_version: str = ""
    requested_at: datetime | None = None
    missing: tuple[MissingData, ...] = ()


def concatenate(first: FetchResult, others: Iterable[FetchResult]) -> FetchResult:
    """Return the rows of all results as one, for the windows of the first. Its buffer takes over the rows."""
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
    """Return the rows of all results, with rows of the same identity merged into one that has all their fields."""
    rows: dict[tuple[str, str, str], Row] = {}
    for part in parts:
        for row in part.rows.rows():
            rows.setdefault(row_key(row, level), {}).update(row)
    return RowBuffer(level, rows.values())


class Splitter:
    """Fetches units one after another, split where necessary. Deterministic: equal responses give equal requests.

    Args:
        fetch_whole: fetches a unit without splitting it, or raises `TooMuchData`.
        split: returns smaller units, without a call.
        list_objects: returns the ids of the objects of a level that a unit covers; None where the source cannot.
        too_large: gets why a unit was too large, by its hash.
        known_missing: what could not be read the last time; it is requested separately from the beginning.
    """

    def __init__(
        self,
        fetch_whole: Callable[[FetchUnit], FetchResult],
        split: Callable[[FetchUnit], list[FetchUnit]],
        list_objects: Callable[[FetchUnit, str], list[str]] | None,
        too_large: dict[str, str],
        known_missing: Sequence[MissingData] = (),
    ) -> None:
        self._fetch_whole, self._split, self._list_objects, self._too_large = (
            fetch_whole,
            split,
            list_objects,
            too_large,
        )
        self._missing: list[MissingData] = list(known_missing)
        self._request_count = 0

    def iter_results(self, unit: FetchUnit) -> Iterator[FetchResult]:
        """Yield what can be read of `unit` and what is missing, each result as soon as it is complete for its windows.

        Raises:
            TooMuchData: it can neither be fetched nor split, or too much of it cannot be read.
        """
        readable, isolated, gaps = self._exclude_missing(unit)
        result = self._try_fetch(readable)
        if isinstance(result, TooMuchData):
            smaller = self._split(readable) or self._split_by_objects(readable)
            if smaller and smaller[0].windows != readable.windows:
                for part in self._split(unit):
                    yield from self.iter_results(part)
                return
            result = self._fetch_smaller(readable, smaller) if smaller else self._fetch_by_fields(readable, result)
        whole = concatenate(result, (self._fetch_isolated(part) for part in isolated))
        yield replace(whole, missing=tuple(dict.fromkeys((*gaps, *whole.missing))))

    def fetch(self, unit: FetchUnit) -> FetchResult:
        """Return what can be read of `unit` and what is missing, as one result.

        Raises:
            TooMuchData: as for `iter_results`.
        """
        first, *others = self.iter_results(unit)
        return replace(concatenate(first, others), windows=unit.windows)

    def _fetch_smaller(self, unit: FetchUnit, smaller: Sequence[FetchUnit]) -> FetchResult:
        """Return the rows of units that cover the objects of `unit`, as the result for its windows."""
        result = concatenate(
            FetchResult(RowBuffer(unit.spec.level), unit.windows), (self.fetch(part) for part in smaller)
        )
        return replace(result, windows=unit.windows)

    def _split_by_objects(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return units by the objects below; a level with one object is skipped, because it would be the same unit."""
        level = level_below(unit) if self._list_objects else None
        while self._list_objects and level:
            ids = self._list_objects(unit, level)
            if len(ids) != 1:
                return split_by_objects(unit, level, ids)
            unit = restrict_to_objects(unit, level, ids)
            deeper = level_below(unit)
            if deeper is None:
                return [unit]
            level = deeper
        return []

    def _fetch_by_fields(self, unit: FetchUnit, error: TooMuchData) -> FetchResult:
        """Fetch without any metric, then by halves of the metrics; a half that fails is halved down to single ones."""
        identity = [name for name in unit.spec.fields if name.endswith(_IDENTITY_SUFFIXES)]
        metrics = [name for name in unit.spec.fields if name not in identity and name not in _DATE_FIELDS]
        bare = self._try_fetch(with_fields(unit, identity)) if metrics else error
        if isinstance(bare, TooMuchData):
            return self._as_missing(unit, error)
        results, failing = [bare], [metrics]
        gaps: list[MissingData] = []
        while failing:
            suspects = failing.pop()
            if len(suspects) == 1:
                gaps.append(self._record_missing(MissingData("field", suspects[0], unit.windows, str(error))))
                continue
            middle = len(suspects) // 2
            for half in (suspects[:middle], suspects[middle:]):
                result = self._try_fetch(with_fields(unit, [*identity, *half]))
                if isinstance(result, TooMuchData):
                    failing.append(half)
                else:
                    results.append(result)
        rows = merge_fields(results, unit.spec.level)
        return replace(concatenate(bare, results[1:]), rows=rows, missing=tuple(gaps))

    def _try_fetch(self, unit: FetchUnit) -> FetchResult | TooMuchData:
        """Return the result, or the error without its traceback, whose frames would keep the rows in memory."""
        self._request_count += 1
        if self._request_count > MAX_SPLIT_REQUESTS:
            raise _SplitLimitReached(f"{unit.account_id}: still too large after {MAX_SPLIT_REQUESTS} smaller requests")
        try:
            return self._fetch_whole(unit)
        except TooMuchData as error:
            self._too_large.setdefault(unit.hash, str(error))
            return clear_tracebacks(error)

    def _as_missing(self, unit: FetchUnit, error: TooMuchData) -> FetchResult:
        if not is_single_object(unit):
            raise error
        level, (name,) = filtered_objects(unit)
        gap = self._record_missing(MissingData(level, name, unit.windows, str(error)))
        return FetchResult(RowBuffer(unit.spec.level), unit.windows, missing=(gap,))

    def _record_missing(self, gap: MissingData) -> MissingData:
        self._missing.append(gap)
        if len({item.id for item in self._missing}) > MAX_MISSING:
            raise _SplitLimitReached(f"more than {MAX_MISSING} things cannot be read; the last: {gap}")
        return gap

    def _exclude_missing(self, unit: FetchUnit) -> tuple[FetchUnit, list[FetchUnit], list[MissingData]]:
        """Return `unit` without what cannot be read, units that try it separately, and what is certainly missing."""
        fields = {gap.id: gap for gap in self._missing if gap.level == "field" and gap.id in unit.spec.fields}
        certain = [replace(gap, windows=unit.windows) for gap in fields.values()]
        if fields:
            unit = with_fields(unit, [name for name in unit.spec.fields if name not in fields])
        excluded = {item for name, how, ids in unit.filters if how == "NOT_IN" for item in ids.split(",")}
        unreadable = {gap.id for gap in self._missing if gap.level == unit.spec.level} - excluded
        if not unreadable:
            return unit, [], certain
        covered = {gap.id: gap for gap in self._missing if gap.id in unreadable and gap.covers(unit)}
        isolated = [restrict_to_objects(unit, unit.spec.level, [name]) for name in sorted(unreadable - set(covered))]
        return exclude_objects(unit, unreadable), isolated, [*certain, *covered.values()]

    def _fetch_isolated(self, unit: FetchUnit) -> FetchResult:
        """Fetch an object that failed before; if it fails again, all of it is missing."""
        result = self._try_fetch(unit)
        return self._as_missing(unit, result) if isinstance(result, TooMuchData) else result


class _SplitLimitReached(TooMuchData):
    """Splitting further would cost more than the result is worth."""
