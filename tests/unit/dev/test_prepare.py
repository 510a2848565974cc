"""The data of `make up`: made at the first start, left alone by every later one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from adwarm.forecast.snapshot import get_live_snapshot
from adwarm.foundation.clock import VirtualClock
from adwarm.queries.fatigue_ads import AccountFilter, get_first_fresh_day
from adwarm.queries.fatigue_overview import count_due
from adwarm.queries.headline import State, evaluate_situation, load_situation
from adwarm.queries.worth import get_worth
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import read_transaction
from adwarm.store.access_patterns import list_hours
from adwarm.store.read_traffic import get_week_totals
from adwarm.store.snapshots import find_newest_review
from dev import prepare as module
from dev.demo import UNREACHABLE_URL
from dev.environment import EXAMPLE_LOG, TOKEN
from dev.prepare import fill, prepare


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


@pytest.mark.slow
def test_the_first_look_is_at_a_week_of_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `fill` the page has opens, used warms, their worth, hours, scores and a review, and nothing is wrong."""
    log = tmp_path / "access_log.parquet"
    for name, value in {
        "ADWARM_HOME": tmp_path / "home",
        "ADWARM_ACCESS_LOG__URL": log,
        "ADWARM_FORECAST__MODEL": "hour_of_week",
        "ADWARM_SOURCE__ACCESS_TOKEN": TOKEN,
        "ADWARM_SOURCE__GRAPH_URL": UNREACHABLE_URL,
    }.items():
        monkeypatch.setenv(name, str(value))
    prepare(Runtime(), str(EXAMPLE_LOG), log)
    fill(log)

    runtime = Runtime()
    now, engine = runtime.clock.now(), runtime.engine
    situation = load_situation(engine, runtime.queue.status(), now)
    worth = get_worth(engine, get_week_totals(engine, now), now)
    assert evaluate_situation(situation, now).state is State.WARM
    assert worth is not None
    assert worth.saved > 0
    assert worth.opens > situation.first_opens > 0
    with read_transaction(engine) as connection:
        assert find_newest_review(connection) is not None
    assert count_due(engine, AccountFilter(since=get_first_fresh_day(now))).last_day is not None
    assert list_hours(engine)
