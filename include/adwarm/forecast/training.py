"""Trains on what the store holds, tests the result on the last week, and makes it live."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from adwarm.forecast.backtest import backtest
from adwarm.forecast.snapshot import make_live, save_snapshot, train
from adwarm.model import Account
from adwarm.patterns.load import QUIET, first_opens, load_slots
from adwarm.settings import Settings
from adwarm.store import ObjectStore, accounts


def train_until(
    engine: Engine, objects: ObjectStore, settings: Settings, until: datetime, now: datetime
) -> dict[str, Any]:
    """Train on the first opens before `until`, make the forecast live, and return its figures.

    Accounts that the log names for the first time are stored, their zone being a guess until the upstream tells it.
    """
    since = until - timedelta(days=settings.forecast.history_days)
    slots = load_slots(engine, objects, since - QUIET, until, default_zone=settings.default_zone)
    opens = first_opens(slots)
    opens = opens[opens["ts"] >= pd.Timestamp(since)]
    accounts.discover(engine, _named(opens), now)
    metrics = backtest(opens, settings, until)
    snapshot = save_snapshot(engine, objects, train(opens, settings, until), metrics=metrics, at=now)
    make_live(engine, snapshot.id, now)
    return {
        "snapshot": snapshot.id,
        "opens": int(slots["opens"].sum()),
        "first_opens": len(opens),
        "keys": snapshot.keys,
        "metrics": {name: round(value, 5) for name, value in snapshot.metrics.items()},
    }


def _named(opens: pd.DataFrame) -> list[Account]:
    """Return the accounts of first opens, each in the zone that most of its opens name."""
    if opens.empty:
        return []
    zones = opens.groupby("account_id")["time_zone"].agg(lambda names: names.value_counts().index[0])
    return [Account(str(name), str(zone), str(zone), currency="") for name, zone in zones.items()]
