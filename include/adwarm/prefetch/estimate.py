"""What a backfill will cost before it starts: requests, and hours with the platform to itself and beside live warming.

Pages are counted from the rows that the account has had on the days that are stored; without any, from those of all
accounts; without those, from an assumption that the estimate names.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine

from adwarm.model import Account, Priority, Window
from adwarm.settings import Settings
from adwarm.store import partitions, warms

ASSUMED_ROWS = 50.0
ASSUMED_SECONDS = 1.0

AccountSpans = tuple[Account, Sequence[Window]]
"""An account and the spans of days to fetch for it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is expected.

    Attributes:
        accounts: how many accounts lack something.
        days: account-days to fetch.
        spans: questions to ask; each takes a request per page.
        requests: pages, range summaries and look-ups of accounts whose zone is not known yet.
        rows_per_day: rows of an account-day on average.
        rows_from: where that figure comes from: `stored days` or `assumed`.
        seconds_per_request: how long a request has taken lately, waiting included; assumed when none is known.
        hours_alone: with every slot and the whole rate.
        hours_shared: with the share of low priority only, as long as everybody else is busy.
    """

    accounts: int
    days: int
    spans: int
    requests: int
    rows_per_day: float
    rows_from: str
    seconds_per_request: float
    hours_alone: float
    hours_shared: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, rounded."""
        return {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return (
            f"{self.days:,} account-days of {self.accounts:,} accounts in {self.spans:,} spans: "
            f"about {self.requests:,} requests, {self.hours_alone:.2f} h alone, "
            f"{self.hours_shared:.2f} h beside other work ({self.rows_per_day:.0f} rows a day, {self.rows_from})"
        )


def estimate(
    engine: Engine, settings: Settings, account_spans: Iterable[AccountSpans], report: str, summaries: int = 0
) -> Estimate:
    """Return what fetching `wishes` will take.

    Args:
        summaries: range summaries that are asked for besides, one request each.
    """
    asked = [(account, spans) for account, spans in account_spans if spans]
    measured = partitions.get_rows_per_day(engine, settings.spec(report).hash)
    usual = sum(measured.values()) / len(measured) if measured else ASSUMED_ROWS
    pages = sum(
        _pages(len(span), measured.get(account.id, usual), settings.source.page_size)
        for account, spans in asked
        for span in spans
    )
    accounts = {account.id: account for account, _ in asked}
    requests = pages + summaries + sum(not account.is_verified for account in accounts.values())
    seconds = warms.get_seconds_per_request(engine) or ASSUMED_SECONDS
    return Estimate(
        accounts=len(accounts),
        days=sum(len(span) for _, spans in asked for span in spans),
        spans=sum(len(spans) for _, spans in asked),
        requests=requests,
        rows_per_day=usual,
        rows_from="stored days" if measured else "assumed",
        seconds_per_request=seconds,
        hours_alone=_hours(requests, seconds, settings, 1.0),
        hours_shared=_hours(requests, seconds, settings, settings.backpressure.shares[Priority.LOW]),
    )


def _pages(days: int, rows: float, page_rows: int) -> int:
    return max(1, math.ceil(days * rows / page_rows))


def _hours(requests: int, seconds: float, settings: Settings, share: float) -> float:
    """Return the hours that `requests` take with a share of rate and slots, whichever is the tighter."""
    pressure = settings.backpressure
    slots = max(1.0, min(settings.workers, pressure.max_concurrent * share))
    rate = min(pressure.rate_per_second * max(share, 1e-3), slots / seconds)
    return requests / rate / 3600
