"""The tab Now: what each tile shows of stored rows, on either database, and hostile names as text."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table

from adwarm.model import CallCause, CauseKind
from adwarm.pages.views.now_tab import TABS
from adwarm.store import (
    alerts,
    capacity,
    entries,
    gates,
    jobs,
    maintenance_steps,
    read_traffic,
    snapshots,
    warms,
)
from adwarm.store.database import write_transaction
from adwarm.store.read_traffic import count_calls
from adwarm.store.switches import Switch, SwitchState, set_switch
from tests.support.gate_rows import breaker_row, park_row
from tests.unit.pages.conftest import START, Page

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOSTILE = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


def _insert(page: Page, table: Table, *rows: dict[str, Any]) -> None:
    with write_transaction(page.runtime.engine) as connection:
        connection.execute(table.insert(), list(rows))


def _text(html: str) -> str:
    """Return HTML with single spaces."""
    return " ".join(html.split())


def _warm(**changes: Any) -> dict[str, Any]:
    fetched: datetime = changes.pop("fetched_at", START - 2 * HOUR)
    base = {"run_id": "dag/run", "account_id": "act_1", "date_range": "yesterday", "reason": "predicted_open"}
    more = {"mode": "live", "decided_at": fetched, "warm_at": fetched, "status": "fetched", "fetched_at": fetched}
    return {**base, **more, "expires_at": fetched + 4 * HOUR, "requests": 2, **changes}


def _warms(page: Page, *changes: dict[str, Any]) -> None:
    columns = {"used": None, "first_use": None, "superseded_by": None}
    _insert(page, warms.table, *[_warm(**{**columns, **change}) for change in changes])


def _entry(page: Page, *, degraded: str | None) -> None:
    _insert(page, entries.payload, {"hash": "0" * 64, "body": b"", "created_at": START})
    row = {
        "account_id": "act_1",
        "since": START.date(),
        "until": START.date(),
        "spec_hash": "s",
        "date_range": "today",
        "report": "default",
        "payload_hash": "0" * 64,
        "content_hash": "1" * 64,
        "codec": "zstd",
        "raw_bytes": 1,
        "stored_bytes": 1,
        "fetched_at": START - HOUR,
        "expires_at": START + HOUR,
        "source": "meta",
        "degraded": degraded is not None,
        "degraded_reason": degraded,
    }
    _insert(page, entries.table, row)


def test_the_first_open_hit_ratio_of_a_day_and_a_week(page: Page) -> None:
    """Only readers count; the day and the week have their own ratios; hours without opens are gaps."""
    engine = page.runtime.engine
    read_traffic.increment(engine, START, "act_1", "human", first_opens=4, first_hits=3)
    read_traffic.increment(engine, START - 3 * DAY, "act_1", "embedded", first_opens=6, first_hits=3)
    read_traffic.increment(engine, START, "act_1", "warmer", first_opens=100)
    text = _text(page.tile("now", "hits"))
    assert '75%</span><span class="label">last 24 hours</span><span class="hint">4 first opens' in text
    assert '60%</span><span class="label">last 7 days</span><span class="hint">10 first opens' in text
    assert "10:00 75%" in text


def test_the_last_24_hours_are_the_same_hours_in_every_figure(page: Page) -> None:
    """Headline, tile and `adwarm status` count this hour and the 23 before it, also at a full hour."""
    engine = page.runtime.engine
    read_traffic.increment(engine, START - DAY, "act_1", "human", first_opens=30, first_hits=30)
    read_traffic.increment(engine, START - DAY + HOUR, "act_1", "human", first_opens=7)
    _entry(page, degraded=None)
    headline = page.tile("now", "headline")
    assert "Too few opens to tell" in headline
    assert "0% of 7 first opens" in headline
    assert '0%</span><span class="label">last 24 hours</span><span class="hint">7 first opens' in _text(
        page.tile("now", "hits")
    )
    assert read_traffic.get_day_totals(engine, START)["first_opens"] == 7


def test_the_headline_says_who_switched_warming_off(page: Page) -> None:
    """The state, the reason with a hostile name as text, and the switch are in the first tile."""
    set_switch(page.runtime.engine, SwitchState(Switch.WARMING, False, START - HOUR, HOSTILE, "the sale"))
    text = _text(page.tile("now", "headline"))
    assert "Warming is switched off" in text
    assert f"{ESCAPED} switched it off 60 min ago: the sale." in text
    assert HOSTILE not in text


def test_the_headline_knows_breakers_pauses_and_the_queue(page: Page) -> None:
    """A breaker of a source is stuck; one of an account is not, and neither is an account's pause."""
    _entry(page, degraded=None)
    now = START.timestamp()
    _insert(
        page, capacity.capacity_scope, *({"scope": name, "state": {}} for name in ("account:act_1", "app:7", "fleet"))
    )
    _insert(page, gates.table, breaker_row("source:meta account:act_1", "open", now, now + 600))
    _insert(page, gates.table, park_row("account:act_1", now + 600))
    read_traffic.increment(page.runtime.engine, START, "act_1", "human", first_opens=20, first_hits=20)
    assert "The cache is warm." in page.tile("now", "headline")
    _insert(page, gates.table, park_row("app:7", now + 600))
    assert "calls of the app 7 are paused" in page.tile("now", "headline")
    _insert(page, gates.table, park_row("fleet", now + 1200, "told to"))
    text = page.tile("now", "headline")
    assert all(words in text for words in ("calls of all accounts together are paused", "told to; calls pause until"))
    _insert(page, gates.table, breaker_row("source:meta", "open", now, now + 600))
    assert "Stuck: meta does not answer." in page.tile("now", "headline")


def test_efficiency_is_used_of_marked_warms(page: Page) -> None:
    """Replaced and unknown warms are not marked; shadow warms are shown apart; the age is about the median."""
    age = START - 2 * HOUR + timedelta(minutes=20)
    _warms(
        page,
        *[{"used": True, "first_use": age}] * 3,
        {"used": False},
        {"superseded_by": 1},
        {},
        {"mode": "shadow", "status": "shadow", "used": False},
        {"used": True, "first_use": age, "fetched_at": START - 9 * DAY},
    )
    text = _text(page.tile("now", "efficiency"))
    assert '75%</span><span class="label">of warmed reports were opened while fresh' in text
    numbers = ("3", "1", "1", "1", "22 min")
    assert " ".join(f'<td class="num">{number}</td>' for number in numbers) in text.replace("</td><td", "</td> <td")
    assert "a reader is expected (shadow, not fetched)" in text


def test_warming_everything_is_of_a_whole_day(page: Page) -> None:
    """It needs a forecast and fetches; later fetches and calls do not change it, and it is not below what was made."""
    engine, yesterday = page.runtime.engine, START - DAY
    count_calls(engine, START, "act_1", CallCause(CauseKind.STRATEGY, "<board>"), calls=5)
    count_calls(engine, START, "", CallCause(CauseKind.CHECK), calls=2)
    count_calls(engine, yesterday - 11 * HOUR, "act_1", CallCause(CauseKind.BACKFILL), calls=30)
    count_calls(engine, yesterday, "act_1", CallCause(CauseKind.FORECAST), calls=4)
    _warms(page, {"fetched_at": yesterday}, {"fetched_at": yesterday})
    text = _text(page.tile("now", "calls"))
    assert '<td class="num">7</td>' in text
    for number, words in ((5, "strategy &lt;board&gt;"), (2, "checks: accounts")):
        assert f'{words}</th><td class="num">{number}</td>' in text.replace(", health, capacity and reconciliation", "")
    assert "Warming everything" not in text
    snapshot = {
        "id": "s",
        "kind": "boosted",
        "version": "1",
        "object_hash": "h",
        "trained_from": yesterday,
        "trained_until": yesterday,
        "keys": 10,
        "features": [],
        "metrics": {},
        "created_at": yesterday,
    }
    _insert(page, snapshots.forecast_snapshot, snapshot)
    day = _text(page.tile("now", "calls")).partition("On 2026-03-03 in UTC")[2]
    assert '<td class="num">4</td>' in day  # the backfill was on the day before
    assert "10 reports × 2.0, every 4.0 h" in day
    assert '<td class="num">about 120</td>' in day
    count_calls(engine, START, "act_1", CallCause(CauseKind.FORECAST), calls=400)
    _warms(page, *[{"requests": 9}] * 5)
    _insert(page, snapshots.forecast_snapshot, {**snapshot, "id": "t", "keys": 2, "created_at": START})
    assert _text(page.tile("now", "calls")).partition("On 2026-03-03 in UTC")[2] == day
    count_calls(engine, yesterday, "act_1", CallCause(CauseKind.FORECAST), calls=300)
    assert '<td class="num">about 310</td>' in _text(page.tile("now", "calls"))


def test_the_most_expensive_reports_are_named(page: Page) -> None:
    """Reports are listed by the calls that their live fetches took, where there are several; one alone is not."""
    _warms(page, {"seconds": 4.0})
    assert "Most expensive" not in page.tile("now", "calls")
    divided = {"report": "<by age>", "requests": 40, "seconds": 90.0}
    _warms(page, {**divided}, {**divided}, {"report": "plain", "mode": "shadow", "seconds": None})
    text = _text(page.tile("now", "calls"))
    first, second = text.index("&lt;by age&gt;"), text.index(">default<")
    assert text.index("Most expensive reports") < first < second
    assert '<td class="num">2</td><td class="num">80</td><td class="num">' in text
    assert ">plain<" not in text


def test_quota_is_shown_for_shared_scopes_and_the_busiest_accounts(page: Page) -> None:
    """Shared scopes come first; of the accounts those that use most; without a figure nothing is claimed."""
    now = START.timestamp()
    rows = [
        {
            "scope": name,
            "usage": usage,
            "state": {"meter": [3_600.0, usage, now, 0.01]} if usage is not None else {},
        }
        for name, usage in [("fleet", None), ("token:x", 80.0), *((f"account:act_{n}", float(n)) for n in range(12))]
    ]
    _insert(page, capacity.capacity_scope, *rows)
    text = _text(page.tile("now", "quota"))
    assert "all accounts together</th><td>not reported" in text
    assert "80%" in text
    assert "act_11</th>" in text
    assert "act_1</th>" not in text


def test_degraded_entries_are_counted_by_reason(page: Page) -> None:
    """The reason is shown as text, with how many entries it concerns and what readers got."""
    _entry(page, degraded=HOSTILE)
    read_traffic.increment(page.runtime.engine, START, "act_1", "human", hits=3, stale=1)
    text = _text(page.tile("now", "stale"))
    assert "1 stored report is degraded now" in text
    assert f"<td>{ESCAPED}</td>" in text
    assert "1 of 4 reads" in text


def test_a_running_job_shows_progress_and_time_left(page: Page) -> None:
    """Half done after ten minutes leaves ten minutes; the link leads to the plan. With nothing left, it ends."""
    engine = page.runtime.engine
    jobs.start(engine, "adwarm_x/manual__1&2", "adwarm_x", 10, START - 10 * HOUR / 60)
    jobs.add_progress(engine, "adwarm_x/manual__1&2", done=4, failed=1, requests=3)
    text = _text(page.tile("now", "jobs"))
    assert "plan?run=adwarm_x%2Fmanual__1%262" in text
    assert "4 of 10" in text
    assert '<td class="num">10 min</td>' in text

    jobs.add_progress(engine, "adwarm_x/manual__1&2", done=5, failed=0, requests=3)
    assert '<td class="num">ends now</td>' in _text(page.tile("now", "jobs"))


def test_a_run_that_never_closed_its_job_does_not_run_forever(page: Page) -> None:
    """Six hours after its start, when Airflow has stopped it at the latest, a run is shown as failed or stopped."""
    jobs.start(page.runtime.engine, "adwarm_x/one", "adwarm_x", 10, START - 7 * HOUR)
    text = _text(page.tile("now", "jobs"))
    assert "No run is going on" in text
    assert "failed or stopped" in text


def test_open_alerts_have_their_next_step(page: Page) -> None:
    """Resolved alerts are left out."""
    alert = {"kind": "Transient", "opened_at": START, "last_at": START, "errors": 1, "window_seconds": 60.0}
    open_one = {**alert, "scope": "meta", "reason": HOSTILE, "next_step": "Wait.", "resolved_at": None}
    _insert(
        page, alerts.alert, open_one, {**alert, "scope": "old", "reason": "", "next_step": "", "resolved_at": START}
    )
    text = page.tile("now", "alerts")
    assert ESCAPED in text
    assert "Wait." in text
    assert "old" not in text


def test_only_the_last_run_counts_as_failed(page: Page) -> None:
    """A DAG that failed before its last run is not listed; a step of maintenance with an error is."""
    engine = page.runtime.engine
    for name, runs in (("well", (1, 0)), ("badly", (0, 1))):
        for place, failed in enumerate(runs):
            run_id = f"{name}/{place}"
            jobs.start(engine, run_id, name, 1, START - (2 - place) * HOUR)
            jobs.add_progress(engine, run_id, failed=failed, done=1 - failed)
            jobs.finish(engine, run_id, START - HOUR / 2)
    _insert(page, maintenance_steps.table, {"name": "scrub", "started_at": START - HOUR, "error": HOSTILE, "owner": ""})
    text = _text(page.tile("now", "failures"))
    assert "DAG badly" in text
    assert "DAG well" not in text
    assert "step of maintenance scrub" in text
    assert ESCAPED in text


def test_an_empty_tile_says_something(page: Page, subtests: pytest.Subtests) -> None:
    """Over an empty installation no tile is blank or fails, and none shows a number that nobody measured."""
    for tile in TABS[0].tiles:
        with subtests.test(tile=tile):
            text = page.tile("now", tile.name)
            assert len(text) > 30
            assert 'role="alert"' not in text
            assert ">nan" not in text
