"""The first and last task of `adwarm_daily_insights`: the estimate, the requests of a backfill, compaction."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.fetch_plan import HISTORY_DAYS
from adwarm.foundation.errors import BadRequest
from adwarm.model import Account
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts, warms

pytestmark = pytest.mark.usefixtures("airflow_home")


class Pushed(dict[str, Any]):
    """The first attempt of a task; records its XComs."""

    try_number = 1

    def xcom_push(self, key: str, value: Any) -> None:
        """Record an XCom."""
        self[key] = value


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A home with two known accounts."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    home = Runtime(load_settings())
    accounts.save(home.engine, [Account(f"act_{n}", "UTC", "UTC", "EUR") for n in (1, 2)], datetime.now(UTC))
    return home


def _context(kind: str, **params: Any) -> dict[str, Any]:
    day = datetime(2026, 9, 10, tzinfo=UTC)
    run = SimpleNamespace(dag_id="adwarm_daily_insights", run_id=f"{kind}-1", run_type=kind, run_after=day)
    params_with_time = {"decision_time": "2026-11-25T12:00:00+00:00", **params}
    return {
        "dag_run": run,
        "params": params_with_time,
        "ti": Pushed(),
        "logical_date": day,
        "data_interval_start": day,
        "data_interval_end": day.replace(day=11),
    }


def _planned(runtime: Runtime, kind: str) -> set[str]:
    return {row.key.date_range for row in warms.list_by_run(runtime.engine, f"adwarm_daily_insights/{kind}-1")}


@pytest.mark.parametrize(
    ("kind", "frequency", "ranges", "summaries"),
    [
        ("backfill", False, {"2026-09-10..2026-09-10"}, 0),
        ("backfill", True, {"2026-09-04..2026-09-10"}, 2),
        ("manual", False, {"2026-09-04..2026-09-10"}, 2),
    ],
)
def test_the_first_task_pushes_an_estimate(
    runtime: Runtime, kind: str, frequency: bool, ranges: set[str], summaries: int
) -> None:
    """The estimate is pushed before the first call; a backfill fetches a week only with the param `frequency`."""
    from adwarm_airflow.tasks import daily

    context = _context(kind, frequency=frequency, day="2026-09-10")
    assert daily.plan_day(context)
    cost = context["ti"]["estimate"]

    assert _planned(runtime, kind) == ranges
    assert (cost["accounts"], cost["rows_from"]) == (2, "assumed")
    assert cost["days"] >= 2 * HISTORY_DAYS
    assert cost["requests"] - summaries == 2 * -(-cost["days"] // 2 * 50 // 500)
    assert 0 < cost["hours_alone"] < cost["hours_shared"]


def test_a_run_that_stored_no_day_says_so(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts whose day was planned and not stored are named where their scores would be."""
    from adwarm_airflow.tasks import daily, warming

    said: list[str] = []
    monkeypatch.setattr(warming.log, "warning", lambda text, *words: said.append(text % words))
    context = _context("manual", day="2026-09-10")
    daily.plan_day(context)
    assert warming.score_closed_days(context)["accounts"] == 0
    assert said == ["2 accounts not scored, because this run stored no day of them: act_1, act_2"]


def test_a_run_without_an_account_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """While no connection has listed an account, a run of any kind says that it does nothing, and why."""
    from airflow.sdk.exceptions import AirflowSkipException

    from adwarm_airflow.tasks import daily

    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    for kind in ("scheduled", "manual", "backfill"):
        with subtests.test(kind=kind), pytest.raises(AirflowSkipException, match="no connection has listed one"):
            daily.plan_day(_context(kind))


@pytest.mark.slow
def test_no_run_is_a_success_that_did_nothing(
    dags: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of a day long ago has its tasks, and without an account each of them is skipped."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    conf = {"decision_time": "2004-02-06T00:00:00+00:00"}
    finished = dags["adwarm_daily_insights"].test(logical_date=datetime(2004, 2, 4, tzinfo=UTC), run_conf=conf)
    states = {ti.task_id: str(ti.state) for ti in finished.get_task_instances()}
    assert states == dict.fromkeys(("plan_day", "warm", "score_day", "close_run"), "skipped")


def test_a_backfill_is_not_confirmed_by_default(runtime: Runtime) -> None:
    """While the limit is unset every backfill runs, because the form may not pass the confirmation."""
    from adwarm_airflow.tasks import daily

    assert daily.plan_day(_context("backfill", day="2026-09-10")) == [0]


def test_a_day_the_platform_no_longer_keeps_is_refused(runtime: Runtime) -> None:
    """The error names the oldest day that the platform keeps, 37 months ago."""
    from adwarm_airflow.tasks import daily

    with pytest.raises(BadRequest, match="37 months; 2020-01-01 is older"):
        daily.plan_day(_context("manual", day="2020-01-01"))
