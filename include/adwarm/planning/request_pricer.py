"""The question the planner asks of the fetch planner: which requests would a key take? Answered above this floor."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from adwarm.model import Account, ReportKey, resolve_window


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
