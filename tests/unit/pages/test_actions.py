"""The tab Actions: who may do what, what is asked first, what is recorded, and what a second submit does."""

import re
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import CallOutcome, CallOutcomeKind, Granted
from adwarm.model import EntryKey, Priority, ReportKey, Scope, ScopeKind, Window
from adwarm.pages.access import Permission
from adwarm.store import entries, requests, warms
from adwarm.store.action_events import ActionEvent, list_actions
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import Entry
from adwarm.store.gates import list_closed
from adwarm.store.switches import Switch, find_stop, list_switches
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.pages.conftest import ADMIN, START, VIEWER, Page

FORMS: dict[str, dict[str, str]] = {
    "switch": {"switch": "warming", "position": "off"},
    "warm-now": {"accounts": "act_1", "date_ranges": "yesterday"},
    "open-gate": {"scope": "account:act_1"},
    "retry-requests": {},
    "purge": {"account": "act_1"},
}
HOSTILE = "<script>alert(1)</script>\x00\u202e' OR 1=1 --"
ACCOUNT = Scope(ScopeKind.ACCOUNT, "act_1")


def _events(page: Page) -> list[ActionEvent]:
    return list_actions(page.runtime.engine)


def _seen(text: str) -> str:
    match = re.search(r'name="seen" value="([0-9a-f]+)"', text)
    assert match, text
    return match[1]


def _confirm(page: Page, form: str, why: str = "a test", **fields: str) -> Any:
    """Send a form, then its confirmation, and return the answer to that."""
    asked = page.post(form, **fields)
    assert asked.status_code == 200, asked.text
    return page.post(form, seen=_seen(asked.text), why=why, **fields)


def _store_entry(engine: Engine, account: str, until: int, **values: Any) -> Entry:
    """Store an entry of the days up to one of March 2026."""
    window = Window(date(2026, 3, 1), date(2026, 3, until))
    common = {
        "date_range": f"{window}",
        "report": "default",
        "codec": "zstd",
        "raw_bytes": 100,
        "stored_bytes": 40,
        "fetched_at": START,
        "expires_at": START + timedelta(hours=6),
        "source": "test",
        "complete": True,
        "settled": False,
        "data_version": 1,
        "api_version": "v1",
    }
    item = Entry(key=EntryKey(account, window, "0" * 12), **{**common, **values})
    with write_transaction(engine) as connection:
        entries.publish(connection, [(item, f"{account} {until} {values}".encode())], 1, START)
    return item


def _park(page: Page) -> None:
    admission = page.runtime.admission
    granted = admission.admit([ACCOUNT], Priority.LOW, source="meta")
    assert isinstance(granted, Granted)
    admission.release(granted.grant, CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=900.0))


@SQLITE_ONLY
def test_nothing_happens_before_it_is_confirmed(page: Page, subtests: pytest.Subtests) -> None:
    """The first submit only asks: no action is recorded, and the page names the form and the reason it needs."""
    for form, fields in FORMS.items():
        with subtests.test(form=form):
            answer = page.post(form, **fields)
            assert answer.status_code == 200
            assert _events(page) == []
            assert find_stop(page.runtime.engine) is None
            assert page.runtime.queue.list_newest(5) == []


@SQLITE_ONLY
def test_a_viewer_and_a_foreign_form_are_refused(page: Page, subtests: pytest.Subtests) -> None:
    """Without the permission, with the token of another login, or from another site, the answer is 403."""
    headers = {"x-visitor": ADMIN.name}
    own = {**headers, "origin": "http://testserver"}
    for form, fields in FORMS.items():
        with subtests.test(form=form):
            assert page.post(form, VIEWER, **fields).status_code == 403
            assert page.client.post(f"/{form}", data={**fields, "csrf_token": "0"}, headers=own).status_code == 403
            assert page.client.post(f"/{form}", data=fields, headers=headers).status_code == 403
            assert _events(page) == []


@SQLITE_ONLY
def test_the_forms_are_shown_and_locked_for_a_viewer(page: Page) -> None:
    """A viewer sees every form, disabled, and which permission it needs; an admin sees none of that."""
    text = page.get("/actions?plain=1", VIEWER).text
    for permission in (Permission.WARM, Permission.CONTROL, Permission.PURGE):
        assert f"This takes the permission {permission}" in text
    assert text.count('<fieldset class="plain" disabled>') == 2
    assert "<button disabled>Switch warming off" in text
    admin = page.get("/actions?plain=1").text
    assert "disabled" not in admin
    assert "This takes" not in admin


def test_warming_is_switched_off_and_on(page: Page) -> None:
    """With who and why; a second submit changes nothing and says so; both are recorded."""
    done = _confirm(page, "switch", "the quota is gone", switch="warming", position="off")
    assert done.status_code == 303
    assert "done=warming+is+switched+off" in done.headers["location"]
    state = list_switches(page.runtime.engine)[Switch.WARMING]
    assert (state.is_on, state.changed_by, state.why) == (False, "admin", "the quota is gone")
    assert "the quota is gone" in page.tile("actions", "switches")

    again = page.post("switch", switch="warming", position="off")
    assert "Nothing+changed" in again.headers["location"]
    _confirm(page, "switch", switch="warming", position="on")
    assert find_stop(page.runtime.engine) is None
    assert [(x.actor, x.action, x.subject, x.succeeded) for x in _events(page)] == [
        ("admin", "switch_warming", "on", True),
        ("admin", "switch_warming", "off", True),
    ]


@SQLITE_ONLY
def test_a_confirmation_needs_a_reason(page: Page) -> None:
    """Without one nothing is done, and the page asks again."""
    fields = {"switch": "shadow", "position": "on"}
    seen = _seen(page.post("switch", **fields).text)
    answer = page.post("switch", seen=seen, why="  ", **fields)
    assert (answer.status_code, "write a reason" in answer.text) == (422, True)
    assert not list_switches(page.runtime.engine)[Switch.SHADOW].is_on


def test_reports_are_requested_once(page: Page) -> None:
    """The requests are queued as high and shown with their state; a second submit joins them."""
    fields = {"accounts": "act_1, act_2", "date_ranges": "yesterday\nlast_7d"}
    asked = page.post("warm-now", **fields)
    assert "Warm 4 reports now?" in asked.text
    confirmed = {"seen": _seen(asked.text), "why": "demo", **fields}
    done = page.post("warm-now", **confirmed)
    again = page.post("warm-now", **confirmed)

    queued = page.runtime.queue.list_newest(10)
    assert [(str(item.key), item.priority) for item in reversed(queued)] == [
        ("act_1 yesterday", Priority.HIGH),
        ("act_1 last_7d", Priority.HIGH),
        ("act_2 yesterday", Priority.HIGH),
        ("act_2 last_7d", Priority.HIGH),
    ]
    assert "4+reports+requested" in done.headers["location"]
    assert "4+requested+before+and+not+done+yet" in again.headers["location"]
    first = _events(page)[-1]
    assert f"action={first.id}" in done.headers["location"]
    shown = page.tile("actions", "requests", action=first.id)
    assert shown.count("<tr><td") == 4
    assert "act_2 last_7d" in shown


def test_a_full_queue_is_a_recorded_failure(page: Page) -> None:
    """When no request fits, the page says why, and the action is recorded as failed."""
    size = page.runtime.queue.rules.size
    for number in range(1, size + 1):
        page.runtime.queue.enqueue(ReportKey(f"act_{number + 100}", "yesterday"), Priority.CRITICAL)
    done = _confirm(page, "warm-now", **FORMS["warm-now"])
    assert (done.status_code, "the queue is full" in done.text) == (422, True)
    [event] = _events(page)
    assert (event.action, event.succeeded) == ("warm_now", False)
    assert "the queue is full" in event.detail


def test_a_parked_scope_is_released(page: Page) -> None:
    """The page shows until when the platform asked for; once confirmed, calls are admitted; a repeat says so."""
    _park(page)
    assert "account:act_1" in page.tile("actions", "blocks")
    asked = page.post("open-gate", scope="account:act_1")
    assert "The platform asked for a park" in asked.text
    seen = _seen(asked.text)
    done = page.post("open-gate", scope="account:act_1", seen=seen, why="the limit was raised")
    again = page.post("open-gate", scope="account:act_1", seen=seen, why="the limit was raised")

    assert "ended%3A+account%3Aact_1+is+parked" in done.headers["location"]
    assert (again.status_code, "was done already" in again.text) == (422, True)
    assert list_closed(page.runtime.engine) == []
    assert isinstance(page.runtime.admission.admit([ACCOUNT], Priority.LOW, source="meta"), Granted)
    assert [event.arguments["why"] for event in _events(page)] == ["the limit was raised"]


def test_failed_requests_are_requested_again(page: Page) -> None:
    """Count and reason come first; afterwards the failure is gone, and a second submit finds nothing."""
    queue = page.runtime.queue
    queue.enqueue(ReportKey("act_1", "yesterday"), Priority.LOW)
    [claim] = queue.dequeue(1)
    queue.fail(claim, "no access")
    assert "1 report was requested" in page.tile("actions", "failed")
    asked = page.post("retry-requests")
    assert "no access" in asked.text
    done = page.post("retry-requests", seen=_seen(asked.text), why="granted")
    again = page.post("retry-requests", seen=_seen(asked.text), why="granted")

    assert "1+report+requested" in done.headers["location"]
    assert (again.status_code, "Nothing to request again" in again.text) == (422, True)
    with read_transaction(page.runtime.engine) as connection:
        [row] = requests.list_open(connection)
    assert (str(row.key), row.priority) == ("act_1 yesterday", Priority.NORMAL)


@SQLITE_ONLY
def test_a_run_that_does_not_exist_is_named(page: Page) -> None:
    """The message says where to find the runs."""
    answer = page.post("retry-run", run="nothing/here")
    assert (answer.status_code, "there is no run" in answer.text) == (422, True)
    assert warms.list_by_run(page.runtime.engine, "nothing/here") == []


def test_a_purge_deletes_exactly_what_was_shown(page: Page) -> None:
    """Only the entries of the account go; a second submit finds nothing."""
    engine = page.runtime.engine
    for account, until in (("act_1", 2), ("act_1", 3), ("act_2", 2)):
        _store_entry(engine, account, until)
    asked = page.post("purge", account="act_1")
    assert "Delete 2 stored reports of 80 B?" in asked.text
    seen = _seen(asked.text)
    done = page.post("purge", account="act_1", seen=seen, why="wrong numbers")
    again = page.post("purge", account="act_1", seen=seen, why="wrong numbers")

    assert "deleted+2+entries" in done.headers["location"]
    assert (again.status_code, "Nothing to delete" in again.text) == (422, True)
    assert [item.key.account_id for item in entries.list_entries(engine)] == ["act_2"]
    [event] = _events(page)
    assert (event.subject, event.arguments["deleted"]["entries"]) == ("act_1", 2)


@pytest.mark.parametrize("change", ["another entry", "a new payload"])
def test_a_purge_is_shown_again_when_something_changed(page: Page, change: str) -> None:
    """A row that came or changed since the dry run is not deleted unseen: the page shows the selection again."""
    engine = page.runtime.engine
    _store_entry(engine, "act_1", 2)
    seen = _seen(page.post("purge", account="act_1").text)
    if change == "another entry":
        _store_entry(engine, "act_1", 3)
    else:
        _store_entry(engine, "act_1", 2, fetched_at=START + timedelta(minutes=1))
    answer = page.post("purge", account="act_1", seen=seen, why="now")
    assert (answer.status_code, "has changed" in answer.text) == (422, True)
    assert len(entries.list_entries(engine, "act_1")) == (2 if change == "another entry" else 1)
    assert _events(page) == []


def test_input_that_is_not_valid_is_an_error_in_words(page: Page, subtests: pytest.Subtests) -> None:
    """Never a server error, and never markup of the sender."""
    for form, fields in [
        ("switch", {"switch": HOSTILE, "position": "off"}),
        ("switch", {"switch": "warming", "position": HOSTILE}),
        ("warm-now", {"accounts": HOSTILE, "date_ranges": "yesterday"}),
        ("warm-now", {"accounts": "act_1", "date_ranges": HOSTILE}),
        ("warm-now", {"accounts": "act_1", "date_ranges": "yesterday", "report": HOSTILE}),
        ("warm-now", {"accounts": " ".join(f"act_{n}" for n in range(201)), "date_ranges": "yesterday"}),
        ("open-gate", {"scope": HOSTILE}),
        ("retry-run", {"run": HOSTILE}),
        ("purge", {"account": HOSTILE}),
        ("purge", {"account": "act_1", "report": HOSTILE}),
    ]:
        with subtests.test(form=form, fields=fields):
            answer = page.post(form, **fields)
            assert answer.status_code == 422, answer.text
            assert "<script>" not in answer.text


@SQLITE_ONLY
def test_a_form_that_is_not_valid_keeps_what_was_typed(page: Page, subtests: pytest.Subtests) -> None:
    """It comes back with the reason above, the wrong field marked, and every value that was sent."""
    for form, fields, wrong in [
        ("warm-now", {"accounts": "act_1 shop", "date_ranges": "last_7d", "more_ranges": "today"}, "accounts"),
        ("warm-now", {"accounts": "act_1", "date_ranges": "last_7d", "more_ranges": "soon"}, "more_ranges"),
        ("warm-now", {"accounts": "act_1"}, "date_ranges"),
        ("purge", {"account": "shop", "date_range": "today", "with_days": "1"}, "account"),
        ("purge", {"account": "act_1", "date_range": "soon"}, "date_range"),
    ]:
        with subtests.test(form=form, wrong=wrong):
            answer = page.post(form, **fields)
            assert answer.status_code == 422
            assert 'role="alert" id="problem"' in answer.text
            assert re.findall(r'name="(\w+)"[^>]* aria-invalid="true"', answer.text) == [wrong]
            shown = re.sub(r" (?:selected|checked)", "*", answer.text)
            for name, value in fields.items():
                typed = f'(?:name="{name}"[^>]*>{value}<|name="{name}"[^>]* value="{value}"|value="{value}"\\*)'
                assert re.search(typed, shown), (name, value)


def test_hostile_reasons_are_text(page: Page) -> None:
    """A reason with markup, a NUL and a secret is stored without the last two and shown escaped."""
    why = f"{HOSTILE} access_token=EAABsecret1234567890123"
    assert _confirm(page, "switch", why, switch="shadow", position="on").status_code == 303
    shown = page.tile("actions", "done") + page.tile("actions", "switches")
    assert "<script>alert" not in shown
    assert "&lt;script&gt;" in shown
    assert "EAABsecret" not in shown


def test_the_list_of_actions_is_paged(page: Page) -> None:
    """Twenty to a page, with a link to the older ones."""
    for number in range(25):
        _confirm(page, "switch", f"reason {number}", switch="shadow", position="off" if number % 2 else "on")
    first = page.tile("actions", "done")
    older = re.search(r"actions\?before=(\d+)", first)
    assert older
    second = page.tile("actions", "done", before=older[1])
    assert (first.count("<tr><td"), second.count("<tr><td")) == (20, 5)
    assert "reason 24" in first
    assert "reason 0" in second
