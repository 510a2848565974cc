"""Bounds of calls and pages that every source keeps, and the units of a fetch: the fewest requests, or smaller ones."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from adwarm.foundation.clock import TimeLimit
from adwarm.foundation.errors import BadRequest, Corrupt, TooMuchData
from adwarm.model import Account, QuerySpec, Window
from adwarm.settings import SourceSettings
from adwarm.sources.protocol import Capabilities, CursorTrail, FetchUnit, Increment

PAGE_ROWS = 500
"""Rows of a page. Platforms allow more, and time out on them; a request that does is tried with smaller pages."""
CONNECT_SECONDS = 3.05
"""Timeout of connecting to one address: a little more than the time after which TCP repeats its first packet."""
MAX_RESPONSE_BYTES = 16 * 2**20
"""Larger responses are refused, also once decompressed; a full page of insights is below a tenth of it."""
MAX_ROWS = 500_000
"""Rows of one request; a larger one is split. A year of an account with a thousand ads fits."""
MAX_BYTES = 512 * 2**20
"""Bytes of one request over all its pages; a larger one is split. They are kept compressed while they are read."""
MAX_SPARSE_PAGES = 100
"""Pages of one request that are not full although another follows; honest platforms send few, and end."""


class PageTrail:
    """The pages of one result that were read so far: one place for the bounds that every list of pages keeps.

    A page that another one follows is expected to be full. Those that are not are few where a platform is honest, so
    their number is bounded, and so are the rows and bytes of them all.

    Args:
        subject: named in an error, such as the account.
    """

    def __init__(self, subject: str) -> None:
        self.cursor: str | None = None
        self.count = self.size_bytes = 0
        self._subject = subject
        self._rows, self._filled = 0, 0.0
        self._cursors = CursorTrail()

    def resume(self, cursor: str | None, count: int, rows: int, size_bytes: int) -> None:
        """Continue after `count` pages that were read before and were full."""
        self.cursor, self.count, self.size_bytes = cursor, count, size_bytes
        self._rows, self._filled = rows, float(count)
        self._cursors.follow(cursor)

    def add(self, next_cursor: str | None, rows: int, filled: float, size_bytes: int = 0) -> None:
        """Add a page.

        Args:
            next_cursor: leads to the next page; None after the last.
            filled: how full the page is, from 0 to 1.

        Raises:
            Corrupt: the next cursor repeats an earlier one, or too many pages are not full.
            TooMuchData: there are too many rows or bytes.
        """
        self.count += 1
        self.size_bytes += size_bytes
        self._rows += rows
        self._filled += min(1.0, filled)
        self.cursor = self._cursors.follow(next_cursor)
        if self.cursor is not None:
            self._check_bounds()

    def _check_bounds(self) -> None:
        if self.count - self._filled >= MAX_SPARSE_PAGES:
            raise Corrupt(
                f"{self._subject}: {self.count:,} pages have only {self._rows:,} rows, and another follows; the pages "
                f"that are not full may be {MAX_SPARSE_PAGES} at most",
                code="pages",
            )
        for name, value, limit in (
            ("rows", self._rows, MAX_ROWS),
            ("bytes", self.size_bytes, MAX_BYTES),
        ):
            if value >= limit:
                raise TooMuchData(f"{self._subject}: the result exceeds {limit:,} {name}; request fewer days or fields")


def call_limit(rules: SourceSettings) -> TimeLimit:
    """Return the time of one call with its retries, which begins when the first attempt is admitted."""
    return TimeLimit(rules.call_timeout, "the call", "ADWARM_SOURCE__CALL_TIMEOUT", waits_for_call=True)


LEVELS = ("account", "campaign", "adset", "ad")
_MAX_IDS = 100


def levels_above(level: str) -> frozenset[str]:
    """Return a level and those whose rows are sums of its rows."""
    return frozenset(LEVELS[: LEVELS.index(level) + 1])


def check_query(caps: Capabilities, spec: QuerySpec) -> None:
    """Check that a source has what a query names.

    Raises:
        BadRequest: it does not know the level, or has no breakdowns.
    """
    if not caps.has_breakdowns and (spec.breakdowns or spec.action_breakdowns):
        raise BadRequest("this source has no breakdowns; name a report without them, or an account of the platform")
    if spec.level not in caps.levels:
        levels = ", ".join(sorted(caps.levels))
        raise BadRequest(f"this source has no rows by {spec.level!r}, only by {levels}; ask for one of these")


def plan_units(
    caps: Capabilities, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
) -> list[FetchUnit]:
    """Return the fewest units that cover `windows`, in a fixed order.

    Days are requested in spans: a gap between two windows is requested with them when that saves a request.

    Raises:
        BadRequest: the source does not know the level of `spec`, or has no breakdowns.
    """
    check_query(caps, spec)
    if increment is Increment.DAY:
        return [FetchUnit(account.id, (span,), increment, spec) for span in _spans(windows, caps.max_days_per_request)]
    distinct = sorted(set(windows))
    step = caps.max_windows_per_request
    groups = (tuple(distinct[start : start + step]) for start in range(0, len(distinct), step))
    return [FetchUnit(account.id, group, increment, spec) for group in groups]


def split_by_time(unit: FetchUnit) -> list[FetchUnit]:
    """Return two units that together hold the rows of `unit`, each with half its windows or half its days.

    A single window of totals cannot be halved, because `reach` does not add up over days. Nor can a single day.
    """
    if len(unit.windows) > 1:
        middle = len(unit.windows) // 2
        return [replace(unit, windows=unit.windows[:middle]), replace(unit, windows=unit.windows[middle:])]
    window = unit.windows[0]
    if unit.increment is Increment.RANGE or len(window) == 1:
        return []
    middle_day = window.since + timedelta(days=len(window) // 2)
    halves = Window(window.since, middle_day - timedelta(days=1)), Window(middle_day, window.until)
    return [replace(unit, windows=(half,)) for half in halves]


def _spans(windows: Iterable[Window], max_days: int) -> list[Window]:
    """Cover the days of the windows from the oldest on, with spans as long as a request may be."""
    spans: list[Window] = []
    for window in sorted(windows):
        since = window.since
        while since <= window.until:
            if spans and (window.until - spans[-1].since).days < max_days:
                spans[-1] = Window(spans[-1].since, max(spans[-1].until, window.until))
                break
            if spans and since <= (limit := spans[-1].since + timedelta(days=max_days - 1)):
                spans[-1] = Window(spans[-1].since, max(spans[-1].until, limit))
                since = limit + timedelta(days=1)
                continue
            end = min(window.until, since + timedelta(days=max_days - 1))
            spans.append(Window(since, end))
            since = end + timedelta(days=1)
    return spans


def split_by_ids(unit: FetchUnit) -> list[FetchUnit]:
    """Return two units, each with half the objects of `unit`; empty when it is restricted to fewer than two."""
    level, ids = filtered_objects(unit)
    if len(ids) < 2:
        return []
    middle = len(ids) // 2
    return [restrict_to_objects(unit, level, part) for part in (ids[:middle], ids[middle:])]


def filtered_objects(unit: FetchUnit) -> tuple[str, list[str]]:
    """Return the level and ids of the objects that `unit` is restricted to; an empty level for no restriction."""
    for field, operator, value in unit.filters:
        level, _, rest = field.partition(".")
        if (rest, operator) == ("id", "IN"):
            return level, value.split(",")
    return "", []


def is_single_object(unit: FetchUnit) -> bool:
    """Whether `unit` is restricted to one object of its own level."""
    level, ids = filtered_objects(unit)
    return level == unit.spec.level and len(ids) == 1


def has_one_row(unit: FetchUnit) -> bool:
    """Whether `unit` has at most one row per day or window: it is a single object without breakdowns."""
    return is_single_object(unit) and not unit.spec.breakdowns


def restrict_to_objects(unit: FetchUnit, level: str, ids: Sequence[str]) -> FetchUnit:
    """Return `unit` restricted to some objects of `level`, in place of an earlier restriction."""
    others = tuple(item for item in unit.filters if not (item[0].endswith(".id") and item[1] == "IN"))
    return replace(unit, filters=(*others, (f"{level}.id", "IN", ",".join(ids))))


def exclude_objects(unit: FetchUnit, ids: Iterable[str]) -> FetchUnit:
    """Return `unit` without some objects of its own level."""
    return replace(unit, filters=(*unit.filters, (f"{unit.spec.level}.id", "NOT_IN", ",".join(sorted(ids)))))


def level_below(unit: FetchUnit) -> str | None:
    """Return the level by whose objects `unit` can be split; None when it is restricted to objects of its own level."""
    deepest = unit.spec.level if unit.spec.level in LEVELS else LEVELS[0]
    level, _ = filtered_objects(unit)
    step = LEVELS.index(level or LEVELS[0]) + 1
    return LEVELS[step] if step <= LEVELS.index(deepest) else None


def split_by_objects(unit: FetchUnit, level: str, ids: Sequence[str]) -> list[FetchUnit]:
    """Return units that together cover `ids`: two, or more where a request would name too many objects."""
    parts = max(min(2, len(ids)), -(-len(ids) // _MAX_IDS))
    size = -(-len(ids) // max(1, parts))
    return [restrict_to_objects(unit, level, ids[start : start + size]) for start in range(0, len(ids), size or 1)]


def with_fields(unit: FetchUnit, fields: Sequence[str]) -> FetchUnit:
    """Return `unit` with other fields; the ids that identify a row are always requested."""
    return replace(unit, spec=replace(unit.spec, fields=tuple(fields)))
