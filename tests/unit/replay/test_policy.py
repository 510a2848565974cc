"""Entry lifetimes in a replay equal the product's freshness rules."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log.timestamps import to_micros
from adwarm.model import PRESETS, Account, ReportKey
from adwarm.patterns.opens import opens_from_frame
from adwarm.planning.store_view import NEVER, useful_until
from adwarm.replay.policy import FOREVER, FixedLifetime, FreshnessLifetime

NAMES = [*PRESETS, "2026-03-01..2026-03-20", "2025-01-01..2025-01-31"]
ZONES = ["Europe/Berlin", "Asia/Kolkata", "America/New_York"]
START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 10, tzinfo=UTC)
KEYS = [(name, zone) for name in NAMES for zone in ZONES]
OPENS = opens_from_frame(
    pd.DataFrame({
        "ts": pd.to_datetime([START] * len(KEYS), utc=True),
        "account_id": [f"act_{n}" for n in range(len(KEYS))],
        "date_range": [name for name, _ in KEYS],
        "time_zone": [zone for _, zone in KEYS],
    })
)
LIFE = FreshnessLifetime(OPENS, to_micros(START), to_micros(END))


@given(st.integers(0, OPENS.key_count - 1), st.datetimes(START.replace(tzinfo=None), END.replace(tzinfo=None)))
def test_the_table_equals_the_rule(key: int, naive: datetime) -> None:
    """For every range, zone and moment, clock changes included, the entry expires when `useful_until` says."""
    at, zone = naive.replace(tzinfo=UTC), str(OPENS.zone[key])
    end = useful_until(ReportKey("act_0", str(OPENS.date_range[key])), Account("act_0", zone, zone, currency=""), at)
    result = int(LIFE.fresh_until(np.array(key), np.array(to_micros(at))))

    assert result >= FOREVER if end == NEVER else result == to_micros(end)


def test_shapes_broadcast() -> None:
    """Arrays of keys and moments broadcast."""
    moments = to_micros(START) + np.arange(6, dtype=np.int64).reshape(2, 3)
    keys = np.array([[0], [1]])

    assert LIFE.fresh_until(keys, moments).shape == (2, 3)
    assert FixedLifetime(5).fresh_until(keys, moments).tolist() == (moments + 5).tolist()
