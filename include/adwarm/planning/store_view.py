"""What a plan reads from the store: accounts, entries and stored days, in few queries."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.fetch_plan.request_cost import RequestCost, get_request_cost
from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.model import Account, ReportKey, Window, resolve_key
from adwarm.model.strategy import USE_PERIOD
from adwarm.patterns.open_history import list_opened_keys
from adwarm.planning.expiry import useful_until
from adwarm.store import Context, accounts, entries, partitions

_ACCOUNTS_PER_QUERY = 500


class StoreView:
    """What the planner reads from the store: accounts, entries and stored days, in few queries.

    Args:
        context: database, objects and settings.
        at: the decision time; accounts are read as of then.
        known_at: leave out entries and days that were fetched later; None leaves out nothing.
    """

    def __init__(self, context: Context, at: datetime, known_at: datetime | None = None) -> None:
        self._known_at = known_at
        self._context, self._at = context, at
        self._opened: dict[tuple[tuple[str, ...], str], set[ReportKey]] = {}
        self._engine = context.engine
        self._settings = context.settings
        self._accounts = accounts.list_as_of(context.engine, at)

    def get_account(self, account_id: str) -> Account:
        """Return the stored account, or one in the default zone."""
        zone = self._settings.default_zone
        return self._accounts.get(account_id) or Account(account_id, zone, zone)

    def list_accounts(self) -> list[Account]:
        """Return every stored account."""
        return list(self._accounts.values())

    def list_opened(self, date_ranges: tuple[str, ...], report: str) -> set[ReportKey]:
        """Return the reports with one of the ranges that somebody has opened within `USE_PERIOD`.

        Raises:
            BadRequest: a stored day of the access log is lost or damaged.
        """
        name = date_ranges, report
        if name not in self._opened:
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
        """Return until when the entry stored for each key at its moment is fresh; None when nothing is stored."""
        return [lifetime and lifetime.expires_at for lifetime in self.get_lifetimes(keys, moments)]

    def get_lifetimes(
        self, keys: Sequence[ReportKey], moments: Sequence[datetime]
    ) -> list[entries.EntryLifetime | None]:
        """Return when the entry stored for each key at its moment was fetched and expires; None when none is stored."""
        resolved = [
            resolve_key(key, self.get_account(key.account_id), self._settings.spec(key.report), at)
            for key, at in zip(keys, moments, strict=True)
        ]
        lifetimes = entries.find_lifetimes(self._engine, resolved)
        found = [lifetimes.get(key) for key in resolved]
        return [item if item is not None and self._was_known(item.fetched_at) else None for item in found]

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[RequestCost]:
        """Return which requests a fetch of each key at its moment would take, given the stored days."""
        costs: dict[int, RequestCost] = {}
        for report, indexes in _group_by_report(keys).items():
            for group in _split_by_account(keys, indexes):
                costs.update(self._get_costs_of(report, {index: (keys[index], moments[index]) for index in group}))
        return [costs[index] for index in range(len(keys))]

    def _get_costs_of(
        self, report: str, requests: dict[int, tuple[ReportKey, datetime]]
    ) -> Iterator[tuple[int, RequestCost]]:
        spec, rules = self._settings.spec(report), self._settings.freshness_rules
        by_id = {key.account_id: self.get_account(key.account_id) for key, _ in requests.values()}
        schedules = {name: RefetchSchedule.for_account(account, rules) for name, account in by_id.items()}
        windows = {i: resolve_key(key, by_id[key.account_id], spec, at).window for i, (key, at) in requests.items()}
        hull = Window(min(w.since for w in windows.values()), max(w.until for w in windows.values()))
        stored = partitions.list_states_by_account(self._engine, by_id, spec.hash, hull)
        for index, (key, at) in requests.items():
            name = key.account_id
            days = {day: state for day, state in stored.get(name, {}).items() if self._was_known(state.fetched_at)}
            yield index, get_request_cost(windows[index], days, schedules[name], at)

    def _was_known(self, fetched_at: datetime) -> bool:
        return self._known_at is None or fetched_at <= self._known_at


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
