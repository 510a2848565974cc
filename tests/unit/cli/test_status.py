"""`adwarm status`: what is stored, the forecast, the newest review, limits, parked scopes and breakers."""

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant
from adwarm.cli.status import _forecast_fields, _review_fields
from adwarm.cli.status_parts import FIGURES
from adwarm.forecast.training.metrics import Metrics
from adwarm.model import PolicyReview, Priority, Scope, Snapshot, WarmStatus
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import write_transaction
from adwarm.store.alerts import list_alerts
from adwarm.store.healing_runs import HealingRun, HealingStore
from adwarm.store.snapshots import insert_snapshot, record_choice, save_review, set_policy

from .conftest import Adwarm

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """A home with a live forecast."""
    made = Runtime(Settings(home=tmp_path))
    snapshot = Snapshot(
        id="a" * 64,
        kind="population",
        version="1",
        object_hash="f" * 64,
        trained_from=NOW,
        trained_until=NOW,
        keys=3,
        features=(),
        metrics={"ece": 0.1},
        created_at=NOW,
    )
    with write_transaction(made.engine) as connection:
        insert_snapshot(connection, snapshot)
        set_policy(connection, "a" * 64, NOW)
    return made


def test_status_shows_what_is_stored(adwarm: Adwarm) -> None:
    """Empty at first; after a warm and a read it shows entries, traffic and limits, as tables and as JSON."""
    assert adwarm("status", "--json").json["entries"]["entries"] == 0
    adwarm("warm", "act_1", "--range", "yesterday")
    adwarm("get", "act_1", "yesterday")
    document = adwarm("status", "--json").json
    assert (document["entries"]["entries"], document["traffic_24h"]["hits"]) == (1, 1)
    (cause,) = document["calls_24h"]["causes"]
    assert (cause["cause"], cause["calls"]) == ("manual", document["traffic_24h"]["upstream_calls"])
    assert document["forecast"]["live"] is None
    (machine,) = document["machines"]
    assert (machine["memory_percent"], machine["limit"]) == (10.0, None)
    shown = adwarm("status", "--all")
    assert shown.exit_code == 0
    assert "its calls are not limited" in " ".join(shown.stdout.split())
    assert all(
        title in shown.stdout
        for title in ("Stored", "Warms", "Forecast", "Last 24 hours", "Calls to the platform", "Jobs", "Limits")
    )


def test_status_is_a_verdict_and_five_lines(adwarm: Adwarm) -> None:
    """Empty, it says what to do; after a read, with warming switched off, who did that."""
    empty = adwarm("status").stdout.splitlines()
    assert (len(empty), empty[0].startswith("Nothing is stored.")) == (6, True)
    assert empty[-1].startswith("  To do:    Run the DAG adwarm_intelligent_warming")
    adwarm("warm", "act_1", "--range", "yesterday")
    adwarm("get", "act_1", "yesterday")
    adwarm("gate", "switch", "warming", "off", "--why", "the sale")
    shown = adwarm("status").stdout.splitlines()
    assert [line.split(":")[0].strip() for line in shown[1:]] == ["Worth", "Cost", "Work", "Forecast", "To do"]
    assert shown[0].startswith("Warming is switched off")
    assert shown[1].endswith("nobody opened a report through adwarm in the last 7 days")


def test_each_figure_is_explained(adwarm: Adwarm) -> None:
    """Each name of the parts that list figures has words, and they are printed beside it; no words are left over."""
    document, shown = adwarm("status", "--json").json, adwarm("status", "--all").stdout
    known = {
        **{part: set(document[part]) for part in ("entries", "traffic_24h")},
        "warms": {*WarmStatus, *document["warms"]},
        "integrity": {*document["integrity"]} - {"open_items"},
    }
    assert {part: set(FIGURES[part]) for part in known} == known
    assert {item.name for item in fields(Metrics)} < set(FIGURES["forecast"])
    assert all(FIGURES[part][name] in shown for part in ("entries", "traffic_24h", "integrity") for name in known[part])


def test_status_shows_what_compression_saves(adwarm: Adwarm) -> None:
    """Nothing at first; after a warm and a read, in other processes, the bytes saved, by codec and in total."""
    assert "nothing was compressed" in adwarm("status", "--all").stdout
    adwarm("warm", "act_1", "--range", "last_30d")
    adwarm("get", "act_1", "last_30d")
    totals = adwarm("status", "--json").json["compression_7d"]
    stored = adwarm("status", "--json").json["entries"]
    [zstd] = [item for item in totals["codecs"] if item["codec"] == "zstd"]
    assert (zstd["packed"], zstd["unpacked"] >= 1, totals["errors"]) == (1, True, 0)
    assert (zstd["raw_bytes"], zstd["saved_bytes"] > 0) == (stored["raw_bytes"], True)
    assert 0 < zstd["ratio"] < 1
    assert 0 < zstd["median_pack_ms"] == zstd["p95_pack_ms"]
    assert 0 < zstd["median_unpack_ms"] <= zstd["p95_unpack_ms"]
    assert "Compression of the last 7 days" in adwarm("status", "--all").stdout


def _settle(runtime: Runtime, scope: str, outcome: CallOutcome) -> None:
    decision = runtime.admission.admit(CallRequest((Scope.parse(scope),), Priority.HIGH, "meta"))
    assert isinstance(decision, Grant)
    runtime.admission.release(decision, outcome)


def test_status_shows_limits_parks_and_breakers(adwarm: Adwarm) -> None:
    """It shows calls in flight by class, parked scopes with times and reason, and open breakers with their cause."""
    quiet = adwarm("status", "--all").stdout
    runtime = Runtime()
    for _ in range(runtime.settings.backpressure.breaker_min_calls - 1):
        _settle(runtime, "account:act_2", CallOutcome(CallOutcomeKind.FAILED))
    runtime.admission.admit(CallRequest((Scope.parse("account:act_3"),), Priority.LOW, "meta"))
    _settle(runtime, "account:act_1", CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))
    _settle(runtime, "account:act_2", CallOutcome(CallOutcomeKind.FAILED))
    parked, breaker = adwarm("status", "--json").json["gates"]
    shown = adwarm("status", "--all").stdout

    assert "every scope may be called" in quiet
    assert (parked["scope"], parked["rule"], parked["opened_by"]) == ("account:act_1", "park", "time")
    assert (breaker["scope"], breaker["state"], breaker["opened_by"]) == (
        "source:meta account:act_2",
        "closed",
        "probes",
    )
    assert parked["since"] < parked["until"]
    assert parked["why"]
    assert breaker["why"]
    assert all(words in shown for words in ("low 1", "act_1", "throttled", breaker["why"].split()[0]))


def test_many_parked_accounts_do_not_hide_the_rest(adwarm: Adwarm) -> None:
    """The first of many parked accounts are shown, with their number."""
    adwarm("status", "--all")
    runtime = Runtime()
    for number in range(25):
        _settle(runtime, f"account:act_{number}", CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))

    assert "the first 20 of 25" in adwarm("status", "--all").stdout


def test_an_overlong_park_is_cut_and_alerts(adwarm: Adwarm) -> None:
    """A park of a billion minutes is cut to a day, status shows it, and the scopes of a source make one alert."""
    adwarm("status", "--all")
    runtime = Runtime()
    for account in ("act_0", "act_1"):
        _settle(runtime, f"account:{account}", CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=6e10))
    shown = adwarm("status", "--json").json["gates"]

    raised = list_alerts(runtime.engine)
    assert [(alert.scope, alert.kind, alert.errors) for alert in raised] == [("meta", "OverlongPark", 1)]
    assert "at most 86,400 s" in raised[0].reason
    assert [gate["until"] < "2100" for gate in shown] == [True, True]


def test_who_chose_the_kind_is_shown(runtime: Runtime) -> None:
    """The choice is empty while training made it; otherwise it has name, time and reason."""
    assert "chosen_by" not in _forecast_fields(runtime)
    with write_transaction(runtime.engine) as connection:
        record_choice(connection, "population", by="ada", why="it promises less", at=NOW)
    found = _forecast_fields(runtime)
    assert (found["kind"], found["chosen_by"], found["chosen_at"], found["chosen_why"]) == (
        "population",
        "ada",
        NOW,
        "it promises less",
    )


def test_the_newest_review_is_named(runtime: Runtime) -> None:
    """It shows verdict, reason and page; before the first review, the DAG that runs it."""
    assert "adwarm_policy_review" in _review_fields(runtime)["why"]
    with write_transaction(runtime.engine) as connection:
        save_review(
            connection,
            PolicyReview(
                run_id="r",
                at=NOW,
                result="kept",
                live_kind="population",
                proposed_kind=None,
                proposed_snapshot=None,
                page="/reports/review.html",
                figures={"why": "nothing is better"},
            ),
        )
    found = _review_fields(runtime)
    assert (found["verdict"], found["why"], found["report"]) == ("kept", "nothing is better", "/reports/review.html")
    assert "decided_by" not in found


def test_status_shows_what_is_isolated_and_healed(adwarm: Adwarm) -> None:
    """Nothing at first; then since when, why and until when, and each healing action with its result."""
    assert {name: adwarm("status", "--json").json[name] for name in ("gates", "healing")} == {
        "gates": [],
        "healing": [],
    }
    assert "Not called now: nothing" in adwarm("status", "--all").stdout
    runtime = Runtime()
    for _ in range(5):
        runtime.isolation.record("connection:main", failed=True, reason="TokenDead: expired", kind="TokenDead")
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    run = HealingRun(at, "token_refresh", "main", "meta", "TokenDead", False, "the token is the same", 0.5, "worker")
    HealingStore(runtime.engine).finish("token_refresh:main", succeeded=False, detail=run.detail, run=run)

    document = adwarm("status", "--json").json
    (isolated,), (healing,) = document["gates"], document["healing"]
    assert (isolated["scope"], isolated["state"], isolated["opened_by"]) == ("connection:main", "closed", "credential")
    since, until = (datetime.fromisoformat(isolated[name]) for name in ("since", "until"))
    assert (until - since).total_seconds() == 300
    assert (healing["action"], healing["scope"], healing["succeeded"]) == ("token_refresh", "main", False)
    shown = adwarm("status", "--all").stdout
    assert all(text in shown for text in ("connection:main", "TokenDead: expired", "the token is the same"))
