"""Strategies: which reports to keep warm regardless of the forecast, when, and how fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from adwarm.foundation.cron import check_cron
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone
from adwarm_client.keys import Priority, ReportKey, normalize_account_id

_SYNONYMS = {"medium": "normal"}
_LIMITS = {
    "batch_size": (1, 1_000),
    "delay_seconds": (0, 3_600),
    "max_parallel_batches": (1, 32),
    "max_calls_per_hour": (1, 1_000_000),
    "open_hours": (0, 168),
}
_MAX_NAME = 80
USE_PERIOD = timedelta(days=30)
"""A strategy whose warms nobody used in this time is unused."""
_ANY_ACCOUNT = "act_1"


@dataclass(frozen=True, slots=True)
class Strategy:
    """Date ranges of some accounts that are kept warm on a schedule, and how fast that may go.

    Attributes:
        name: shown to users; the key of the stored row.
        date_ranges: presets or `YYYY-MM-DD..YYYY-MM-DD`.
        report: name of the report.
        enabled: False keeps the row but plans nothing.
        priority: critical, high, normal (or medium) or low.
        accounts: account ids; None means every account in the store.
        excluded_accounts: account ids to leave out.
        batch_size: keys fetched before the next pause.
        delay_seconds: pause between batches.
        max_parallel_batches: batches that run at the same time.
        max_calls_per_hour: upstream calls that the strategy may make in an hour.
        cron: when it is due: five cron fields, or an alias such as `@daily`.
        time_zone: IANA zone in which `cron` is read.
        open_hours: hours after a due time in which it may still fetch reports that expire then, or that its budget
            cut; fewer when its due times are closer to each other.
        retire_unused: whether it is disabled once nobody has used its warms for 30 days.
        opened_only: keep only those reports warm that somebody has opened in the last 30 days.

    Raises:
        BadRequest: a value is not valid; the message names the strategy and says what to write.
    """

    name: str
    date_ranges: tuple[str, ...]
    report: str = "default"
    enabled: bool = True
    priority: str = "low"
    accounts: tuple[str, ...] | None = None
    excluded_accounts: tuple[str, ...] = ()
    batch_size: int = 5
    delay_seconds: float = 5.0
    max_parallel_batches: int = 2
    max_calls_per_hour: int = 100
    cron: str = "0 */6 * * *"
    time_zone: str = "UTC"
    open_hours: int = 6
    retire_unused: bool = False
    opened_only: bool = False

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= _MAX_NAME or self.name != self.name.strip() or not self.name.isprintable():
            raise BadRequest(
                f"strategy name {self.name[:90]!r} is not valid; write 1 to {_MAX_NAME} printable characters"
            )
        try:
            self._check()
        except BadRequest as error:
            raise BadRequest(f"strategy {self.name!r}: {error}") from None

    def _check(self) -> None:
        if not self.date_ranges:
            raise BadRequest("it names no date range; give at least one, such as yesterday")
        for text in self.date_ranges:
            ReportKey.parse(_ANY_ACCOUNT, text, self.report)
        excluded = {normalize_account_id(text) for text in self.excluded_accounts}
        if self.accounts is not None and not {normalize_account_id(text) for text in self.accounts} - excluded:
            raise BadRequest("it names no account that it does not also exclude")
        for name, (lowest, highest) in _LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or not lowest <= value <= highest:
                raise BadRequest(f"{name} must be at least {lowest} and at most {highest:,}")
        _parse_priority(self.priority)
        check_cron(self.cron)
        zone(self.time_zone)

    @property
    def urgency(self) -> Priority:
        """The priority of the strategy's fetches."""
        return _parse_priority(self.priority)


@dataclass(frozen=True, slots=True)
class StrategyState:
    """What is recorded about a strategy apart from its definition, so that a change of the definition keeps it.

    Attributes:
        planned_slot: the latest due time that was planned; None before the first one.
        recheck_at: when it is to be planned again before its next due time; None when it is not.
        recheck_run: the run that planned it again last since the due time; None when none did.
        problem: why the latest planning failed; None when it did not.
        enabled_at: when it was created or enabled last; None when it is older than this record.
        checked_at: when its use was checked last.
        retired_at: when it was disabled because nobody used its warms; None once it is enabled again.
        retired_why: the figures that led to it.
        removed_at: when it was removed; a removed default is not created again.
    """

    planned_slot: datetime | None = None
    planned_run: str | None = None
    recheck_at: datetime | None = None
    recheck_run: str | None = None
    problem: str | None = None
    enabled_at: datetime | None = None
    checked_at: datetime | None = None
    retired_at: datetime | None = None
    retired_why: str | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredStrategy:
    """A row of the strategy table.

    Attributes:
        strategy: its definition; None when the row, which a user may have edited by hand, is not valid.
        problem: why the row is not valid, or why its latest planning failed; None when all is well.
        values: the fields of the row as they are stored, valid or not.
    """

    name: str
    enabled: bool
    strategy: Strategy | None
    problem: str | None
    state: StrategyState
    values: Mapping[str, Any]


def _parse_priority(text: str) -> Priority:
    try:
        return Priority.parse(_SYNONYMS.get(text.strip().lower(), text))
    except ValueError as error:
        raise BadRequest(str(error)) from None
