"""What a forecast could learn from a log: days, keys and first opens, beside what training, review and replay need."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd
import pyarrow as pa

from adwarm.forecast.training import HOLDOUT_PERIOD, MIN_LOG_BEFORE_HOLDOUT, MIN_WORKING_DAYS
from adwarm.patterns.open_counts import mark_first_opens
from adwarm.patterns.opens import KEY_COLUMNS
from adwarm.replay import MIN_REPLAY_TEST, MIN_REPLAY_TRAINING, MIN_TRAINING, WEEK

REPLAY_MIN_OPENS = 20
"""Opens that a key needs in a replay unless `--min-opens` says otherwise."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """How many days one use of the log needs, and has.

    Attributes:
        unit: days of log, or days with opens.
    """

    use: str
    needs_days: int
    has_days: int
    unit: str = "days of log"

    @property
    def missing_days(self) -> int:
        """How many more days it needs."""
        return max(self.needs_days - self.has_days, 0)


def count_days(days: int, unit: str, more: str = "") -> str:
    """Return `3 days of log`, `1 more day of log` and the like; `more` stands before the unit."""
    return f"{days} {more}{unit.replace('days', 'day', 1) if days == 1 else unit}"


@dataclass(frozen=True, slots=True)
class Learnable:
    """What a forecast could learn.

    Attributes:
        first_opens: those after 30 quiet minutes of their key.
        days_with_opens: UTC days with a human open.
        days_without_opens: UTC days between the first and the last open without one.
        first_opens_per_key: the median.
        keys_with_enough_opens: keys with `REPLAY_MIN_OPENS` opens or more.
    """

    opens: int
    first_opens: int
    accounts: int
    keys: int
    days_with_opens: int
    days_without_opens: int
    first_opens_per_key: float
    keys_with_enough_opens: int
    requirements: tuple[Requirement, ...] = ()


def measure_learnable(tables: Iterable[pa.Table], history_days: int) -> Learnable:
    """Return what a forecast could learn from slots.

    Args:
        tables: slots by UTC day, in order; memory is bounded by one table and the number of keys.
    """
    counts = list[pd.DataFrame]()
    days, moments = set[date](), list[datetime]()
    for slots in mark_first_opens(tables):
        by_key = slots.groupby(KEY_COLUMNS, observed=True)
        some = by_key.agg(opens=("opens", "sum"), first_opens=("is_first", "sum")).reset_index()
        some = pd.concat([*counts, some.astype(dict.fromkeys(KEY_COLUMNS, object))])
        counts = [some.groupby(KEY_COLUMNS, as_index=False).sum()]
        days.update(slots["first_ts"].dt.date)
        moments += [slots["first_ts"].min(), slots["last_ts"].max()]
    [keys] = counts
    span = max(moments) - min(moments) if days else timedelta(0)
    newest = max(days, default=date.min)
    recent = sum(day > newest - timedelta(days=history_days) for day in days)
    return Learnable(
        opens=int(keys["opens"].sum()),
        first_opens=int(keys["first_opens"].sum()),
        accounts=keys["account_id"].nunique(),
        keys=len(keys),
        days_with_opens=len(days),
        days_without_opens=(newest - min(days)).days + 1 - len(days) if days else 0,
        first_opens_per_key=float(keys["first_opens"].median()) if len(keys) else 0.0,
        keys_with_enough_opens=int((keys["opens"] >= REPLAY_MIN_OPENS).sum()),
        requirements=_list_requirements(span.days, recent),
    )


def _list_requirements(span_days: int, recent_days_with_opens: int) -> tuple[Requirement, ...]:
    """Return what each use needs, by the rules of training, review and replay themselves."""
    return (
        Requirement("comparing models on the last week", (HOLDOUT_PERIOD + MIN_LOG_BEFORE_HOLDOUT).days, span_days),
        Requirement("the adwarm model", MIN_WORKING_DAYS, recent_days_with_opens, "recent days with opens"),
        Requirement("adwarm replay", (MIN_REPLAY_TRAINING + MIN_REPLAY_TEST).days, span_days),
        Requirement("policy review", (MIN_TRAINING + WEEK).days, span_days),
    )
