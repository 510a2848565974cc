"""Training reads the store, compares the kinds, stores them, and promotes one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest
from sqlalchemy import Engine, select

from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.snapshot import get_live_forecast, get_live_snapshot, read_snapshot
from adwarm.forecast.training.train import (
    COMPETING_KINDS,
    TRAINERS,
    RepeatedTraining,
    _choose_best,
    train_and_promote,
    train_candidates,
)
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, write_transaction
from adwarm.store.snapshots import forecast_snapshot, record_choice

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def _read(engine: Engine, objects: ObjectStore, tmp_path: Path, days: int, **forecast: Any) -> Context:
    """Read a log of some days in which three accounts are opened each morning, and one by a machine."""
    rows = [
        {
            "ts": (MONDAY - day * DAY + timedelta(hours=8, minutes=7 * n)).isoformat(),
            "account_id": f"act_{n}",
            "date_range": "today",
            "time_zone": "Europe/Rome",
            "actor": "human" if n < 4 else "api",
        }
        for day in range(1, days + 1)
        for n in range(1, 5)
    ]
    (tmp_path / "log.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    settings = Settings(access_log={"url": str(tmp_path / "log.jsonl")}, forecast=forecast)
    context = Context(engine, objects, settings)
    ingest(context, MONDAY, window=(MONDAY - days * DAY, MONDAY))
    return context


@pytest.mark.slow
def test_the_best_kind_goes_live(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """All kinds are stored with metrics, window and features; one is live, with a reason."""
    context = _read(sqlite_engine, objects, tmp_path, 20)
    result = train_and_promote(context, MONDAY, MONDAY)
    with write_transaction(sqlite_engine) as connection:
        rows = {row.kind: row for row in connection.execute(select(forecast_snapshot))}
    assert set(rows) == set(COMPETING_KINDS)
    for row in rows.values():
        assert {"hits", "brier", "log_loss", "ece"} <= set(row.metrics)
        assert (row.trained_until, row.keys) == (MONDAY, 3)
        assert read_snapshot(context, row).features == row.features
    assert get_live_snapshot(sqlite_engine).id == rows[result["kind"]].id == result["snapshot"]
    assert result["why"].startswith("hits on the held-out week: adwarm ")
    assert (result["opens"], result["first_opens"], result["keys"]) == (60, 60, 3)
    assert set(accounts.get_many(sqlite_engine)) == {"act_1", "act_2", "act_3"}
    assert accounts.get_many(sqlite_engine)["act_1"].reader_zone == "Europe/Rome"


@pytest.mark.slow
def test_a_short_log_promotes_the_weekly_profile(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """With less than a week before the last one nothing is compared; an empty log trains too."""
    context = _read(sqlite_engine, objects, tmp_path, 10)
    result = train_and_promote(context, MONDAY, MONDAY)
    assert (result["kind"], result["metrics"]) == ("hour_of_week", {})
    assert "too short" in result["why"]
    empty = train_and_promote(context, MONDAY - 90 * DAY, MONDAY)
    assert (empty["keys"], empty["opens"]) == (0, 0)


@pytest.mark.parametrize("kind", list(TRAINERS))
def test_a_kind_can_be_forced(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path, kind: str) -> None:
    """The setting trains and promotes one kind only."""
    context = _read(sqlite_engine, objects, tmp_path, 16, model=kind)
    assert train_and_promote(context, MONDAY, MONDAY)["kind"] == kind
    assert get_live_forecast(context).kind == kind
    with write_transaction(sqlite_engine) as connection:
        assert connection.execute(select(forecast_snapshot.c.kind)).scalars().all() == [kind]


def test_a_chosen_kind_stays(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """The next training keeps the kind that was chosen by a human or by a fallback."""
    context = _read(engine, objects, tmp_path, 10)
    train_and_promote(context, MONDAY - DAY, MONDAY)
    with write_transaction(engine) as connection:
        record_choice(connection, "population", by="ada", why="approved", at=MONDAY)
    result = train_and_promote(context, MONDAY, MONDAY)
    assert (result["kind"], result["why"]) == ("population", "chosen by ada: approved")


def test_candidates_are_not_live(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Candidates are stored and change no policy; equal training stores nothing new."""
    context = _read(sqlite_engine, objects, tmp_path, 10)
    live = train_and_promote(context, MONDAY - DAY, MONDAY)
    made = train_candidates(context, MONDAY, MONDAY)
    assert get_live_snapshot(sqlite_engine).id == live["snapshot"] != made.snapshots["hour_of_week"].id
    assert train_candidates(context, MONDAY, MONDAY).snapshots == made.snapshots


def test_a_plainer_kind_stays_unless_clearly_beaten(subtests: pytest.Subtests) -> None:
    """A gain within the noise of a week changes nothing."""
    for hits, best in [((0.6, 0.7), "adwarm"), ((0.6, 0.604), "hour_of_week")]:
        with subtests.test(hits=hits, best=best):
            assert _choose_best(dict(zip(COMPETING_KINDS, hits, strict=True)))[0] == best


def test_equal_opens_train_once() -> None:
    """What was trained until a moment is returned again for the same opens, and trained again for others."""
    start = pd.Timestamp("2026-03-02T09:00:00Z")
    frame = pd.DataFrame({
        "account_id": "act_1", "date_range": "today", "ts": [start + pd.Timedelta(days=n) for n in range(20)],
    })  # fmt: skip
    opens, fewer = opens_from_frame(frame), opens_from_frame(frame.iloc[1:])
    first, second = (start.to_pydatetime() + timedelta(days=days) for days in (7, 14))
    seen: list[tuple[int, datetime]] = []

    def trainer(known: Opens, settings: Settings, until: datetime) -> SeasonalForecast:
        seen.append((len(known), until))
        return TRAINERS["hour_of_week"](known, settings, until)  # type: ignore[return-value]

    train = RepeatedTraining(trainer)
    made = [train(opens, Settings(), until) for until in (first, second, second)]
    train(fewer, Settings(), second)

    assert seen == [(7, first), (14, second), (13, second)]
    assert made[1] is made[2]
    assert not opens.equals(fewer)
    assert opens.equals(opens_from_frame(frame))
