"""Deletes stored reports of one account, after a dry run that says what goes and what it costs to fetch it again.

What is deleted is exactly what was shown: the selection has a digest, and an entry that changed since it was listed
stays. The stored days stay unless they are asked for too; then the leases of the account are held meanwhile, so that no
fetch builds on days that vanish.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from adwarm.actions.audit import ActionServices, Doer, audited, make_digest
from adwarm.actions.warm_now import estimate_calls
from adwarm.foundation.errors import Refused
from adwarm.foundation.wording import format_bytes, format_count
from adwarm.maintenance.eviction import Eviction, EvictionResult, delete_entries, is_current
from adwarm.model import ReportKey, Window, normalize_account_id
from adwarm.planning.store_view import StoreView
from adwarm.store import accounts, entries, leases, partitions
from adwarm.store.database import write_transaction
from adwarm.store.entries import Entry
from adwarm.store.leases import Lease
from adwarm_client.date_ranges import validate_date_range

_LEASE_SECONDS = 60.0
_RETRY_SECONDS = 60.0
_READ_LATELY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PurgeChoice:
    """What somebody chose to delete.

    Attributes:
        date_range: only reports of this date range; None for all.
        with_days: whether the stored days go too: those of the chosen reports, or every day of the account when no
            date range is chosen.
    """

    account_id: str
    date_range: str | None = None
    report: str | None = None
    with_days: bool = False

    @classmethod
    def parse(cls, account: str, date_range: str = "", report: str = "", *, with_days: bool = False) -> "PurgeChoice":
        """Return the choice of external input; empty text chooses everything.

        Raises:
            BadRequest: the account or the date range is not valid.
        """
        chosen = validate_date_range(date_range.strip()) if date_range.strip() else None
        return cls(normalize_account_id(account), chosen, report.strip() or None, with_days)

    def __str__(self) -> str:
        parts = [self.account_id, self.date_range or "every date range", self.report or "every report"]
        return ", ".join([*parts, "with the stored days"] if self.with_days else parts)


@dataclass(frozen=True, slots=True)
class PurgeSelection:
    """What a choice covers now.

    Attributes:
        chosen: the entries, newest first.
        days: stored days that go too, by query and span; a span of None is every day.
        read_lately: entries that were read within a day.
        refetch_calls: upstream calls that fetching the entries again takes whose date range still means their days.
    """

    choice: PurgeChoice
    chosen: tuple[Entry, ...]
    days: tuple[tuple[str, Window | None], ...]
    day_count: int
    read_lately: int
    refetch_calls: int

    @property
    def stored_bytes(self) -> int:
        """Compressed bytes of the entries."""
        return sum(entry.stored_bytes for entry in self.chosen)

    @property
    def digest(self) -> str:
        """The digest of the selection; a new, changed or missing entry changes it, a read does not."""
        rows = [[*entries.key_to_json(entry.key), entry.payload_hash, entry.fetched_at] for entry in self.chosen]
        return make_digest([str(self.choice), self.day_count, sorted(rows, key=lambda row: row[:4])])


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """What was deleted; `days` is the number of stored days."""

    entries: EvictionResult
    days: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**self.entries.to_dict(), "days": self.days}

    def __str__(self) -> str:
        days = f" and {format_count(self.days, 'stored day')}" if self.days else ""
        return f"{self.entries}{days}"


def select_purge(services: ActionServices, choice: PurgeChoice) -> PurgeSelection:
    """Return what a choice covers now. Only reads.

    Raises:
        BadRequest: no report of that name is configured, and none is stored.
    """
    context, now = services.context, services.clock.now()
    listed = entries.list_entries(context.engine, choice.account_id)
    chosen = tuple(item for item in listed if _is_chosen(item, choice))
    if choice.report is not None and not chosen:
        context.settings.spec(choice.report)
    days = tuple(_list_day_spans(services, choice, chosen)) if choice.with_days else ()
    count = sum(partitions.count_days(context.engine, choice.account_id, spec, window) for spec, window in days)
    lately = sum(item.last_read_at is not None and item.last_read_at >= now - _READ_LATELY for item in chosen)
    calls = _estimate_refetch(services, choice, chosen, now)
    return PurgeSelection(
        choice=choice, chosen=chosen, days=days, day_count=count, read_lately=lately, refetch_calls=calls
    )


def purge(
    services: ActionServices, doer: Doer, selection: PurgeSelection, why: str = ""
) -> tuple[PurgeResult, int | None]:
    """Delete what was selected, and return what was deleted and the number of the recorded action.

    Raises:
        Refused: the stored days are to go, and a fetch of the account is running.
    """
    choice = selection.choice
    arguments = {
        "date_range": choice.date_range,
        "report": choice.report,
        "with_days": choice.with_days,
        "selected": len(selection.chosen),
        "why": why,
    }
    with audited(services, doer, "purge", choice.account_id, arguments) as action:
        with _leases_of(services, selection) as held:
            evictions = [Eviction(entry, "it was chosen") for entry in selection.chosen]
            deleted = delete_entries(services.context, evictions, services.clock.now())
            days = _delete_days(services, selection, held)
        result = PurgeResult(deleted, days)
        action.arguments["deleted"] = result.to_dict()
        action.detail = str(result)
    return result, action.id


def purge_evictions(
    services: ActionServices, doer: Doer, evictions: Sequence[Eviction], arguments: Mapping[str, Any]
) -> EvictionResult:
    """Delete entries that were chosen by other conditions than an account, as `adwarm cache purge` does."""
    subject = str(arguments.get("account") or "several accounts")
    with audited(services, doer, "purge", subject, arguments) as action:
        result = delete_entries(services.context, evictions, services.clock.now())
        action.arguments["deleted"] = result.to_dict()
        action.detail = str(result)
    return result


def describe_selection(selection: PurgeSelection) -> str:
    """Return what a selection covers, in a sentence."""
    size = format_bytes(selection.stored_bytes)
    days = f" and {format_count(selection.day_count, 'stored day')}" if selection.days else ""
    return f"{format_count(len(selection.chosen), 'stored report')} of {size}{days}"


def _is_chosen(entry: Entry, choice: PurgeChoice) -> bool:
    return choice.date_range in {None, entry.date_range} and choice.report in {None, entry.report}


def _list_day_spans(
    services: ActionServices, choice: PurgeChoice, chosen: Sequence[Entry]
) -> Iterator[tuple[str, Window | None]]:
    """Yield each query and the span of its days that go; no day is in two spans of a query."""
    settings = services.context.settings
    if choice.date_range is not None:
        yield from _merge([(entry.key.spec_hash, entry.key.window) for entry in chosen])
        return
    names = [name for name in sorted(settings.reports) if choice.report in {None, name}]
    specs = {settings.spec(name).hash for name in names} | {entry.key.spec_hash for entry in chosen}
    yield from ((spec, None) for spec in sorted(specs))


def _merge(spans: Sequence[tuple[str, Window]]) -> Iterator[tuple[str, Window]]:
    """Yield the spans of each query with those that share days as one."""
    last: tuple[str, Window] | None = None
    for spec, window in sorted(spans):
        if last is not None and last[0] == spec and window.since <= last[1].until:
            last = (spec, Window(last[1].since, max(last[1].until, window.until)))
            continue
        if last is not None:
            yield last
        last = (spec, window)
    if last is not None:
        yield last


def _estimate_refetch(services: ActionServices, choice: PurgeChoice, chosen: Sequence[Entry], now: datetime) -> int:
    settings = services.context.settings
    account = accounts.get(services.context.engine, choice.account_id)
    current = [entry for entry in chosen if is_current(entry, account, settings, now)]
    keys = list(dict.fromkeys(ReportKey(choice.account_id, entry.date_range, entry.report) for entry in current))
    if choice.with_days:  # every report of the account shares the fetch of the days, and each range has its summary
        return len({key.report for key in keys}) + sum(len(entry.key.window) > 1 for entry in current)
    return estimate_calls(StoreView(services.context, now), keys, now)


@contextmanager
def _leases_of(services: ActionServices, selection: PurgeSelection) -> Iterator[list[Lease]]:
    """Hold the leases under which days of the account are published; none when no days go."""
    engine, account_id = services.context.engine, selection.choice.account_id
    with ExitStack() as stack:
        held = []
        for spec in dict.fromkeys(spec for spec, _ in selection.days):
            lease = leases.acquire(engine, f"fetch:{account_id}:{spec}", f"{services.owner}/purge", _LEASE_SECONDS)
            if lease is None:
                message = f"{account_id} is being fetched now, so its stored days cannot go; try again in a minute"
                raise Refused(message, retry_after=_RETRY_SECONDS)
            stack.callback(leases.release, engine, lease)
            held.append(lease)
        yield held


def _delete_days(services: ActionServices, selection: PurgeSelection, held: Sequence[Lease]) -> int:
    """Delete the stored days in one transaction, under the leases."""
    if not selection.days:
        return 0
    with write_transaction(services.context.engine) as connection:
        if not all(leases.is_current(connection, lease) for lease in held):
            raise Refused("a fetch took the account over meanwhile; try again in a minute", retry_after=_RETRY_SECONDS)
        return sum(
            partitions.delete_days(connection, selection.choice.account_id, spec, window)
            for spec, window in selection.days
        )
