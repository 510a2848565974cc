"""`adwarm maintain`: runs the steps, shows them, and fails when one fails."""

from pathlib import Path

import pytest

from adwarm.maintenance import compaction
from adwarm.maintenance.steps import STEPS
from adwarm.runtime import Runtime
from adwarm.store.database import write_transaction
from adwarm.store.entries import payload
from adwarm.store.entries import table as entry
from adwarm.store.reconciliations import ComparedFigure, insert_figures
from tests.support.wall_clock import WallClock

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
    assert "Maintenance" in adwarm("status", "--all").stdout


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

    monkeypatch.setattr(compaction, "make_compact", fail)
    result = adwarm("maintain", "--json")
    by_name = {item["step"]: item["status"] for item in result.json["steps"]}
    assert (result.exit_code, by_name["compact"], by_name["apply_retention"]) == (1, "failed", "done")
    shown = [item["error"] for item in adwarm("maintain", "--list", "--json").json["steps"] if item["error"]]
    assert shown == ["OSError: disk full"]


def test_an_unknown_step_is_refused(adwarm: Adwarm) -> None:
    """The error lists the steps."""
    result = adwarm("maintain", "--step", "vacuum")
    assert result.exit_code == 1
    assert "'vacuum' is not a step of maintenance; the steps are check_health" in result.stderr


def _damage() -> None:
    with write_transaction(Runtime().engine) as connection:
        connection.execute(payload.update().values(body=b"damaged"))


def test_verify_finds_and_repairs(adwarm: Adwarm) -> None:
    """A damaged payload is listed with exit code 1; after a repair and a warm nothing is damaged."""
    assert "nothing is stored yet" in adwarm("maintain", "--verify").stdout
    adwarm("warm", "act_1", "--range", "last_7d")
    assert "all whole: nothing is damaged" in adwarm("maintain", "--verify").stdout
    _damage()
    found = adwarm("maintain", "--verify", "--json")
    assert (found.exit_code, len(found.json["corrupt"])) == (1, 1)
    assert "1 damaged or unreadable" in adwarm("maintain", "--verify", "--repair").stdout
    adwarm("warm", "act_1", "--range", "last_7d")
    assert adwarm("maintain", "--verify", "--json").json["corrupt"] == []


def test_verify_counts_by_kind(adwarm: Adwarm) -> None:
    """Each kind has its checked, damaged and repaired; status and its JSON show what is open and what was healed."""
    adwarm("warm", "act_1", "--range", "last_7d")
    _damage()
    kinds = {kind["kind"]: kind for kind in adwarm("maintain", "--verify", "--repair", "--json").json["kinds"]}
    assert set(kinds) == {"snapshot", "aggregate", "partition", "entry"}
    assert [kinds["entry"][name] for name in ("checked", "damaged", "repaired")] == [1, 1, 1]
    assert [kinds["partition"][name] for name in ("checked", "damaged", "repaired")] == [1, 0, 0]
    shown = adwarm("status", "--all")
    assert "Integrity, last 7 days" in shown.stdout
    assert "Damaged data that is not replaced yet" in shown.stdout
    adwarm("warm", "act_1", "--range", "last_7d")
    integrity = adwarm("status", "--json").json["integrity"]
    assert (integrity["damaged"], integrity["healed"], integrity["open"]) == (1, 1, 0)
    assert (integrity["open_items"], integrity["last_full_pass"]) == ([], None)


def test_what_verify_finds_is_in_the_error_history_and_raises_an_alert(
    adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged entry is an error of stored data with its report and account; its rule makes an alert of it."""
    monkeypatch.setenv("ADWARM_ALERTS__RULES", '[{"kind": "Corrupt", "threshold": 1}]')
    adwarm("warm", "act_1", "--range", "last_7d")
    _damage()
    adwarm("maintain", "--verify")
    (event,) = adwarm("errors", "--json").json
    assert [event[name] for name in ("source", "kind", "account_id")] == ["store", "Corrupt", "act_1"]
    assert "last_7d" in event["subject"]
    (alert,) = adwarm("errors", "--alerts", "--json").json
    assert (alert["kind"], alert["scope"]) == ("Corrupt", "account:act_1")


def test_damage_that_a_reader_meets_is_in_the_error_history(adwarm: Adwarm) -> None:
    """A damaged entry that a reader meets is recorded once, and clearing the caches is in the history of healing."""
    adwarm("warm", "act_1", "--range", "last_7d")
    _damage()
    adwarm("get", "act_1", "last_7d")
    (event,) = adwarm("errors", "--json").json
    assert (event["kind"], event["account_id"]) == ("Corrupt", "act_1")
    assert [run["action"] for run in adwarm("status", "--json").json["healing"]] == ["cache_clear"]
