"""Builders of frames of first opens."""

from collections.abc import Callable, Iterable
from datetime import datetime

import pandas as pd
import pytest

MakeOpens = Callable[..., pd.DataFrame]


def make_frame(
    moments: Iterable[datetime], account: str = "act_1", date_range: str = "last_7d", zone: str | None = "UTC"
) -> pd.DataFrame:
    """Return one key's first opens."""
    ts = pd.DatetimeIndex(list(moments)).as_unit("us")
    ts = ts.tz_localize("UTC") if ts.tz is None else ts.tz_convert("UTC")
    frame = pd.DataFrame({"ts": ts, "account_id": account, "date_range": date_range, "report": "default"})
    return frame.assign(time_zone=pd.Series([zone] * len(ts), dtype=object))


@pytest.fixture
def make_opens() -> MakeOpens:
    """Return a function that builds one key's first opens."""
    return make_frame
