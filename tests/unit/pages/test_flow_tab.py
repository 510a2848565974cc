"""The tab Flow: what each tile shows of stored rows, on either database, and hostile names as text."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table

from adwarm.maintenance.platform_watch import NOTHING, STEP
from adwarm.model import CallCause, CauseKind
from adwarm.pages.views.flow_tab import TABS
from adwarm.store import capacity, gates, maintenance_steps, partitions, reconciliations, requests
from adwarm.store.database import write_transaction
from adwarm.store.denials import refuse_fields
from adwarm.store.error_events import ErrorEvent
from adwarm.store.healing_runs import HealingRun, HealingStore
from adwarm.store.read_traffic import count_calls
from tests.support.gate_rows import breaker_row, isolation_row, park_row
from tests.unit.pages.conftest import START, Page

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOW = START.timestamp()
HOSTILE = "<img src=x onerror=alert(1)>"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;"


def _insert(page: Page, table: Table, *rows: dict[str, Any]) -> None:
    with write_transaction(page.runtime.engine) as connection:
        connection.execute(table.insert(), list(rows))


def _text(html: str) -> str:
    """Return HTML with single spaces."""
    return " ".join(html.split())


def _scope(name: str, **more: Any) -> dict[str, Any]:
    return {"scope": name, "usage": None, "state": {}, **more}


def _request(number: int, status: str, **more: Any) -> dict[str, Any]:
    return {
        "account_id": f"act_{number}",
        "date_range": "yesterday",
        "priority": 0,
        "status": status,
        "enqueued_at": START - number * MINUTE,
        "deadline": START + HOUR,
        "finished_at": None,
        "error": None,
        **more,
    }


def test_limits_are_shown_now_and_over_time(page: Page) -> None:
    """Shared scopes have a line each, accounts have none, and the charts are also text."""
    meter = {"meter": [3_600.0, 91.0, NOW, 0.01]}
    _insert(page, capacity.capacity_scope, _scope("app:7", usage=91.0, state=meter), _scope("account:act_1"))
    samples = [
        {
            "at": START - hours * HOUR,
            "scope": "app:7",
            "limit": 4.0 + hours,
            "in_flight": 0,
            "usage": 50.0,
            "is_parked": False,
        }
        for hours in range(3)
    ]
    _insert(page, capacity.capacity_sample, *samples)
    cause = CallCause(CauseKind.FORECAST)
    count_calls(page.runtime.engine, START, "act_1", cause, calls=90, throttles=2, postponed=7)
    text = _text(page.tile("flow", "limits"))
    assert "throttled 2 of 90 calls" in text
    assert "own limits and gates put 7 fetches off" in text
    assert "the app 7</th>" in text
    assert "91%" in text
    assert "nearly used up" in text
    assert "limit 4 to 6, quota 50 to 50%, paused in 0 of 3 samples" in text
    assert "act_1" not in text


def test_limits_without_samples_say_who_takes_them(page: Page) -> None:
    """Before the first sample the tile names the step that takes them."""
    _insert(page, capacity.capacity_scope, _scope("fleet"))
    assert "adwarm_maintenance" in page.tile("flow", "limits")


def test_closed_gates_say_who_closed_and_what_opens_them(page: Page) -> None:
    """Shared scopes come first; a pause that is over, and what may be called, is not shown."""
    since, until = NOW - 60, NOW + 600
    _insert(
        page,
        gates.table,
        park_row("account:act_1", until, HOSTILE, since),
        park_row("app:7", until, HOSTILE, since),
        park_row("token:old", NOW - 1),
        breaker_row("source:meta", "closed", since, until),
        breaker_row("source:meta account:act_2", "open", since, until, HOSTILE),
        breaker_row("source:meta account:act_3", "closed", since, until),
        isolation_row("connection:x", "open", since, until, "Denied"),
        isolation_row("connection:y", "closed", since, until, "Denied"),
    )
    text = _text(page.tile("flow", "gates"))
    assert text.index("the app 7") < text.index("the account act_1")
    assert "2026-03-04 10:10 UTC, in 10 min" in text
    assert "meta, the account act_2</th><td>calls that failed" in text
    assert "the connection x</th><td>work that kept failing" in text
    assert ESCAPED in text
    assert not any(name in text for name in ("token:old", "access token", "act_3", "connection y"))


def test_the_queue_is_counted_by_class_with_the_oldest_wait(page: Page) -> None:
    """Requests past their deadline do not count; those in work are counted apart."""
    late = _request(50, "pending", deadline=START - MINUTE)
    _insert(page, requests.table, _request(1, "pending"), _request(5, "pending"), _request(2, "processing"), late)
    text = _text(page.tile("flow", "queue"))
    assert '<td class="num">2</td><td class="num">1</td><td>5 min</td>' in text
    assert "2 of at most" in text


def test_dead_requests_say_how_they_ended(page: Page) -> None:
    """Failed, expired and dropped requests of the last day are listed with their error; answered ones are not."""
    ended = {"finished_at": START - MINUTE}
    _insert(
        page,
        requests.table,
        _request(1, "failed", error=HOSTILE, **ended),
        _request(2, "completed", **ended),
        _request(3, "shed", finished_at=START - 30 * HOUR),
    )
    text = page.tile("flow", "dead")
    assert "act_1 yesterday" in text
    assert ESCAPED in text
    assert "act_2" not in text
    assert "act_3" not in text


def test_grants_are_counted_by_worker(page: Page) -> None:
    """The calls of a worker are counted by class; expired grants are left out."""
    grant = {
        "scopes": [],
        "cost": 1.0,
        "source": "meta",
        "counted": True,
        "granted_at": NOW - 30,
        "expires_at": NOW + 60,
    }
    rows = [{**grant, "id": str(number), "owner": HOSTILE, "priority": 3, "probe": number == 0} for number in range(3)]
    old = {**grant, "id": "old", "owner": "gone", "priority": 0, "probe": False, "expires_at": NOW - 1}
    _insert(page, capacity.capacity_grant, *rows, old)
    text = _text(page.tile("flow", "grants"))
    assert f'{ESCAPED}</th><td>low: warming (test calls: 1)</td><td class="num">3</td>' in text
    assert "gone" not in text


def test_a_loaded_machine_is_named(page: Page) -> None:
    """Each machine of the last hour has its load and what that means for its calls; older ones are left out."""
    load = {
        "machine": HOSTILE, "read_at": NOW - 5, "memory_percent": 83.4, "cpu_percent": None, "cpu_busy": 1.0,
        "cpu_total": 2.0, "is_high": True, "since": NOW, "calls": 8, "limit": 4, "full": 8, "limited_at": NOW - 120,
    }  # fmt: skip
    calm = {"machine": "calm", "cpu_percent": 12.0, "limit": None, "full": None, "limited_at": None}
    _insert(page, capacity.machine_load, load, {**load, **calm}, {**load, "machine": "gone", "read_at": NOW - 3_601})
    text = _text(page.tile("flow", "grants"))
    assert f'{ESCAPED}</th><td class="num">83%</td><td class="num">not known yet</td>' in text
    assert (
        '<span class="warn">it may make 4 calls at a time, and those that a reader waits for</span>, limited since'
        in text
    )
    assert "its calls are not limited" in text
    assert "gone" not in text


def test_errors_are_counted_and_the_newest_are_shown(page: Page) -> None:
    """Errors of the last day by kind and source, each with a next step; messages are text."""
    errors = page.services.errors
    for minutes, kind in ((1, "Transient"), (2, "Transient"), (3, "Denied"), (30 * 60, "Blocked")):
        errors.record(ErrorEvent(START - minutes * MINUTE, "meta", kind, HOSTILE, account_id=f"act_{minutes}"))
    errors.record(ErrorEvent(START, "meta", "VersionEnded", "(#2635)", connection="eu"))
    text = _text(page.tile("flow", "errors"))
    assert "api_version of the connection eu," in text
    assert (
        'temporary failure</th><td>meta</td><td class="num">2</td><td class="num">2</td><td class="time">60 s ago</td>'
        in text
    )
    assert "adwarm gate open account:ACCOUNT" in text
    assert ESCAPED in text
    assert "blocked" not in text.lower()


def test_healing_shows_results(page: Page) -> None:
    """The newest actions of the last day, with what they did."""
    run = HealingRun(START - MINUTE, "token_refresh", "connection:x", "meta", "TokenDead", True, HOSTILE)
    HealingStore(page.runtime.engine).finish("x", succeeded=True, detail=HOSTILE, run=run)
    text = page.tile("flow", "healing")
    assert "token refresh" in text
    assert ESCAPED in text


def test_an_empty_tile_says_something(page: Page, subtests: pytest.Subtests) -> None:
    """Over an empty installation each tile says that there is nothing, and none fails."""
    for tile in TABS[0].tiles:
        with subtests.test(tile=tile):
            assert 'class="empty"' in page.tile("flow", tile.name)


def test_versions_tokens_and_use_are_shown(page: Page) -> None:
    """Each connection with the end of its version and token, each app with its calls; before, who reads them."""
    assert "adwarm_maintenance" in page.tile("flow", "platform")
    facts = {
        **NOTHING,
        "alerted": [],
        "credential": "c",
        "app": "app:7",
        "asked": "v25.0",
        "ends": (START + 90 * DAY).isoformat(),
        "token": [(START + 6 * DAY).isoformat(), None],
        "problems": {},
        "read_at": (START - HOUR).isoformat(),
    }
    state = {HOSTILE: facts}
    count_calls(page.runtime.engine, START - 2 * DAY, "", CallCause(CauseKind.CHECK), calls=100)
    for _ in range(5):
        page.services.errors.record(ErrorEvent(START, "meta", "BadRequest", "no", connection=HOSTILE, code="100"))
    _insert(page, maintenance_steps.table, {"name": STEP, "cursor": state, "started_at": START, "owner": ""})
    refuse_fields(page.runtime.engine, "act_1", "eu", credential="c@v25.0", fields={"spend": "(#100) spend"}, at=START)
    text = _text(page.tile("flow", "platform"))
    assert ESCAPED in text
    assert "<td>version v25.0 of the API ends on" in text
    assert '<td class="warn">the access token ends on' in text
    assert "in 6 days" in text
    assert ">spend</th><td>v25.0</td><td>act_1</td><td>in 7 days</td><td>(#100) spend</td>" in text
    assert "the app 7" in text
    assert "100</td>" in text
    assert "5%</td>" in text


def test_groups_that_do_not_add_up_are_listed(page: Page) -> None:
    """The platform's tile names account, report and days in the words of the answer, and nothing once they add up."""
    figure = {"account_id": "act_1", "comparison": "days", "metric": "spend (default)", "expected": 9.0, "actual": 0.0}
    days = {"since": START.date(), "until": START.date(), "at": START - HOUR, "differs": True}
    _insert(page, reconciliations.table, {**figure, **days})
    day = {
        "account_id": "act_1",
        "day": START.date(),
        "spec_hash": page.runtime.settings.spec("default").hash,
        "object_hash": "a" * 64,
        "rows": 0,
        "content_hash": "b" * 64,
        "fetched_at": START,
        "missing": "groups total: 0 of the 9 impressions of the report plain",
    }
    _insert(page, partitions.table, day)
    text = _text(page.tile("flow", "platform"))
    assert "without breakdowns; 1 in all" in text
    assert f"groups of {START.date()}: 0 of the 9 impressions of the report plain" in text
    _insert(page, reconciliations.table, {**figure, **days, "at": START, "differs": False})
    assert "without breakdowns" not in page.tile("flow", "platform")
