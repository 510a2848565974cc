"""`adwarm maintain`: runs the steps, shows them, and fails when one fails."""

from pathlib import Path

import pytest

from adwarm.maintenance import steps
from adwarm.maintenance.steps import STEPS
from adwarm.runtime import Runtime
from adwarm.store.database import write_transaction
from adwarm.store.reconciliations import ComparedFigure, insert_figures
from adwarm.store.tables import entry
from tests.wall_clock import WallClock

from .conftest import Adwarm


def test_what_is_due_runs_once(adwarm: Adwarm) -> None:
    """The first run runs every step; the second leaves those whose pass is young, and says until when."""
    first = adwarm("maintain", "--json")
    assert (first.exit_code, [item["step"] for item in first.json["steps"]]) == (0, list(STEPS))
    second = {item["step"]: item for item in adwarm("maintain", "--json").json["steps"]}
    assert second["compact"]["status"] == "skipped"
    assert "due again at" in second["compact"]["reason"]
    assert second["evict_entries"]["status"] == "done"
    assert adwarm("maintain", "--step", "compact", "--json").json["steps"][0]["status"] == "done"


def test_the_steps_are_shown(adwarm: Adwarm, wall_clock: WallClock) -> None:
    """Before any run each step is listed as never run; then `--list` and `status` show what it did last."""
    assert adwarm("maintain", "--list").stdout.count("never run") == len(STEPS)
    adwarm("maintain")
    now = wall_clock.now()
    figure = ComparedFigure(
        now,
        "act_1",
        "levels",
        now.date(),
        now.date(),
        "spend",
        2.0,
        1.0,
        True,
    )
    insert_figures(Runtime().engine, [figure])
    fields = adwarm("status", "--json").json["maintenance"]
    assert [item["step"] for item in fields["steps"]] == list(STEPS)
    assert [item["account_id"] for item in fields["differences"]] == ["act_1"]
    shown = adwarm("maintain", "--list").stdout
    assert "never run" not in shown
    assert "differ from the platform's" in shown
    assert "Maintenance" in adwarm("status").stdout


def test_a_degraded_answer_is_repaired(adwarm: Adwarm) -> None:
    """A degraded entry is requested; once the queue was drained it is whole again."""
    adwarm("warm", "act_1", "--range", "last_7d")
    with write_transaction(Runtime().engine) as connection:
        connection.execute(entry.update().values(degraded=True, degraded_reason="damaged"))
    result = adwarm("maintain", "--step", "repair_degraded", "--json").json["steps"][0]
    assert result["counts"] == {"requested": 1}
    assert Runtime().queue_worker().drain(60).completed == 1
    assert adwarm("maintain", "--step", "repair_degraded", "--json").json["steps"][0]["counts"] == {}


def test_a_failing_step_stops_no_other(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The others run, the exit code is 1, and the error is shown."""

    def fail(context: object) -> object:
        def step(cursor: object, budget: object) -> object:
            raise OSError("disk full")

        return step

    monkeypatch.setattr(steps, "make_compact", fail)
    result = adwarm("maintain", "--json")
    by_name = {item["step"]: item["status"] for item in result.json["steps"]}
    assert (result.exit_code, by_name["compact"], by_name["apply_retention"]) == (1, "failed", "done")
    shown = [item["error"] for item in adwarm("maintain", "--list", "--json").json["steps"] if item["error"]]
    assert shown == ["OSError: disk full"]


def test_an_unknown_step_is_refused(adwarm: Adwarm) -> None:
    """The error lists the steps."""
    result = adwarm("maintain", "--step", "vacuum")
    assert result.exit_code == 1
    assert "'vacuum' is no step of maintenance; the steps are check_health" in result.stderr
