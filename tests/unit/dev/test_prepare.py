"""The data of `make up`: made at the first start, left alone by every later one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from adwarm.forecast.snapshot import get_live_snapshot
from adwarm.foundation.clock import VirtualClock
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from dev import prepare as module
from dev.prepare import prepare


@pytest.mark.slow
def test_a_later_start_neither_reads_nor_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second start leaves log and forecast as they are, also hours later."""
    source, target = tmp_path / "source.parquet", tmp_path / "moved.parquet"
    days = [datetime(2026, 9, 1, 9, tzinfo=UTC) + timedelta(days=day) for day in range(28)]
    pd.DataFrame({"ts": days, "account_id": "act_1", "date_range": "today", "time_zone": "UTC"}).to_parquet(source)
    clock = VirtualClock(datetime(2026, 11, 26, 8, tzinfo=UTC))
    runtime = Runtime(Settings(home=tmp_path / "home", access_log={"url": str(target)}), clock)

    assert prepare(runtime, str(source), target).startswith("trained on ")
    snapshot, content = get_live_snapshot(runtime.engine), target.read_bytes()
    clock.set(clock.now() + timedelta(hours=5))
    for name in ("move_to_now", "ingest", "train_and_promote"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("done again"))

    assert "the data is there" in prepare(runtime, str(source), target)
    assert (get_live_snapshot(runtime.engine).id, target.read_bytes()) == (snapshot.id, content)
