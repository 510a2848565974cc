"""Assets: the graph from the log to complete days, and events only of what was really written."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset

from adwarm.model import Account
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts
from adwarm_airflow import assets
from graph_simulator.server import SimulatorServer

from .conftest import NOW, read_dags

AT_NINE = NOW + timedelta(hours=9)
DAY = "2013-01-15"
Run = Callable[..., Any]
CHAIN = (assets.ACCESS_LOG, assets.AGGREGATES, assets.FORECAST, assets.ENTRIES, assets.SCORES)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, airflow_home: Path) -> Any:
    """A home of adwarm of its own, because days are complete only when every account in it is."""
    path = tmp_path_factory.mktemp("assets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADWARM_HOME", str(path))
        runtime = Runtime(load_settings())
        zone = "America/New_York"
        accounts.save(runtime.engine, [Account(f"act_{n}", zone, zone, "USD") for n in (77, 78)], NOW)
        yield runtime


@pytest.fixture(scope="module")
def run(home: Runtime, simulator: SimulatorServer) -> Run:
    """Runs a DAG as of a time, as it is declared, and returns its run."""

    def go(dag_id: str, conf: dict[str, Any], at: datetime = AT_NINE) -> Any:
        simulator.set_now(at, frozen=True)
        return read_dags()[dag_id].test(logical_date=None, run_conf={"decision_time": at.isoformat(), **conf})

    return go


def _events(finished: Any) -> dict[tuple[str, str | None], Any]:
    """Return the extra of each event that a run sent, by asset and partition."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(AssetModel.name, AssetEvent.partition_key, AssetEvent.extra).join(
        AssetEvent, AssetEvent.asset_id == AssetModel.id
    )
    with create_session() as session:
        rows = session.execute(query.where(AssetEvent.source_run_id == finished.run_id)).all()
    return {(name, key): extra for name, key, extra in rows}


def _edges(dags: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (str(inlet.name), str(outlet.name))
        for dag in dags.values()
        for task in dag.tasks
        for inlet in task.inlets
        for outlet in task.outlets
    }


def test_the_graph_leads_from_the_log_to_complete_days(dags: dict[str, Any]) -> None:
    """Every link of the chain is declared by a task, and nothing that the package watches for is an orphan."""
    edges = _edges(dags)

    assert {(one.name, other.name) for one, other in pairwise(CHAIN)} <= edges
    assert (assets.ENTRIES.name, assets.DAY_COMPLETE.name) in edges
    [requests] = dags["adwarm_request_queue"].timetable.asset_condition.objects
    assert requests.name == assets.REQUESTS_NAME
    assert assets.ENTRIES in dags["adwarm_request_queue"].get_task("drain").outlets


def test_the_users_asset_starts_warming(monkeypatch: pytest.MonkeyPatch) -> None:
    """The asset that the settings name is one of two that start a run between two decisions."""
    from adwarm_airflow.declarations import cron_or_arrival_schedule

    assert cron_or_arrival_schedule("*/15 * * * *").asset_condition == assets.DATA_ARRIVED
    monkeypatch.setenv("ADWARM_PLANNING__ARRIVAL_ASSET", "s3://lake/insights")
    condition = cron_or_arrival_schedule("*/15 * * * *").asset_condition
    assert {asset.uri for asset in condition.objects} == {"adwarm://data_arrived/", "s3://lake/insights"}


@pytest.mark.slow
def test_a_complete_day_is_an_event_with_its_day(run: Run) -> None:
    """The run that completes and scores a day says so, with counts; a run that finds it done sends no event at all."""
    first = run("adwarm_daily_insights", {"day": DAY})
    sent = _events(first)
    again = run("adwarm_daily_insights", {"day": DAY})

    assert (first.state, again.state) == ("success", "success")
    assert sent["adwarm_day_complete", DAY] == {"days": [{"day": DAY, "accounts": 2, "complete": 2}]}
    assert (sent["adwarm_scores", None]["days"], sent["adwarm_scores", None]["accounts"]) == ([DAY], 2)
    assert sent["adwarm_entries", None]["fetched"] == 2
    assert "token" not in json.dumps(list(sent.values()))
    assert _events(again) == {}


@pytest.mark.slow
def test_a_day_that_lacks_an_account_is_not_complete(run: Run) -> None:
    """While one of two accounts is not scored, scores are an event and the complete day is none; then it is."""
    day = "2013-01-14"
    part = _events(run("adwarm_daily_insights", {"day": day, "accounts": ["act_77"]}))
    rest = _events(run("adwarm_daily_insights", {"day": day, "accounts": ["act_78"]}))

    assert ("adwarm_scores", None) in part
    assert ("adwarm_day_complete", day) not in part
    assert ("adwarm_day_complete", day) in rest


@pytest.mark.slow
def test_reading_and_training_are_events(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the log and training send events; a run that finds the log unchanged sends none."""
    monkeypatch.setenv("ADWARM_FORECAST__MODEL", "population")
    after_the_log = NOW.replace(year=2014)
    first = _events(run("adwarm_access_patterns", {"train_now": True}, after_the_log))
    again = _events(run("adwarm_access_patterns", {}, after_the_log))

    assert first["adwarm_aggregates", None]["opens"] > 0
    assert first["adwarm_forecast", None]["trained_until"] <= after_the_log.isoformat()
    assert again == {}


def test_an_event_of_arrived_data_is_recorded(home: Runtime) -> None:
    """An event that names an account and days marks them; one that names neither changes nothing."""
    from adwarm.store import data_arrivals
    from adwarm_airflow.tasks.warming import record_arrivals

    now = home.clock.now()
    good = SimpleNamespace(extra={"account_id": "act_77", "days": "2026-01-01..2026-01-02"}, timestamp=now)
    bad = SimpleNamespace(extra={}, timestamp=now)
    context = {
        "dag_run": SimpleNamespace(run_type="asset_triggered"),
        "triggering_asset_events": {assets.DATA_ARRIVED: [good, bad]},
    }

    assert record_arrivals(context, home)
    pending = data_arrivals.list_pending(home.engine, now - timedelta(hours=1))
    assert [(item.account_id, str(item.day), item.origin) for item in pending] == [
        ("act_77", "2026-01-01", "asset:adwarm_data_arrived"),
        ("act_77", "2026-01-02", "asset:adwarm_data_arrived"),
    ]


def test_every_document_says_what_a_reader_needs(dags: dict[str, Any]) -> None:
    """Each DAG's document has the four headings and is short, and each task has a document."""
    for dag in dags.values():
        text = str(dag.doc_md)
        for heading in ("Inputs", "Outputs", "Knobs", "Failure modes"):
            assert f"#### {heading}\n" in text, (dag.dag_id, heading)
        assert len(text.splitlines()) <= 45
        assert [task.task_id for task in dag.tasks if not task.doc_md] == []


def test_assets_are_plain_declarations() -> None:
    """Names and addresses are what users write in their own DAGs."""
    declared = [item for item in vars(assets).values() if isinstance(item, Asset)]

    assert {item.name for item in declared} >= {"adwarm_scores", "adwarm_day_complete", "adwarm_data_arrived"}
    assert all(item.uri == f"adwarm://{item.name.removeprefix('adwarm_')}/" for item in declared)
