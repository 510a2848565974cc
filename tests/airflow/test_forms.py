"""What a run's form accepts, what Airflow calls things, and how mapped tasks are named."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.model import PRESETS
from adwarm.serving.drainers import INTERVAL
from adwarm_airflow.declarations import BATCH_LABEL
from adwarm_airflow.params import check_conf, get_lines_param
from adwarm_airflow.tasks.daily import describe_selection

from .test_dags import IDS

ROOT = Path(__file__).resolve().parents[2]
OVERRIDE = "Override parameters on existing runs"


def _merged(dag: Any, conf: dict[str, Any]) -> Any:
    """The params of a run, checked as the scheduler's side checks the form: from the serialized DAG."""
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    return stored.params.deep_merge(conf).validate()


@pytest.mark.slow
@pytest.mark.parametrize("dag_id", sorted(IDS))
def test_a_misspelled_key_ends_a_run_before_anything_is_done(dags: dict[str, Any], dag_id: str) -> None:
    """No task of any DAG gets further than the check, and none is tried again."""
    dag = dags[dag_id]
    name = next(iter(dag.params))
    run = dag.test(logical_date=None, run_conf={name[:2] + name[3:]: dag.params[name]})
    states = {(str(ti.state), ti.try_number) for ti in run.get_task_instances()}

    assert run.state == "failed"
    assert ("failed", 1) in states
    assert states <= {("failed", 1), ("upstream_failed", 0)}


@pytest.mark.parametrize("dag_id", sorted(IDS))
def test_a_configuration_is_refused_in_a_sentence(dags: dict[str, Any], dag_id: str, subtests: pytest.Subtests) -> None:
    """Of each param: its name misspelled, an empty list, and lines that are no account and no date range."""
    dag = dags[dag_id]
    for name in dag.params:
        with subtests.test(name=name):
            assert "pattern" not in json.dumps(dag.params.get_param(name).schema)
            _refuse(dag, {name[:2] + name[3:]: dag.params[name]}, f"did you mean {name}?")
            assert check_conf({"dag": dag, "dag_run": SimpleNamespace(conf={name: dag.params[name]})}) is None
            if "array" in dag.params.get_param(name).schema["type"]:
                _refuse(dag, {name: []}, f"{name} is an empty list; name at least one, or leave it out")
    _refuse(dag, {"zzz": 1}, f"'zzz' is not a param of it; its params are {next(iter(dag.params))}")


def _refuse(dag: Any, conf: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_conf({"dag": dag, "dag_run": SimpleNamespace(conf=conf)})
    assert reason in str(refused.value)
    assert str(refused.value).startswith(f"{dag.dag_id} did nothing: ")


@pytest.mark.parametrize("text", ["last_8d", "2026-13-01..2026-12-01", "yesterday,today", "2026-11-30..2026-11-01"])
def test_a_wrong_date_range_is_refused(dags: dict[str, Any], text: str) -> None:
    """Beside a right one, and also in a run that names no account and would not use it."""
    _refuse(dags["adwarm_strategy_warming"], {"date_ranges": ["yesterday", text]}, "date_ranges: ")


@pytest.mark.parametrize("dag_id", ["adwarm_strategy_warming", "adwarm_daily_insights"])
def test_lines_of_accounts_are_checked(dags: dict[str, Any], dag_id: str) -> None:
    """A line break at the end, which the form sends as an empty line, is accepted; another text is refused."""
    lines = ["act_1", " 22 ", ""]
    check_conf({"dag": dags[dag_id], "dag_run": SimpleNamespace(conf={"accounts": lines})})
    assert get_lines_param({"accounts": lines}, "accounts") == ["act_1", "22"]
    for text in ("act_1, act_2", "a shop", "_1", "act_\u0661", "1" * 65):
        _refuse(dags[dag_id], {"accounts": [text]}, "accounts: account id ")


def test_every_preset_is_accepted_by_the_form(dags: dict[str, Any]) -> None:
    """All presets, and two days, in one run."""
    ranges = [*PRESETS, "2026-11-01..2026-11-30"]

    assert _merged(dags["adwarm_strategy_warming"], {"date_ranges": ranges})["date_ranges"] == ranges


def test_the_form_offers_every_preset_as_a_choice(dags: dict[str, Any]) -> None:
    """A list with examples is a multiple choice in Airflow's form; with all choices removed the form sends null."""
    schema = dags["adwarm_strategy_warming"].params.get_param("date_ranges").schema

    assert schema["type"] == ["null", "array"]
    assert schema["examples"] == list(PRESETS)
    assert schema["values_display"]["last_7d"] == "last 7d"
    assert _merged(dags["adwarm_strategy_warming"], {"date_ranges": None})["date_ranges"] is None


def test_days_are_picked_and_checked(dags: dict[str, Any]) -> None:
    """A date range of one's own is two params of format date, which Airflow's form shows as date pickers."""
    from airflow.exceptions import ParamValidationError

    dag = dags["adwarm_strategy_warming"]
    days = {"first_day": "2026-11-01", "last_day": "2026-11-30"}
    assert {dag.params.get_param(name).schema["format"] for name in days} == {"date"}
    assert days.items() <= _merged(dag, days).items()
    with pytest.raises(ParamValidationError, match="first_day"):
        _merged(dag, {"first_day": "yesterday"})


def test_a_choice_cannot_be_emptied(dags: dict[str, Any]) -> None:
    """Airflow's form marks a param as required by its type; without one an emptied choice is sent as null."""
    params = [dag.params.get_param(name) for dag in dags.values() for name in dag.params]
    choices = [param for param in params if "enum" in param.schema]

    assert len(choices) == 2
    assert {param.schema["type"] for param in choices} == {"string"}


def test_tasks_are_declared_in_the_order_of_their_work(dags: dict[str, Any]) -> None:
    """The reference lists the tasks of a DAG as they are declared, which is an order in which they can run."""
    for dag in dags.values():
        assert [task.label for task in dag.task_group.topological_sort()] == dag.task_ids
    assert dags["adwarm_strategy_warming"].task_ids == ["plan", "warm", "score", "close_run"]
    assert dags["adwarm_access_patterns"].task_ids[:3] == ["read_log", "read_split", "publish_splits"]


def test_the_words_about_the_backfill_form_are_airflows_own(dags: dict[str, Any]) -> None:
    """The check box that the DAG's text and the guide name is called so in the installed Airflow."""
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    words = json.loads((Path(spec.origin).parent / "ui/dist/i18n/locales/en/components.json").read_text("utf-8"))
    guide = (ROOT / "docs/how-to/backfill.md").read_text("utf-8")

    assert words["backfill"]["overrideExistingParams"] == OVERRIDE
    accounts = dags["adwarm_daily_insights"].params.get_param("accounts").description
    for text in (guide, accounts, " ".join(dags["adwarm_daily_insights"].doc_md.split())):
        assert OVERRIDE in text


def test_the_schedule_of_the_queue_is_the_one_that_requests_name(dags: dict[str, Any]) -> None:
    """`adwarm status ID` names the next run by the schedule of the DAG."""
    minutes = int(INTERVAL.total_seconds() // 60)

    assert dags["adwarm_request_queue"].timetable.timetable.expression == f"*/{minutes} * * * *"


def test_every_mapped_task_has_a_name(dags: dict[str, Any]) -> None:
    """A mapped task is named by what it works on, not by a number."""
    mapped = {
        (dag.dag_id, task.task_id): task.map_index_template
        for dag in dags.values()
        for task in dag.tasks
        if type(task).__name__ in {"MappedOperator", "DecoratedMappedOperator"}
    }

    assert len(mapped) == 4
    assert mapped.pop(("adwarm_access_patterns", "read_split")) == "{{ task.op_kwargs['split']['label'] }}"
    assert set(mapped.values()) == {BATCH_LABEL}


def test_a_batch_is_named_by_its_accounts(airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The label has the number of the batch and its first accounts, each once; cut warms do not count."""
    from datetime import UTC, datetime

    from adwarm.model import PlannedWarm, ReportKey, WarmReason, WarmStatus
    from adwarm.runtime import Runtime
    from adwarm.store import warms
    from adwarm_airflow.operators import WarmBatchOperator

    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    now = datetime.now(UTC)

    def row(number: int, **values: Any) -> PlannedWarm:
        key = ReportKey(f"act_{number}", values.pop("date_range", "today"))
        return PlannedWarm(key=key, reason=WarmReason.STRATEGY, decided_at=now, warm_at=now, **values)

    rows = [row(n, batch=1, date_range=name) for n in range(3, 7) for name in ("today", "yesterday")]
    warms.replace_plan(Runtime().engine, "dag/run", [*rows, row(9), row(1, status=WarmStatus.CUT)])
    labels = [
        WarmBatchOperator(task_id="t", batch=n).batch_label(SimpleNamespace(dag_id="dag", run_id="run"))
        for n in (0, 1, 2)
    ]

    assert labels == ["batch 0: act_9", "batch 1: act_3, act_4 and 2 more", "batch 2: none"]


def test_the_accounts_of_a_run_are_described() -> None:
    """Named accounts, all of them, and none known yet."""
    assert describe_selection(["act_1"] * 400, is_named=False) == "400 accounts, none named: every active account"
    assert describe_selection(["act_1"], is_named=True) == "1 account named: act_1"
    assert "no account is known yet" in describe_selection([], is_named=False)
