"""What a plan reads from the store: accounts, entries and stored days, in few queries."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

from adwarm.fetch_plan import RefetchSchedule, RequestCost, expect_rows, get_request_cost, list_similar
from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, FreshnessRules, QuerySpec, ReportKey, Window, expires_at, resolve_key, resolve_window
from adwarm.model.strategy import USE_PERIOD
from adwarm.sources.factory import find_capabilities
from adwarm.sources.protocol import Capabilities
from adwarm.sources.units import PAGE_ROWS
from adwarm.store import Context, accounts, entries, partitions
from adwarm.store.aggregates import find_log_end
from adwarm.store.partitions import PartitionState

NEVER = datetime.max.replace(tzinfo=UTC)
_MAX_DAYS_AHEAD = 8
_ACCOUNTS_PER_QUERY = 500
_LOOK_BACK = timedelta(days=7)
"""How far back a source's small pages are counted, and its opens are read."""


def useful_until(
    key: ReportKey, account: Account, fetched_at: datetime, rules: FreshnessRules | None = None
) -> datetime:
    """Return when an entry of `key` fetched at `fetched_at` stops answering it; `NEVER` if it never does.

    A relative range changes at the account's midnight: `yesterday` fetched at 23:50 is useful for ten minutes. The
    search ends after a week; no plan reaches further.
    """
    window = resolve_window(key.date_range, account.data_zone, fetched_at)
    stale = expires_at(window, account.data_zone, fetched_at, rules) or NEVER
    return find_range_change(key, account, fetched_at, stale) or stale


def find_range_change(key: ReportKey, account: Account, at: datetime, before: datetime) -> datetime | None:
    """Return the first midnight of the account, after `at` and before `before`, from which `key` covers other days.

    None when there is none within a week.
    """
    today = local_day(at, account.data_zone)
    for days in range(1, _MAX_DAYS_AHEAD):
        midnight = local_midnight(today + timedelta(days=days), account.data_zone)
        if midnight >= before:
            break
        now, then = (resolve_window(key.date_range, account.data_zone, moment) for moment in (at, midnight))
        if now != then:
            return midnight
    return None


class StoreView:
    """What the planner reads from the store: accounts, entries and stored days, in few queries.

    Args:
        at: the decision time; accounts are read as of then.
        known_at: leave out entries and days that were fetched later; None leaves out nothing.
    """

    def __init__(self, context: Context, at: datetime, known_at: datetime | None = None) -> None:
        self._known_at = known_at
        self._context, self._at = context, at
        self._opened: dict[tuple[tuple[str, ...], str], set[ReportKey]] = {}
        self._capabilities: dict[str, Capabilities] = {}
        self._engine = context.engine
        self._settings = context.settings
        self._accounts = accounts.list_as_of(context.engine, at)

    def get_account(self, account_id: str) -> Account:
        """Return the stored account, or one in the default zone."""
        zone = self._settings.default_zone
        return self._accounts.get(account_id) or Account(account_id, zone, zone)

    def get_capabilities(self, account_id: str) -> Capabilities:
        """Return what the source of the account's connection declares."""
        name = self.get_account(account_id).connection
        if name not in self._capabilities:
            self._capabilities[name] = find_capabilities(self._settings, name)
        return self._capabilities[name]

    def list_accounts(self) -> list[Account]:
        """Return every stored account."""
        return list(self._accounts.values())

    def list_closing(self) -> list[Account]:
        """Return the stored accounts whose source closes days."""
        return [account for account in self._accounts.values() if self.get_capabilities(account.id).closes_days]

    def list_opened(self, date_ranges: tuple[str, ...], report: str) -> set[ReportKey]:
        """Return the reports with one of the ranges that somebody has opened within `USE_PERIOD`.

        Raises:
            BadRequest: a stored day of the access log is lost or damaged.
        """
        name = date_ranges, report
        if name not in self._opened and find_log_end(self._engine) is None:
            self._opened[name] = set()
        elif name not in self._opened:
            from adwarm.patterns.open_history import list_opened_keys

            since = self._at - USE_PERIOD
            try:
                self._opened[name] = list_opened_keys(self._context, since, self._at, date_ranges, report)
            except (NotFound, Corrupt) as error:
                raise BadRequest(f"what was opened lately cannot be read: {error}") from error
        return self._opened[name]

    def is_verified(self, account_id: str) -> bool:
        """Whether the account is stored with the zone and currency that the upstream reports."""
        return account_id in self._accounts and self._accounts[account_id].is_verified

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime]:
        """Return until when an entry fetched at each moment would answer its key."""
        rules = self._settings.freshness_rules
        pairs = zip(keys, moments, strict=True)
        return [useful_until(key, self.get_account(key.account_id), at, rules) for key, at in pairs]

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return until when the entry stored for each key at its moment is fresh; None when nothing is stored.

        Where readers fill the upstream's cache, an open after the entry's end has made it fresh again.
        """
        lifetimes = self.get_lifetimes(keys, moments)
        return [item and self._extend(key, item.expires_at) for key, item in zip(keys, lifetimes, strict=True)]

    def _extend(self, key: ReportKey, end: datetime) -> datetime:
        """Return until when a report is fresh that was fresh until `end`, and that readers may have filled since."""
        if self.get_capabilities(key.account_id).readers_fill:
            for moment in self._opens.get(key, ()):
                end = self.get_expiries([key], [moment])[0] if moment >= end else end
        return end

    @cached_property
    def _opens(self) -> dict[ReportKey, list[datetime]]:
        """The opens of people that the log has shown by now, oldest first."""
        from adwarm.forecast.protocol import data_cutoff_at
        from adwarm.patterns.open_history import load_slots

        slots = load_slots(self._context, self._at - _LOOK_BACK, data_cutoff_at(self._at, self._settings))
        opens: dict[ReportKey, list[datetime]] = defaultdict(list)
        for *name, first in slots[["account_id", "date_range", "report", "first_ts"]].itertuples(index=False):
            opens[ReportKey(*map(str, name))].append(first.to_pydatetime())
        return opens

    def get_lifetimes(
        self, keys: Sequence[ReportKey], moments: Sequence[datetime]
    ) -> list[entries.EntryLifetime | None]:
        """Return when the entry stored for each key at its moment was fetched and expires; None when none is stored."""
        resolved = [
            resolve_key(key, self.get_account(key.account_id), self._settings.spec(key.report), at)
            for key, at in zip(keys, moments, strict=True)
        ]
        lifetimes = entries.find_lifetimes(self._engine, resolved)
        stored = [lifetimes.get(key) for key in resolved]
        return [item if item is not None and self._was_known(item.fetched_at) else None for item in stored]

    def get_request_costs(
        self, keys: Sequence[ReportKey], moments: Sequence[datetime], until: Sequence[datetime] | None = None
    ) -> list[RequestCost]:
        """Return which requests a fetch of each key at its moment would take, given the stored days.

        Args:
            until: when each key is still to be fresh; None: when it is fetched.
        """
        costs: dict[int, RequestCost] = {}
        ends = moments if until is None else until
        for report, indexes in _group_by_report(keys).items():
            for group in _split_by_account(keys, indexes):
                fetches = {index: (keys[index], moments[index], ends[index]) for index in group}
                costs.update(self._get_costs_of(report, fetches))
        return [costs[index] for index in range(len(keys))]

    def _get_costs_of(
        self, report: str, requests: dict[int, tuple[ReportKey, datetime, datetime]]
    ) -> Iterator[tuple[int, RequestCost]]:
        spec, rules = self._settings.spec(report), self._settings.freshness_rules
        by_id = {key.account_id: self.get_account(key.account_id) for key, *_ in requests.values()}
        schedules = {name: RefetchSchedule.for_account(account, rules) for name, account in by_id.items()}
        windows = {i: resolve_key(key, by_id[key.account_id], spec, at).window for i, (key, at, _) in requests.items()}
        page_rows = {name: self.get_capabilities(name).max_page_rows for name in by_id}
        earlier = _LOOK_BACK if min(page_rows.values()) < PAGE_ROWS else timedelta()
        hull = Window(min(w.since for w in windows.values()) - earlier, max(w.until for w in windows.values()))
        stored = self._list_states(spec, by_id, hull)
        others = list_similar(spec, self._settings) if spec.breakdowns and len(stored) < len(by_id) else []
        similar = [(other.level, self._list_states(other, by_id, hull)) for other in others]
        for index, (key, at, until) in requests.items():
            name, days = key.account_id, stored.get(key.account_id, {})
            latest = ((level, _last_rows(states.get(name, {}))) for level, states in similar)
            rows = expect_rows(spec, _last_rows(days), latest) if spec.breakdowns else 0
            cost = get_request_cost(windows[index], days, schedules[name], at, rows, until=until)
            yield index, cost if rows else cost._replace(pages=_count_pages(days, page_rows[name]))

    def _list_states(
        self, spec: QuerySpec, account_ids: Iterable[str], window: Window
    ) -> dict[str, dict[date, PartitionState]]:
        states = partitions.list_states_by_account(self._engine, account_ids, spec.hash, window)
        if self._known_at is None:
            return states
        return {
            name: {day: state for day, state in days.items() if self._was_known(state.fetched_at)}
            for name, days in states.items()
        }

    def _was_known(self, fetched_at: datetime) -> bool:
        return self._known_at is None or fetched_at <= self._known_at


def _count_pages(stored: Mapping[date, PartitionState], page_rows: int) -> int:
    """Return the pages of the day stored last, where they are smaller than the platform's; else 1."""
    rows = (_last_rows(stored) or 0) if page_rows < PAGE_ROWS else 0
    return max(1, -(-rows // page_rows))


def _last_rows(stored: Mapping[date, PartitionState]) -> int | None:
    return stored[max(stored)].rows if stored else None


def _group_by_report(keys: Sequence[ReportKey]) -> dict[str, list[int]]:
    """Return the indexes of each report's keys."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key.report].append(index)
    return groups


def _split_by_account(keys: Sequence[ReportKey], indexes: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indexes of a limited number of accounts at a time, so that memory does not grow with the accounts."""
    by_account: dict[str, list[int]] = defaultdict(list)
    for index in indexes:
        by_account[keys[index].account_id].append(index)
    names = list(by_account)
    for start in range(0, len(names), _ACCOUNTS_PER_QUERY):
        yield [index for name in names[start : start + _ACCOUNTS_PER_QUERY] for index in by_account[name]]
