"""The deadline of warming: by when each run must be finished, and what happens when it is not."""

import asyncio
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.definitions.deadline import DeadlineAlert
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert
from airflow.serialization.enums import DagAttributeTypes, Encoding
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import BadRequest
from adwarm.recovery.channels import LOG_CHANNEL
from adwarm.runtime import Runtime
from adwarm.store import jobs
from adwarm.store.alerts import list_alerts, list_deliveries
from adwarm_airflow.deadlines import EARLIEST, LATEST, WarmByDeadline, find_deadline, raise_warming_late, warm_by_alert
from adwarm_airflow.declarations import warming_deadline
from tests.support.alert_sink import run_sink

from .conftest import read_dags

BERLIN = "Europe/Berlin"
HALF_PAST_SEVEN = time(7, 30)


@pytest.mark.parametrize(
    ("run_after", "expected"),
    [
        ("2026-01-15T23:00+00:00", "2026-01-16T06:30+00:00"),  # midnight in Berlin
        ("2026-01-16T05:45+00:00", "2026-01-16T06:30+00:00"),
        ("2026-01-16T06:00+00:00", "2026-01-16T06:30+00:00"),
        ("2026-01-16T06:15+00:00", None),  # warms what is opened later
        ("2026-01-16T06:45+00:00", None),  # a run of the day
        ("2026-01-16T22:00+00:00", None),  # of the evening
        ("2026-03-29T00:30+00:00", "2026-03-29T05:30+00:00"),  # clocks go forward in this night
        ("2026-10-25T00:30+00:00", "2026-10-25T06:30+00:00"),  # and back in this one
    ],
)
def test_runs_of_the_night_have_a_deadline(run_after: str, expected: str | None) -> None:
    """It is half past seven on the clocks of that morning, also when they change in the night."""
    found = find_deadline(datetime.fromisoformat(run_after), HALF_PAST_SEVEN, BERLIN)
    assert found == (None if expected is None else datetime.fromisoformat(expected))


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    st.times().map(lambda value: value.replace(second=0, microsecond=0)),
    st.sampled_from([BERLIN, "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC", "Pacific/Apia"]),
)
def test_a_deadline_is_on_the_clock_and_near(run_after: datetime, warm_by: time, zone: str) -> None:
    """It is never before the run, at most eight hours after it, and the local clock shows the time of the settings."""
    found = find_deadline(run_after, warm_by, zone)
    if found is None:
        return
    assert LATEST <= found - run_after <= EARLIEST
    local = found.astimezone(ZoneInfo(zone))
    intended = datetime.combine(local.date(), warm_by, ZoneInfo(zone))
    assert local.time() == warm_by or intended.astimezone(UTC) == found  # or the clocks skip that time


@given(st.dates(datetime(2020, 1, 1).date(), datetime(2035, 1, 1).date()), st.integers(2, 32))
def test_every_night_has_runs_with_a_deadline(day: Any, quarters: int) -> None:
    """A run that is due half an hour to seven hours before half past seven has that deadline, on every day."""
    deadline = datetime.combine(day, HALF_PAST_SEVEN, ZoneInfo(BERLIN)).astimezone(UTC)
    run_after = deadline - timedelta(minutes=15 * quarters)
    assert find_deadline(run_after, HALF_PAST_SEVEN, BERLIN) == deadline


def test_airflow_stores_and_restores_the_deadline(airflow_home: Path) -> None:
    """The scheduler rebuilds the reference from the serialized DAG, through the plugin, with time and zone in it."""
    alert = warm_by_alert(HALF_PAST_SEVEN, BERLIN)
    encoded = encode_deadline_alert(alert)
    assert encoded == encode_deadline_alert(warm_by_alert(HALF_PAST_SEVEN, BERLIN))
    decoded = decode_deadline_alert({Encoding.TYPE: DagAttributeTypes.DEADLINE_ALERT, Encoding.VAR: encoded})
    assert decoded.reference.inner_ref == WarmByDeadline("07:30", BERLIN)
    assert import_string(decoded.callback.path) is raise_warming_late


@pytest.mark.parametrize(
    ("run_type", "expected"), [("scheduled", "2026-01-16T06:30+00:00"), ("manual", None), ("backfill", None)]
)
def test_only_scheduled_runs_have_a_deadline(airflow_home: Path, run_type: str, expected: str | None) -> None:
    """Airflow evaluates the reference with the run in its database; backfills and manual runs have none."""
    row = SimpleNamespace(run_after=datetime(2026, 1, 16, 2, tzinfo=UTC), run_type=run_type)
    session = SimpleNamespace(execute=lambda _query: SimpleNamespace(one_or_none=lambda: row))
    encoded = encode_deadline_alert(warm_by_alert(HALF_PAST_SEVEN, BERLIN))
    reference = decode_deadline_alert({
        Encoding.TYPE: DagAttributeTypes.DEADLINE_ALERT,
        Encoding.VAR: encoded,
    }).reference
    found = reference.evaluate_with(session=session, interval=timedelta(0), dag_id="d", run_id="r")
    assert found == (None if expected is None else datetime.fromisoformat(expected))


def test_the_setting_adds_the_deadline(airflow_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without it the DAGs have none; with it the two warming DAGs have one; a time that is none is refused."""
    monkeypatch.delenv("ADWARM_WARM_BY", raising=False)
    assert warming_deadline() == {}
    config = tmp_path / "adwarm.toml"
    config.write_text("max_batches = 10\n", encoding="utf-8")
    monkeypatch.setenv("ADWARM_CONFIG", str(config))
    assert warming_deadline() == {}
    monkeypatch.setenv("ADWARM_WARM_BY", "07:30")
    monkeypatch.setenv("ADWARM_DEFAULT_ZONE", BERLIN)
    with_deadline = {dag_id: dag.deadline for dag_id, dag in read_dags().items() if dag.deadline}
    assert set(with_deadline) == {"adwarm_intelligent_warming", "adwarm_strategy_warming"}
    for (alert,) in with_deadline.values():
        assert isinstance(alert, DeadlineAlert)
        assert alert.reference == WarmByDeadline("07:30", BERLIN)
    monkeypatch.setenv("ADWARM_WARM_BY", "morning")
    with pytest.raises(BadRequest, match="ADWARM_WARM_BY"):
        warming_deadline()


def test_without_the_table_of_runs_there_is_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow lacks the model of runs, which it does not promise, a run is scheduled without a deadline."""
    monkeypatch.setitem(sys.modules, "airflow.models", None)
    session: Any = None
    assert WarmByDeadline()._evaluate_with(session=session, dag_id="adwarm_intelligent_warming", run_id="a") is None


def context(state: str = "running") -> dict[str, Any]:
    """What Airflow passes to the callback of a deadline that was missed."""
    return {
        "dag_run": {
            "dag_id": "adwarm_intelligent_warming",
            "dag_run_id": "scheduled__2026-01-16T02:00",
            "run_after": "2026-01-16T02:00:00Z",
            "state": state,
        },
        "deadline": {"id": "1", "deadline_time": datetime(2026, 1, 16, 6, 30, tzinfo=UTC)},
    }


@pytest.fixture
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for the callback."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_missed_deadline_raises_one_alert(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several late runs of a DAG are one alert, sent at once; the mail of Airflow is left to the maintenance."""
    with run_sink() as sink:
        channels = (
            f'[{{"type": "apprise", "name": "hook", "url": "{sink.url}"}},'
            ' {"type": "notifier", "name": "mail", "notifier": "a.b:C"}]'
        )
        monkeypatch.setenv("ADWARM_ALERTS__CHANNELS", channels)
        for state in ("running", "failed"):
            assert "not done by 2026-01-16 06:30 UTC" in asyncio.run(raise_warming_late(context(state)))
    assert sink.titles == ["adwarm: WarmingLate of adwarm_intelligent_warming"]
    engine = Runtime().engine
    (alert,) = list_alerts(engine)
    assert (alert.kind, alert.example) == ("WarmingLate", "scheduled__2026-01-16T02:00")
    assert "Open the run in Airflow" in alert.next_step
    delivered = {item.channel: item.delivered_at is not None for item in list_deliveries(engine, [alert.id])}
    assert delivered == {LOG_CHANNEL: True, "hook": True, "mail": False}


def test_a_later_run_makes_up_for_a_failed_one(fresh_home: Path) -> None:
    """A run that failed in the night is no alert when a later run has warmed everything; an earlier one does not do."""
    runtime = Runtime()
    due = datetime(2026, 1, 16, 2, tzinfo=UTC)

    def finish(run_id: str, started_at: datetime) -> None:
        jobs.start(runtime.engine, run_id, "adwarm_intelligent_warming", 1, started_at)
        jobs.finish(runtime.engine, run_id, started_at + timedelta(minutes=3))

    finish("adwarm_intelligent_warming/before", due - timedelta(minutes=15))
    assert jobs.find_completed(runtime.engine, "adwarm_intelligent_warming", due) is None
    finish("adwarm_intelligent_warming/after", due + timedelta(minutes=15))
    assert "has warmed" in asyncio.run(raise_warming_late(context("failed")))
    assert list_alerts(runtime.engine) == []
