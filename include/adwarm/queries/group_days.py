"""Stored days of reports with breakdowns whose groups do not add up to the same days without, and those not compared.

A figure that differs says which account and report to look at; the days themselves say what they lack now.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from adwarm.prefetch.gap_filling import name_short_days
from adwarm.prefetch.group_sums import list_plain
from adwarm.settings import Settings
from adwarm.store import partitions
from adwarm.store.reconciliations import DAYS, list_newest

_SINCE: Final = timedelta(days=35)
"""How far back days were read: those that are opened are read again within a week."""


@dataclass(frozen=True, slots=True)
class ShortGroups:
    """An account and report whose groups do not add up.

    Attributes:
        lack: on which days, and what the first of them lacks, in the words of an answer that holds them.
    """

    account_id: str
    report: str
    lack: str


def list_short_groups(engine: Engine, settings: Settings, now: datetime, limit: int) -> tuple[list[ShortGroups], int]:
    """Return up to `limit` accounts and reports whose groups do not add up, and how many there are."""
    figures = [item for item in list_newest(engine, DAYS, now - _SINCE) if item.differs]
    named = [(item.account_id, item.metric.partition(" (")[2].removesuffix(")")) for item in figures]
    short = []
    for account_id, report in [pair for pair in named if pair[1] in settings.reports][:limit]:
        states = partitions.list_short(engine, account_id, settings.spec(report).hash)
        if states:
            lack = name_short_days(states[0].missing or "", [state.day for state in states])
            short.append(ShortGroups(account_id, report, lack))
    return short, len(named)


def count_not_compared(engine: Engine, settings: Settings) -> dict[str, int]:
    """Return by report with breakdowns how many of its stored days are not stored without, where there are any."""
    plain = {name: list_plain(settings.spec(name), settings) for name in settings.reports}
    counts = {
        name: partitions.count_days_without(engine, settings.spec(name).hash, [spec.hash for spec in specs.values()])
        for name, specs in plain.items()
        if specs
    }
    return {name: count for name, count in counts.items() if count}
