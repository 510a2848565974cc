"""Profiles when reports are opened: hours of the reader's week, busy, peak and quiet hours, weekdays, popular ranges.

Counts are of first opens and rates are per observed hour, so neither reloads nor a log that ends in the middle of a
week bias them. All accounts are profiled at once. `significance` decides which hours are busy or quiet.

Which hours are busy or quiet is decided for many accounts at once, in arrays with a row per account and a column per
hour of the week. Opens come in sessions, so counts vary more from week to week than independent opens would: they are
divided by that dispersion before any test. docs/how-to/read-patterns.md explains the tests, and what they say of logs.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from adwarm.foundation.arrow_arrays import Bools, Floats
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import NotFound
from adwarm.foundation.local_time import WEEK_HOURS, local_day, local_midnight, zone
from adwarm.model import ALL_ACCOUNTS, normalize_account_id
from adwarm.patterns.open_counts import OpenCounts, hours_of_week

MIN_WEEKS = 3
"""A busy hour was opened in at least this many weeks; with fewer observed weeks no hour is busy or quiet."""
BUSY_RATIO, QUIET_RATIO = 1.5, 0.5
"""Rates of busy and quiet hours, as multiples of the week's mean rate: at least, and less than."""

_SIGNIFICANCE = 0.05 / WEEK_HOURS  # Bonferroni: one false busy hour in 20 profiles, over all hours of the week
_QUIET_PROBABILITY = 0.95
_MEAN = 12
_RATES = np.concatenate([[0.001], np.geomspace(0.02, WEEK_HOURS, 26)])
_RATES[_MEAN] = 1.0
"""Rates that an hour may have, as multiples of the week's mean rate."""
_EVEN_HOURS, _EVEN_TIMES, _EVEN_DAYS = 4.0, 2.0, 1.5
"""Weight of the assumption that rates are even: as many hours, times of day or weekdays at the mean rate are added."""
_STEPS = 60
_ACCOUNTS_AT_ONCE = 256
PEAKS_PER_DAY = 3
_FEW_OPENS = 40
_SESSIONS = 1.5
"""Dispersion from which opens are said to come in sessions."""


def estimate_dispersion(opens: Floats, squares: Floats, observed: Floats) -> Floats:
    """Return by how much counts vary more from week to week than independent opens would, at least 1, per account.

    Args:
        opens: opens in each hour of the week.
        squares: sum over the weeks of the squared opens of that week.
        observed: how often each hour of the week was observed.
    """
    used = (opens >= 2) & (observed > 1)  # a single open does not tell how opens vary
    with np.errstate(divide="ignore", invalid="ignore"):
        chi_square = np.where(used, squares * observed / opens - opens, 0.0).sum(axis=1)
    freedom = np.where(used, observed - 1, 0.0).sum(axis=1)
    ratio = np.divide(chi_square, freedom, out=np.ones(len(opens)), where=freedom > 0)
    dispersion: Floats = np.maximum(ratio, 1.0)
    return dispersion


def find_busy_hours(opens: Floats, observed: Floats, active_weeks: Floats, dispersion: Floats) -> Bools:
    """Return which hours have a rate significantly above the mean rate of the account's week.

    Args:
        opens: opens in each hour of the week.
    """
    effective, expected = _effective(opens, observed, dispersion)
    from scipy.special import gammainc

    # gammainc is the upper tail of the Poisson distribution: the chance of at least a count, whole or not.
    chance = gammainc(np.maximum(effective, 1e-9), expected)
    busy: Bools = (effective >= BUSY_RATIO * expected) & (chance < _SIGNIFICANCE) & (active_weeks >= MIN_WEEKS)
    return busy


def find_quiet_hours(opens: Floats, observed: Floats, dispersion: Floats) -> Bools:
    """Return which hours are very likely opened at less than half the mean rate of the account's week.

    An hour is judged by its own opens, by those of the same time on all weekdays, and by those of its whole weekday;
    in each case its own opens have to be fewer than half the mean.
    """
    quiet = np.zeros(opens.shape, np.bool_)
    for start in range(0, len(opens), _ACCOUNTS_AT_ONCE):
        rows = slice(start, start + _ACCOUNTS_AT_ONCE)
        effective, expected = _effective(opens[rows], observed[rows], dispersion[rows])
        week, usual = effective.reshape(-1, 7, 24), expected.reshape(-1, 7, 24)
        hours = _quiet_probability(effective, expected, _EVEN_HOURS) >= _QUIET_PROBABILITY
        times = _quiet_probability(week.sum(axis=1), usual.sum(axis=1), _EVEN_TIMES) >= _QUIET_PROBABILITY
        days = _quiet_probability(week.sum(axis=2), usual.sum(axis=2), _EVEN_DAYS) >= _QUIET_PROBABILITY
        pooled = (times[:, np.newaxis, :] | days[:, :, np.newaxis]).reshape(hours.shape)
        quiet[rows] = (hours | pooled) & (effective < QUIET_RATIO * expected)
    return quiet


def _effective(opens: Floats, observed: Floats, dispersion: Floats) -> tuple[Floats, Floats]:
    """Return independent opens and those expected in an even week."""
    total, weeks = opens.sum(axis=1), observed.sum(axis=1)
    mean = np.divide(total, weeks, out=np.zeros(len(opens)), where=weeks > 0)
    return opens / dispersion[:, np.newaxis], observed * (mean / dispersion)[:, np.newaxis]


def _quiet_probability(counts: Floats, expected: Floats, even: float) -> Floats:
    """Return the probability that the rate behind each count is less than half the mean."""
    # Which rates occur in the account's own week is estimated from all of its counts together (empirical Bayes): a
    # mixture of Poisson distributions, fitted by expectation maximization. In an even week it has one rate, the mean,
    # and no count is evidence for less. The colder the rest of the week, the less it takes to call one more hour quiet.
    likelihood = counts[:, :, np.newaxis] * np.log(_RATES) - expected[:, :, np.newaxis] * _RATES
    likelihood = np.exp(likelihood - likelihood.max(axis=2, keepdims=True))
    weights = np.full((len(counts), len(_RATES)), 1 / len(_RATES))
    prior = np.zeros(len(_RATES))
    prior[_MEAN] = even
    for _ in range(_STEPS):
        evidence = (likelihood @ weights[:, :, np.newaxis])[:, :, 0]
        weights = weights * ((1 / evidence)[:, np.newaxis, :] @ likelihood)[:, 0, :] + prior
        weights /= weights.sum(axis=1, keepdims=True)
    low = np.where(_RATES < QUIET_RATIO, weights, 0.0)
    evidence = (likelihood @ weights[:, :, np.newaxis])[:, :, 0]
    probability: Floats = (likelihood @ low[:, :, np.newaxis])[:, :, 0] / evidence
    return probability


@dataclass(frozen=True)
class AccessProfiles:
    """Profiles of all accounts together (`all`), which come first, and of each, by account id.

    Attributes:
        hours: by account and hour of the week, 168 rows for each account. `opens`: first opens, `observed`: how often
            the hour was observed, `active_weeks`: in how many weeks it had a first open, `rate`: first opens per
            observed hour, `is_busy`, `is_peak`, `is_quiet`.
        accounts: by account. `first_opens`, `keys` that were opened, `since`: the start of the local day of the first
            open, `weeks` observed, `time_zones` and `ranges`: first opens by name, the most first, `busy_hours`,
            `peak_hours` and `quiet_hours` of the week, `evidence`: why no hour is called busy or quiet; else empty.
        until: the end of the observed period.
    """

    hours: pd.DataFrame
    accounts: pd.DataFrame
    until: datetime

    def find_account(self, text: str | None) -> str:
        """Return the id of the account that a text means; `all` without one.

        Raises:
            BadRequest: the id is not valid.
        """
        return normalize_account_id(text, self.accounts.index) if text not in {None, ALL_ACCOUNTS} else ALL_ACCOUNTS

    def require(self, account_id: str) -> None:
        """Check that the account was opened.

        Raises:
            NotFound: it was not.
        """
        if account_id not in self.accounts.index:
            days = (self.until - self.accounts["since"].iloc[0]).days
            raise NotFound(
                f"{account_id} was not opened by a human in the {days} observed days; "
                f"{len(self.accounts) - 1:,} accounts were"
            )


def build_profiles(counts: OpenCounts, until: datetime) -> AccessProfiles:
    """Return the profiles of all accounts, each observed from the local day of its first open.

    Args:
        until: end of the observed period, after the last open; the hours of this moment are not observed any more.
    """
    ids = [ALL_ACCOUNTS, *counts.keys.index]
    zones, ranges = _rank(counts.zones), _rank(counts.ranges)
    observed, since = _observe(zones, counts.started, ids, utc(until))
    hours = _count_week(counts.hours, ids).assign(observed=observed.to_numpy().ravel())
    opens, squares, active, times = (
        hours[name].to_numpy(np.float64).reshape(-1, WEEK_HOURS)
        for name in ("opens", "squares", "active_weeks", "observed")
    )
    dispersion = estimate_dispersion(opens, squares, times)
    enough = (times.mean(axis=1) >= MIN_WEEKS)[:, np.newaxis]
    hours["rate"] = (hours["opens"] / hours["observed"]).where(hours["observed"] > 0, 0.0)
    hours["is_busy"] = (enough & find_busy_hours(opens, times, active, dispersion)).ravel()
    hours["is_quiet"] = (enough & find_quiet_hours(opens, times, dispersion)).ravel()
    account, hour = hours.index.get_level_values("account_id"), hours.index.get_level_values("hour_of_week")
    busiest = hours["rate"].where(hours["is_busy"]).groupby([account, hour // 24]).rank("first", ascending=False)
    hours["is_peak"] = busiest <= PEAKS_PER_DAY
    accounts = pd.DataFrame(
        {
            "first_opens": opens.sum(axis=1).astype(np.int64),
            "keys": [counts.keys.sum(), *counts.keys],
            "since": since,
            "weeks": times.mean(axis=1),
            "dispersion": dispersion,
            "time_zones": _list_counts(zones, ids),
            "ranges": _list_counts(ranges, ids),
            **{f"{name}_hours": _list_hours(hours[f"is_{name}"]) for name in ("busy", "peak", "quiet")},
        },
        index=ids,
    )
    accounts["evidence"] = [_explain(row) for row in accounts.itertuples()]
    return AccessProfiles(hours.drop(columns="squares"), accounts, utc(until))


def _rank(counts: pd.Series) -> pd.Series:
    """Return the counts of all accounts together and of each, the highest first; of equal ones by name."""
    return _with_all(counts).sort_index().sort_values(ascending=False, kind="stable")


def _list_counts(counts: pd.Series, ids: list[str]) -> list[dict[str, int]]:
    """Return the counts of each account by name."""
    by_account: dict[str, dict[str, int]] = {name: {} for name in ids}
    for account, name, count in counts.reset_index().itertuples(index=False):
        by_account[account][name] = count
    return list(by_account.values())


def _list_hours(flags: pd.Series) -> list[list[int]]:
    """Return the hours of the week that are set for each account."""
    return [np.flatnonzero(week).tolist() for week in flags.to_numpy().reshape(-1, WEEK_HOURS)]


def _with_all(counts: pd.Series) -> pd.Series:
    """Return the counts of all accounts together, then those of each."""
    everyone = counts.groupby(level=1).sum()
    together: pd.Series = pd.concat([pd.concat({ALL_ACCOUNTS: everyone}), counts])
    return together.rename_axis(counts.index.names)


def _count_week(hours: pd.Series, ids: list[str]) -> pd.DataFrame:
    """Return opens, squared opens of single weeks, and weeks with an open, by account and hour of the week."""
    opens = _with_all(hours).rename("opens").reset_index()
    opens["hour_of_week"] = hours_of_week(opens["hour"])
    opens["squares"] = opens["opens"] ** 2
    week = opens.groupby(["account_id", "hour_of_week"]).agg(
        opens=("opens", "sum"), squares=("squares", "sum"), active_weeks=("opens", "size")
    )
    every = pd.MultiIndex.from_product([ids, range(WEEK_HOURS)], names=["account_id", "hour_of_week"])
    return week.reindex(every, fill_value=0)


def _observe(zones: pd.Series, started: pd.Series, ids: list[str], until: datetime) -> tuple[pd.DataFrame, pd.Series]:
    """Return how often each hour of the week occurred in the observed time of each account, and when that began."""
    # Where an account has several zones, the mean of their hours, weighted by opens.
    first = {**started, ALL_ACCOUNTS: started.min()}
    spans = zones.rename("opens").reset_index()
    spans["share"] = spans["opens"] / spans.groupby("account_id")["opens"].transform("sum")
    spans["start"] = [
        local_midnight(local_day(first[account], name), name)
        for account, name in zip(spans["account_id"], spans["time_zone"], strict=True)
    ]
    spans["start"] = pd.to_datetime(spans["start"], utc=True)
    observed = pd.DataFrame(0.0, index=ids, columns=range(WEEK_HOURS))
    for _, part in spans.groupby(["start", "time_zone"]):
        hours = _hours_between(part["start"].iloc[0], until, part["time_zone"].iloc[0])
        observed.loc[part["account_id"]] += np.outer(part["share"], hours)
    return observed, spans.groupby("account_id")["start"].min().reindex(ids).fillna(pd.Timestamp(until))


def _hours_between(start: datetime, end: datetime, zone_name: str) -> Floats:
    """Return how often each hour of the zone's week begins in the half-open span."""
    local = pd.date_range(start, end, freq="h", inclusive="left").tz_convert(zone(zone_name)).to_series()
    return np.bincount(hours_of_week(local), minlength=WEEK_HOURS).astype(np.float64)


def _explain(account: Any) -> str:
    """Return why no hour is called busy or quiet; empty when some are."""
    if account.busy_hours or account.quiet_hours:
        return ""
    if not account.first_opens:
        return "nobody opened a report"
    if account.weeks < MIN_WEEKS:
        return f"observed for {account.weeks:.1f} weeks; busy and quiet hours need at least {MIN_WEEKS}"
    if account.first_opens / account.dispersion < _FEW_OPENS:
        sessions = "" if account.dispersion < _SESSIONS else ", many of them in the same sessions"
        return f"too few first opens: {account.first_opens:,} in {account.weeks:.1f} weeks{sessions}"
    return "opens are spread over the week: no hour differs significantly from the others"
