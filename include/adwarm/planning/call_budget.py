"""What fits an hour's budget of upstream calls, and the outlook on the next 24 hours. Pure arithmetic.

The outlook is an estimate, made in one pass over the probabilities of the run. A key falls due in the first hour from
which an open is likely enough within the lifetime of its entry, and again after that lifetime. Later plans differ from
it: they see opens that are still to come, and the outlook takes the lifetime of a date range as it is in UTC.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd

from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.foundation.arrow_arrays import Ints
from adwarm.foundation.clock import floor_to, utc
from adwarm.model import ReportKey, resolve_window
from adwarm.planning.plan import SlotArrays
from adwarm.planning.recommendation import Recommendation, WarmPlan
from adwarm.planning.rule_sentences import leave_out
from adwarm.settings import Settings
from adwarm.store.snapshots import PlanHour

HOURS: Final = 24
_HOUR: Final = timedelta(hours=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_HOUR_MS: Final = 3_600_000
_LONGEST_MS: Final = 2 * HOURS * _HOUR_MS


def split_by_budget(
    candidates: Iterable[Recommendation], calls: int
) -> tuple[list[Recommendation], list[Recommendation]]:
    """Return the candidates that fit into `calls` upstream calls, best benefit per call first, and those that do not.

    Each candidate that does not fit says why.
    """
    planned: list[Recommendation] = []
    cut: list[Recommendation] = []
    left = float(max(0, calls))
    for rank, candidate in enumerate(sorted(candidates, key=lambda item: item.sort_key), start=1):
        if candidate.calls <= left:
            left -= candidate.calls
            planned.append(candidate)
        else:
            why = f"{max(0, calls)} upstream calls were left this hour and it came {_nth(rank)} by benefit per call"
            cut.append(leave_out(candidate, "budget", why=why))
    return planned, cut


def _nth(rank: int) -> str:
    ending = "th" if rank % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"


def build_outlook(
    slots: SlotArrays,
    decided_at: datetime,
    plan: WarmPlan,
    fresh_until: Mapping[ReportKey, datetime],
    settings: Settings,
) -> list[PlanHour]:
    """Return the outlook on the 24 hours that begin with that of the decision.

    Args:
        plan: the plan of the run. Later warms of an account and report are expected to take as many calls as in it.
        fresh_until: by key, until when its entry is fresh, UTC.
    """
    decided_at = utc(decided_at)
    first = floor_to(decided_at, _HOUR)
    hour: Ints = np.clip((slots.start + (decided_at - first) // _MILLISECOND) // _HOUR_MS, 0, HOURS - 1)
    opens = np.bincount(hour, slots.probability, HOURS)
    lifetime = _get_lifetimes(slots, decided_at, settings)
    chance = slots.get_coverage(np.arange(len(slots.key)), slots.open + lifetime)
    likely = np.flatnonzero(chance >= settings.planning.min_confidence)
    due = _find_due(slots, hour, likely, lifetime, _find_covered(slots, decided_at, fresh_until))
    group = _number_groups(slots)
    size = int(group.max(initial=0)) + 1
    pairs, pair = np.unique(hour[due] * size + group[due], return_inverse=True)
    # As in a plan while no call is spent: the keys of an account and report are warmed if they gain more than a call.
    pays = np.bincount(pair, chance[due], len(pairs)) * settings.planning.open_value > 1.0
    warms = np.bincount(hour[due][pays[pair]], minlength=HOURS)
    calls = np.bincount(pairs[pays] // size, minlength=HOURS) * _get_calls_per_group(plan)
    return [
        PlanHour(
            hour=first + index * _HOUR,
            expected_opens=round(float(opens[index]), 3),
            due_warms=int(warms[index]),
            expected_calls=round(float(calls[index]), 2),
            call_quota=float(settings.planning.max_calls_per_hour),
            planned_at=decided_at,
        )
        for index in range(HOURS)
    ]


def _find_due(slots: SlotArrays, hour: Ints, likely: Ints, lifetime: Ints, covered: Ints) -> Ints:
    """Return the rows at which keys fall due: each likely row that no earlier warm of its key covers."""
    likely = likely[np.argsort(hour[likely], kind="stable")]
    bounds = np.searchsorted(hour[likely], np.arange(HOURS + 1))
    parts = [np.zeros(0, np.int64)]
    for index in range(HOURS):
        rows = likely[bounds[index] : bounds[index + 1]]
        rows = rows[covered[slots.key[rows]] <= slots.open[rows]]
        rows = rows[np.unique(slots.key[rows], return_index=True)[1]]
        covered[slots.key[rows]] = slots.open[rows] + lifetime[rows]
        parts.append(rows)
    return np.concatenate(parts)


def _get_lifetimes(slots: SlotArrays, at: datetime, settings: Settings) -> Ints:
    """Return, per row, how long an entry of its date range is fresh that is fetched at `at`, in milliseconds."""
    number, names = pd.factorize(slots.frame["date_range"])
    windows, today = [resolve_window(str(name), "UTC", at) for name in names], at.date()
    lives = [settings.freshness_rules.lifetime((today - window.until).days, len(window)) for window in windows]
    lengths = [_LONGEST_MS if life is None else min(life // _MILLISECOND, _LONGEST_MS) for life in lives]
    return np.array([*lengths, 0], np.int64)[number]


def _find_covered(slots: SlotArrays, at: datetime, fresh_until: Mapping[ReportKey, datetime]) -> Ints:
    """Return, per key, until when its entry is fresh, in milliseconds after `at`; -1 for none."""
    covered = np.full(slots.key_count, -1, np.int64)
    if not fresh_until or not slots.key_count:
        return covered
    first = np.flatnonzero(np.diff(slots.key, prepend=-1))
    slot_keys = pd.MultiIndex.from_frame(slots.frame.iloc[first][KEY_COLUMNS].astype(object))
    names = [(key.account_id, key.date_range, key.report) for key in fresh_until]
    index = slot_keys.get_indexer(pd.MultiIndex.from_tuples(names, names=KEY_COLUMNS))
    for number, end in zip(index.tolist(), fresh_until.values(), strict=True):
        if number >= 0:
            covered[number] = (end - at) // _MILLISECOND
    return covered


def _number_groups(slots: SlotArrays) -> Ints:
    """Return, per row, the number of its account and report, whose keys share requests."""
    account = pd.factorize(slots.frame["account_id"])[0].astype(np.int64)
    report, reports = pd.factorize(slots.frame["report"])
    result: Ints = account * max(len(reports), 1) + report
    return result


def _get_calls_per_group(plan: WarmPlan) -> float:
    """Return the calls that the plan takes per account and report; 1 for an empty plan."""
    groups = {(item.key.account_id, item.key.report) for item in plan.recommendations}
    return sum(item.calls for item in plan.recommendations) / len(groups) if groups else 1.0
