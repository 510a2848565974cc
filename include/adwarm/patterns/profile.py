"""Profiles when reports are opened: hours of the reader's week, busy, peak and quiet hours, weekdays, popular ranges.

Counts are of first opens and rates are per observed hour, so neither reloads nor a log that ends in the middle of a
week bias them. All accounts are profiled at once. `significance` decides which hours are busy or quiet.

Which hours are busy or quiet is decided for many accounts at once, in arrays with a row per account and a column per
hour of the week. Opens come in sessions, so counts vary more from week to week than independent opens would: they are
divided by that dispersion before any test. docs/how-to/read-patterns.md explains the tests, and what they say of logs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from adwarm.foundation.arrow_arrays import Bools, Floats, Ints
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import NotFound
from adwarm.foundation.local_hours import DAY_MICROS, HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.foundation.local_time import WEEK_HOURS, local_midnight
from adwarm.model import ALL_ACCOUNTS, AccessProfile, PopularRange
from adwarm.patterns.open_counts import OpenCounts

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
MAX_RANGES = 20
"""Popular ranges of a profile, at most."""
_FEW_OPENS = 40
_SESSIONS = 1.5
"""Dispersion from which opens are said to come in sessions."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)


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
    """Profiles of all accounts, as arrays with a row per account and a column per hour of the week. Row 0 is of all.

    Attributes:
        ids: `all`, then account ids.
        opens: first opens.
        observed: how often each hour of the week was observed.
        active_weeks: in how many weeks each hour had a first open.
        busy: whether the rate is significantly above the mean.
        peak: whether it is one of the up to three busiest busy hours of its weekday.
        quiet: whether the hour is very likely opened at less than half the mean rate.
        started: per row, start of the local day of the first open, microseconds.
    """

    ids: list[str]
    opens: Ints
    observed: Floats
    active_weeks: Ints
    busy: Bools
    peak: Bools
    quiet: Bools
    started: Ints
    dispersion: Floats
    until: datetime
    counts: OpenCounts

    def __iter__(self) -> Iterator[AccessProfile]:
        return (self.row(number) for number in range(len(self.ids)))

    @property
    def rate(self) -> Floats:
        """First opens per observed hour."""
        return _divide(self.opens, self.observed)

    def get(self, account_id: str = ALL_ACCOUNTS) -> AccessProfile:
        """Return the profile of an account, by default that of all.

        Raises:
            NotFound: the account was not opened.
        """
        if account_id not in self.ids:
            raise NotFound(
                f"{account_id} was not opened by a human in the {(self.until - self._since(0)).days} observed days; "
                f"{len(self.ids) - 1:,} accounts were"
            )
        return self.row(self.ids.index(account_id))

    def row(self, number: int) -> AccessProfile:
        """Return the profile in a row."""
        opens, observed, keys = self.opens[number], self.observed[number], self.counts.keys
        rate = _divide(opens, observed)
        return AccessProfile(
            account_id=self.ids[number],
            first_opens=int(opens.sum()),
            keys=int(keys[number - 1] if number else keys.sum()),
            since=self._since(number),
            until=self.until,
            weeks=round(float(observed.mean()), 2),
            time_zones=dict(_named_sums(self.counts.zones, self.counts.zone_names, number)),
            hour_of_week=tuple(opens.tolist()),
            observed=tuple(observed.round(3).tolist()),
            rate=tuple(rate.round(4).tolist()),
            active_weeks=tuple(self.active_weeks[number].tolist()),
            weekday=tuple(rate.reshape(7, 24).sum(axis=1).round(3).tolist()),
            busy_hours=tuple(np.flatnonzero(self.busy[number]).tolist()),
            peak_hours=tuple(np.flatnonzero(self.peak[number]).tolist()),
            quiet_hours=tuple(np.flatnonzero(self.quiet[number]).tolist()),
            popular_ranges=self._popular_ranges(number),
            evidence=self._evidence(number),
        )

    def _since(self, number: int) -> datetime:
        return _EPOCH + timedelta(microseconds=int(self.started[number]))

    def _popular_ranges(self, number: int) -> tuple[PopularRange, ...]:
        total = max(int(self.opens[number].sum()), 1)
        rows = _named_sums(self.counts.ranges, self.counts.range_names, number)[:MAX_RANGES]
        return tuple(PopularRange(name, opens, round(opens / total, 4)) for name, opens in rows)

    def _evidence(self, number: int) -> str:
        """Return why no hour is called busy or quiet; empty when some are."""
        if self.busy[number].any() or self.quiet[number].any():
            return ""
        opens, weeks = int(self.opens[number].sum()), float(self.observed[number].mean())
        if not opens:
            return "nobody opened a report"
        if weeks < MIN_WEEKS:
            return f"observed for {weeks:.1f} weeks; busy and quiet hours need at least {MIN_WEEKS}"
        if opens / self.dispersion[number] < _FEW_OPENS:
            sessions = "" if self.dispersion[number] < _SESSIONS else ", many of them in the same sessions"
            return f"too few first opens: {opens:,} in {weeks:.1f} weeks{sessions}"
        return "opens are spread over the week: no hour differs significantly from the others"


def build_profiles(counts: OpenCounts, until: datetime) -> AccessProfiles:
    """Return the profiles of all accounts, each observed from the local day of its first open.

    Args:
        until: end of the observed period, after the last open; the hours of this moment are not observed any more.
    """
    order = sorted(range(len(counts.accounts)), key=lambda code: counts.accounts[code])
    counts = _reordered(counts, order)
    size = len(counts.accounts)
    opens, squares, active = _hour_sums(counts, size)
    observed, started = _observed_hours(counts, size, utc(until))
    dispersion = estimate_dispersion(opens, squares, observed)
    enough = (observed.mean(axis=1) >= MIN_WEEKS)[:, np.newaxis]
    busy = enough & find_busy_hours(opens, observed, active, dispersion)
    quiet = enough & find_quiet_hours(opens, observed, dispersion)
    return AccessProfiles(
        ids=[ALL_ACCOUNTS, *counts.accounts],
        opens=opens.astype(np.int64),
        observed=observed,
        active_weeks=active.astype(np.int64),
        busy=busy,
        peak=_find_peaks(busy, _divide(opens, observed)),
        quiet=quiet,
        started=started,
        dispersion=dispersion,
        until=utc(until),
        counts=counts,
    )


def _reordered(counts: OpenCounts, order: list[int]) -> OpenCounts:
    """Return the counts with the accounts numbered in the given order."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))

    def renumber(cells: Ints) -> Ints:
        renumbered = np.stack([rank[cells[0]], cells[1], cells[2]])
        return renumbered[:, np.argsort(renumbered[0], kind="stable")]

    return replace(
        counts,
        accounts=[counts.accounts[code] for code in order],
        started=counts.started[order],
        keys=counts.keys[order],
        hours=renumber(counts.hours),
        zones=renumber(counts.zones),
        ranges=renumber(counts.ranges),
    )


def _hour_sums(counts: OpenCounts, size: int) -> tuple[Floats, Floats, Floats]:
    """Return opens, squared opens of single weeks, and weeks with an open, by row and hour of the week."""
    account, hour, opens = counts.hours
    cell = (account + 1) * WEEK_HOURS + hours_of_week(hour)
    together, all_opens = _sum_by(hour, opens)
    cells = np.concatenate([hours_of_week(together), cell])
    values = np.concatenate([all_opens, opens]).astype(np.float64)

    def sums(weights: Floats) -> Floats:
        return np.bincount(cells, weights, (size + 1) * WEEK_HOURS).astype(np.float64).reshape(size + 1, WEEK_HOURS)

    return sums(values), sums(values**2), sums(np.ones(len(values)))


def _sum_by(group: Ints, values: Ints) -> tuple[Ints, Ints]:
    names, number = np.unique(group, return_inverse=True)
    return names, np.bincount(number, values, len(names)).astype(np.int64)


def _observed_hours(counts: OpenCounts, size: int, until: datetime) -> tuple[Floats, Ints]:
    """Return how often each hour of the week occurred in the observed time of each row, and when that began."""
    # Where a row has several zones, the mean of their hours, weighted by opens.
    account, zone, opens = counts.zones
    zones, all_opens = _sum_by(zone, opens)
    row = np.concatenate([np.zeros(len(zones), np.int64), account + 1])
    zone, opens = np.concatenate([zones, zone]), np.concatenate([all_opens, opens])
    earliest = counts.started.min(initial=np.iinfo(np.int64).max)
    opened = np.append(earliest, counts.started)[row]
    day = np.empty(len(row), np.int64)
    for number in zones.tolist():
        own = zone == number
        day[own] = to_local_micros(opened[own], counts.zone_names[number]) // DAY_MICROS
    spans, which = np.unique(np.stack([zone, day]), axis=1, return_inverse=True)
    end = (until - _EPOCH) // timedelta(microseconds=1)
    starts = [_midnight(int(day), counts.zone_names[int(zone)]) for zone, day in spans.T]
    hours = np.stack(
        [_hours_between(start, end, counts.zone_names[int(zone)]) for start, zone in zip(starts, spans[0], strict=True)]
        or [np.zeros(WEEK_HOURS)]
    )
    total = np.bincount(row, opens, size + 1)
    share = opens / total[row]
    observed, began = np.zeros((size + 1, WEEK_HOURS)), np.full(size + 1, end)
    np.add.at(observed, row, share[:, np.newaxis] * hours[which.ravel()])
    np.minimum.at(began, row, np.array(starts, np.int64)[which.ravel()])
    return observed, began


def _midnight(day: int, zone_name: str) -> int:
    moment = local_midnight(_EPOCH_DAY + timedelta(days=day), zone_name)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _hours_between(start: int, end: int, zone_name: str) -> Floats:
    """Return how often each hour of the zone's week begins in the half-open span, given in microseconds."""
    hours = to_local_micros(np.arange(start, end, HOUR_MICROS), zone_name) // HOUR_MICROS
    return np.bincount(hours_of_week(hours), minlength=WEEK_HOURS).astype(np.float64)


def _find_peaks(busy: Bools, rate: Floats) -> Bools:
    """Return the up to three busy hours of each weekday with the highest rates; of equal rates the earlier one."""
    ranked = np.where(busy, rate, -1.0).reshape(-1, 7, 24)
    order = np.argsort(-ranked, axis=2, kind="stable")
    rank = np.argsort(order, axis=2, kind="stable").reshape(busy.shape)
    peak: Bools = busy & (rank < PEAKS_PER_DAY)
    return peak


def _divide(opens: Floats | Ints, observed: Floats) -> Floats:
    result: Floats = np.divide(opens, observed, out=np.zeros(observed.shape), where=observed > 0)
    return result


def _named_sums(cells: Ints, names: list[str], number: int) -> list[tuple[str, int]]:
    """Return names and counts of a row, the highest count first; `cells` is sorted by account."""
    if number:
        begin, end = np.searchsorted(cells[0], [number - 1, number])
        codes, counts = cells[1, begin:end], cells[2, begin:end]
    else:
        codes, counts = _sum_by(cells[1], cells[2])
    rows = [(names[code], count) for code, count in zip(codes.tolist(), counts.tolist(), strict=True)]
    return sorted(rows, key=lambda row: (-row[1], row[0]))
