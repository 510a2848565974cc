"""Answers the planner's question which requests a key would take, by the fetch planner itself and the stored days."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple, Protocol

from sqlalchemy import Engine

from adwarm.fetch_plan.planner import plan_fetch
from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.model import Account, ReportKey, Window, resolve_key, resolve_window
from adwarm.settings import Settings
from adwarm.store import partitions
from adwarm.store.partitions import PartitionState

ACCOUNTS_AT_ONCE = 500
_States = Mapping[str, Mapping[date, PartitionState]]


class Need(NamedTuple):
    """The requests a key takes by itself; keys of one account and report share both.

    Attributes:
        days: one request for the days that are not there or not fresh.
        summary: one request for the range summary.
    """

    days: bool
    summary: bool


class FetchNeeds(Protocol):
    """Says what fetching takes."""

    def __call__(
        self, keys: Sequence[ReportKey], accounts: Sequence[Account], moments: Sequence[datetime]
    ) -> list[Need]:
        """Return what each key of each account would take at each moment."""
        ...


def nothing_is_there(keys: Sequence[ReportKey], accounts: Sequence[Account], moments: Sequence[datetime]) -> list[Need]:
    """Return what keys take when no day is stored: their days, and a summary where there is more than one day."""
    return [
        Need(True, len(resolve_window(key.date_range, account.data_zone, at)) > 1)
        for key, account, at in zip(keys, accounts, moments, strict=True)
    ]


@dataclass(frozen=True)
class StoredDaysPricer:
    """What fetching takes, given the days that are stored; see `FetchNeeds`."""

    engine: Engine
    settings: Settings

    def __call__(
        self, keys: Sequence[ReportKey], accounts: Sequence[Account], moments: Sequence[datetime]
    ) -> list[Need]:
        """Return what each key of each account would take at each moment."""
        found: dict[int, Need] = {}
        for report, places in _grouped(keys):
            for some in _by_account(keys, places):
                found.update(self._price_accounts(report, some, keys, accounts, moments))
        return [found[place] for place in range(len(keys))]

    def _price_accounts(
        self,
        report: str,
        places: Sequence[int],
        keys: Sequence[ReportKey],
        accounts: Sequence[Account],
        moments: Sequence[datetime],
    ) -> Iterator[tuple[int, Need]]:
        spec = self.settings.spec(report)
        windows = [resolve_key(keys[place], accounts[place], spec, moments[place]).window for place in places]
        span = Window(min(window.since for window in windows), max(window.until for window in windows))
        have: _States = partitions.list_states_by_account(
            self.engine, {keys[place].account_id for place in places}, spec.hash, span
        )
        for place, window in zip(places, windows, strict=True):
            yield place, self._price_key(window, have.get(keys[place].account_id, {}), accounts[place], moments[place])

    def _price_key(self, window: Window, have: Mapping[date, PartitionState], account: Account, at: datetime) -> Need:
        if not have:
            return Need(True, len(window) > 1)
        plan = plan_fetch([window], have, RefetchSchedule.for_account(account, self.settings.freshness_rules), at)
        return Need(bool(plan.spans), bool(plan.summary_windows))


def _grouped(keys: Sequence[ReportKey]) -> list[tuple[str, list[int]]]:
    """Return the places of each report's keys."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        found[key.report].append(place)
    return list(found.items())


def _by_account(keys: Sequence[ReportKey], places: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of some accounts at a time, so that memory does not grow with their number."""
    of_account: dict[str, list[int]] = defaultdict(list)
    for place in places:
        of_account[keys[place].account_id].append(place)
    names = list(of_account)
    for start in range(0, len(names), ACCOUNTS_AT_ONCE):
        yield [place for name in names[start : start + ACCOUNTS_AT_ONCE] for place in of_account[name]]
