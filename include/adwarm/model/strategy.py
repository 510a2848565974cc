"""Strategies: which reports to keep warm regardless of the forecast, when, and how fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

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

    Raises:
        BadRequest: a value is not valid; the message names the strategy and says what to write.
    """

    name: Annotated[str, 80, "Shown to users; the key of the stored row."]
    date_ranges: Annotated[tuple[str, ...], "Presets or `YYYY-MM-DD..YYYY-MM-DD`."]
    report: Annotated[str, "Name of the report."] = "default"
    enabled: Annotated[bool, "False keeps the row but plans nothing."] = True
    priority: Annotated[str, 16, "Class of its calls: critical, high, normal (or medium) or low."] = "low"
    accounts: Annotated[tuple[str, ...] | None, "Account ids; None for every account in the store."] = None
    excluded_accounts: Annotated[tuple[str, ...], "Account ids to leave out."] = ()
    batch_size: Annotated[int, "Keys fetched between two pauses."] = 5
    delay_seconds: Annotated[float, "Length of a pause in seconds."] = 5.0
    max_parallel_batches: Annotated[int, "Batches that run at the same time, at most."] = 2
    max_calls_per_hour: Annotated[int, "Upstream calls it may make in an hour."] = 100
    cron: Annotated[str, 120, "When it is due: five cron fields, or such as `@daily`."] = "0 */6 * * *"
    time_zone: Annotated[str, 64, "IANA zone in which `cron` is read."] = "UTC"
    open_hours: Annotated[
        int,
        "Hours after a due time in which it may still fetch what expires then, or what its budget cut; fewer when its "
        "due times are closer to each other.",
    ] = 6
    retire_unused: Annotated[bool, "Whether it is disabled once its warms are unused for 30 days."] = False
    opened_only: Annotated[bool, "Whether it warms only reports that somebody opened in the last 30 days."] = False

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
    """What is recorded about a strategy; a change of its definition keeps it."""

    planned_slot: Annotated[datetime | None, "Latest due time that was planned; None before the first."] = None
    planned_run: Annotated[str | None, 250, "Airflow run that planned it."] = None
    recheck_at: Annotated[datetime | None, "When it is to be planned again before its next due time."] = None
    recheck_run: Annotated[str | None, 250, "Airflow run that planned it again last since the due time."] = None
    problem: Annotated[str | None, "Why its latest planning failed; None when it did not."] = None
    enabled_at: Annotated[datetime | None, "When it was created or enabled last."] = None
    checked_at: Annotated[datetime | None, "When its use was checked last."] = None
    retired_at: Annotated[datetime | None, "When it was disabled, unused; None once it is enabled again."] = None
    retired_why: Annotated[str | None, "Figures that led to it."] = None
    removed_at: Annotated[datetime | None, "When it was removed; a removed default is not created again."] = None


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
