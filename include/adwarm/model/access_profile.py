"""When the reports of an account are opened: one value per hour of the reader's week, and what is significant in it."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

ALL_ACCOUNTS = "all"
"""The account id of a profile over all accounts."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class PopularRange(NamedTuple):
    """How often a date range is opened.

    Attributes:
        share: fraction of the account's first opens.
    """

    date_range: str
    opens: int
    share: float


@dataclass(frozen=True, slots=True)
class AccessProfile:
    """When the reports of an account are opened.

    Hours of the week run from 0, Monday 00:00 on the reader's clock, to 167. Counts are of first opens.

    Attributes:
        account_id: the account, or `all`.
        first_opens: first opens in the profile.
        keys: report keys that were opened.
        since: first observed moment, the start of the local day of the first open.
        until: end of the observed period.
        weeks: observed weeks.
        time_zones: first opens by reader zone, the zone with the most first.
        hour_of_week: first opens in each hour of the week.
        observed: how often each hour of the week was observed.
        rate: first opens per observed hour, for each hour of the week.
        active_weeks: in how many weeks each hour of the week had a first open.
        weekday: first opens per observed day, Monday first.
        busy_hours: hours of the week with a rate significantly above the mean of the week.
        peak_hours: the up to three busiest of each weekday's busy hours.
        quiet_hours: hours of the week that are very likely opened at less than half the mean rate.
        popular_ranges: the most popular date ranges, the most popular first.
        evidence: what is missing for a statement on busy or quiet hours; empty when there are some.
    """

    account_id: str
    first_opens: int
    keys: int
    since: datetime
    until: datetime
    weeks: float
    time_zones: dict[str, int]
    hour_of_week: tuple[int, ...]
    observed: tuple[float, ...]
    rate: tuple[float, ...]
    active_weeks: tuple[int, ...]
    weekday: tuple[float, ...]
    busy_hours: tuple[int, ...]
    peak_hours: tuple[int, ...]
    quiet_hours: tuple[int, ...]
    popular_ranges: tuple[PopularRange, ...]
    evidence: str
