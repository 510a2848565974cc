"""The first and last task of `adwarm_daily_insights`: the estimate, what a backfill asks for, order in the store."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts, warms

pytestmark = pytest.mark.usefixtures("airflow_home")


class Pushed(dict[str, Any]):
    """The first attempt of a task; keeps what it pushes."""

    try_number = 1

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep it."""
        self[key] = value


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A home of its own with two known accounts."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    made = Runtime(load_settings())
    accounts.save(made.engine, [Account(f"act_{n}", "UTC", "UTC", "EUR") for n in (1, 2)], datetime.now(UTC))
    return made


def _context(kind: str, **params: Any) -> dict[str, Any]:
    day = datetime(2026, 9, 10, tzinfo=UTC)
    run = SimpleNamespace(dag_id="adwarm_daily_insights", run_id=f"{kind}-1", run_type=kind, run_after=day)
    told = {"decision_time": "2026-11-25T12:00:00+00:00", **params}
    return {
        "dag_run": run,
        "params": told,
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
def test_the_first_task_says_what_it_will_take(
    runtime: Runtime, kind: str, frequency: bool, ranges: set[str], summaries: int
) -> None:
    """The estimate is pushed before anything is fetched; a backfill asks for no week unless it is told to."""
    from adwarm_airflow.tasks import daily

    context = _context(kind, frequency=frequency, day="2026-09-10")
    assert daily.plan_day(context)
    found = context["ti"]["estimate"]

    assert _planned(runtime, kind) == ranges
    assert (found["accounts"], found["rows_from"]) == (2, "assumed")
    assert found["days"] >= 2 * runtime.settings.planning.history_days
    assert found["requests"] - summaries == 2 * -(-found["days"] // 2 * 50 // 500)
    assert 0 < found["hours_alone"] < found["hours_shared"]


def test_a_day_the_platform_no_longer_keeps_is_refused(runtime: Runtime) -> None:
    """Older than 37 months: the error names the oldest day there is."""
    from adwarm_airflow.tasks import daily

    with pytest.raises(BadRequest, match="37 months; 2020-01-01 is older"):
        daily.plan_day(_context("manual", day="2020-01-01"))


def test_the_last_task_keeps_order_but_not_in_backfills(runtime: Runtime) -> None:
    """A scheduled run compacts and tells counts; the runs of a backfill leave that to it."""
    from adwarm_airflow.tasks import daily

    assert daily.compact_store(_context("scheduled")) == {
        "compacted": True,
        "months": 0,
        "objects_before": 0,
        "days": 0,
        "orphans": 0,
        "payloads": 0,
        "errors": 0,
    }
    assert daily.compact_store(_context("backfill"))["compacted"] is False
