"""A quick honest look at a model: trained without the last week, it is asked about every hour of that week."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from adwarm.clock import utc
from adwarm.forecast.hour_of_week import HourOfWeek
from adwarm.forecast.local_hours import HOURS, localise
from adwarm.forecast.observations import observe
from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.settings import Settings

_WEEK = timedelta(days=7)
_TINY = 1e-6


def backtest(first_opens: pd.DataFrame, settings: Settings, trained_until: datetime) -> dict[str, float]:
    """Return how well the last week before `trained_until` is foreseen from the time before it.

    `brier` and `log_loss` are means over keys known before the week and its 168 hours; `base_rate` is the share of
    those with a first open; `skill` is 1 - brier / brier of the population's profile (0 is no better than it).
    Empty when there is less than a week of log before the last one.
    """
    until = utc(trained_until)
    split = until - _WEEK
    ts = first_opens["ts"]
    earlier = first_opens[ts < pd.Timestamp(split)]
    if not len(earlier) or earlier["ts"].min() > pd.Timestamp(split - _WEEK):
        return {}
    model = HourOfWeek(observe(earlier, settings, split))
    week = first_opens[(ts >= pd.Timestamp(split)) & (ts < pd.Timestamp(until))]
    return _score(model, _opened(model, week))


def _opened(model: HourOfWeek, week: pd.DataFrame) -> pd.DataFrame:
    """Which of the model's keys were opened in which hour of the week: columns row, hour_of_week."""
    keys = model.keys.assign(row=np.arange(len(model.keys)))
    known = week[[*KEY_COLUMNS, "ts"]].merge(keys, on=KEY_COLUMNS, how="inner")
    local = localise(known["ts"], known["time_zone"])
    return local.assign(row=known["row"].to_numpy())[["row", "hour_of_week"]].drop_duplicates()


def _score(model: HourOfWeek, opened: pd.DataFrame) -> dict[str, float]:
    size = len(model.keys)
    rows = {int(str(hour)): part["row"].to_numpy() for hour, part in opened.groupby("hour_of_week")}
    brier = plain = loss = 0.0
    for hour in range(HOURS):
        happened = np.zeros(size)
        happened[rows.get(hour, np.zeros(0, np.int64))] = 1.0
        chance = model.rates(hour)
        brier += float(np.square(chance - happened).sum())
        plain += float(np.square(model.population(hour) - happened).sum())
        sure = np.clip(np.where(happened > 0, chance, 1.0 - chance), _TINY, 1.0)
        loss -= float(np.log(sure).sum())
    cells = size * HOURS
    return {
        "brier": brier / cells,
        "log_loss": loss / cells,
        "base_rate": len(opened) / cells,
        "skill": 1.0 - brier / plain if plain > 0 else 0.0,
        "keys": float(size),
    }
