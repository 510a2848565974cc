"""The tab Actions: who may do what, the reason that each takes, what is recorded, and what a second submit does."""

import re
from typing import Any

import pytest

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant
from adwarm.model import Priority, ReportKey, Scope, ScopeKind
from adwarm.pages.access import Permission
from adwarm.pages.views import TABS
from adwarm.store import requests, warms
from adwarm.store.action_events import ActionEvent, list_actions
from adwarm.store.database import read_transaction
from adwarm.store.gates import list_closed
from adwarm.store.switches import Switch, find_stop, list_switches
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.pages.conftest import ADMIN, VIEWER, Page

FORMS: dict[str, dict[str, str]] = {
    "switch": {"switch": "warming", "position": "off"},
    "warm-now": {"accounts": "act_1", "date_ranges": "yesterday"},
    "open-gate": {"scope": "account:act_1"},
    "retry-requests": {},
}
HOSTILE = "<script>alert(1)</script>\x00\u202e' OR 1=1 --"
ACCOUNT = Scope(ScopeKind.ACCOUNT, "act_1")


def _events(page: Page) -> list[ActionEvent]:
    return list_actions(page.runtime.engine)


def _send(page: Page, form: str, why: str = "a test", **fields: str) -> Any:
    """Send a form with a reason."""
    return page.post(form, why=why, **fields)


def _park(page: Page) -> None:
    admission = page.runtime.admission
    granted = admission.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta"))
    assert isinstance(granted, Grant)
    admission.release(granted, CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=900.0))


@SQLITE_ONLY
def test_nothing_happens_without_a_reason(page: Page, subtests: pytest.Subtests) -> None:
    """Without one, or with one of spaces, nothing is done or recorded, and the answer asks for it."""
    for form, fields in FORMS.items():
        for more in ({}, {"why": "  "}):
            with subtests.test(form=form, more=more):
                answer = page.post(form, **fields, **more)
                assert (answer.status_code, "say why" in answer.text.lower()) == (422, True)
                assert _events(page) == []
                assert find_stop(page.runtime.engine) is None
                assert page.runtime.queue.list_newest(5) == []


def test_the_page_has_four_actions() -> None:
    """Warm now, retry failed, open a gate, turn a switch; everything else is a command."""
    names = {form.name for tab in TABS for form in tab.forms}
    assert names == {"warm-now", "retry-requests", "retry-run", "open-gate", "switch"}


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
    for permission in (Permission.WARM, Permission.CONTROL):
        assert f"This takes the permission {permission}" in text
    assert text.count('<fieldset class="plain" disabled>') == 1
    assert "<button disabled>Switch warming off" in text
    admin = page.get("/actions?plain=1").text
    assert "disabled" not in admin
    assert "This takes" not in admin


def test_warming_is_switched_off_and_on(page: Page) -> None:
    """With who and why; a second submit changes nothing and says so; both are recorded."""
    done = _send(page, "switch", "the quota is gone", switch="warming", position="off")
    assert done.status_code == 303
    assert "done=warming+is+switched+off" in done.headers["location"]
    state = list_switches(page.runtime.engine)[Switch.WARMING]
    assert (state.is_on, state.changed_by, state.why) == (False, "admin", "the quota is gone")
    assert "the quota is gone" in page.tile("actions", "switches")

    again = _send(page, "switch", switch="warming", position="off")
    assert "nothing+changed" in again.headers["location"]
    _send(page, "switch", switch="warming", position="on")
    assert find_stop(page.runtime.engine) is None
    assert [(x.actor, x.action, x.subject, x.succeeded) for x in _events(page)] == [
        ("admin", "switch_warming", "on", True),
        ("admin", "switch_warming", "off", True),
        ("admin", "switch_warming", "off", True),
    ]


def test_reports_are_requested_once(page: Page) -> None:
    """The requests are queued as high and shown with their state; a second submit joins them."""
    fields = {"accounts": "act_1, act_2", "date_ranges": "yesterday\nlast_7d"}
    done, again = (_send(page, "warm-now", "demo", **fields) for _ in range(2))

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
    done = _send(page, "warm-now", **FORMS["warm-now"])
    assert (done.status_code, "the queue is full" in done.text) == (422, True)
    [event] = _events(page)
    assert (event.action, event.succeeded) == ("warm_now", False)
    assert "the queue is full" in event.detail


def test_a_parked_scope_is_released(page: Page) -> None:
    """The page shows until when the platform asked for a pause; then calls are admitted; a repeat says so."""
    _park(page)
    shown = page.tile("actions", "blocks")
    assert ("account:act_1" in shown, "calls before its end may make it longer" in shown) == (True, True)
    done = _send(page, "open-gate", "the limit was raised", scope="account:act_1")
    again = _send(page, "open-gate", "once more", scope="account:act_1")

    assert "ended%3A+account%3Aact_1+is+parked" in done.headers["location"]
    assert "nothing+holds+account%3Aact_1+back" in again.headers["location"]
    assert list_closed(page.runtime.engine) == []
    assert isinstance(page.runtime.admission.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta")), Grant)
    assert [event.arguments["why"] for event in _events(page)] == ["once more", "the limit was raised"]


def test_failed_requests_are_requested_again(page: Page) -> None:
    """The page shows how many and why; afterwards the failure is gone, and a second submit finds nothing."""
    queue = page.runtime.queue
    queue.enqueue(ReportKey("act_1", "yesterday"), Priority.LOW)
    [claim] = queue.dequeue(1)
    queue.fail(claim, "no access")
    assert "1 report was requested" in page.tile("actions", "failed")
    done = _send(page, "retry-requests", "granted")
    again = _send(page, "retry-requests", "granted")

    assert "1+report+requested" in done.headers["location"]
    assert "nothing+to+request+again" in again.headers["location"]
    with read_transaction(page.runtime.engine) as connection:
        [row] = requests.list_open(connection)
    assert (str(row.key), row.priority) == ("act_1 yesterday", Priority.NORMAL)


@SQLITE_ONLY
def test_a_run_that_does_not_exist_is_named(page: Page) -> None:
    """The message says where to find the runs."""
    answer = _send(page, "retry-run", run="nothing/here")
    assert (answer.status_code, "there is no run" in answer.text) == (422, True)
    assert warms.list_by_run(page.runtime.engine, "nothing/here") == []


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
    ]:
        with subtests.test(form=form, fields=fields):
            answer = _send(page, form, **fields)
            assert answer.status_code == 422, answer.text
            assert "<script>" not in answer.text


@SQLITE_ONLY
def test_a_form_that_is_not_valid_keeps_what_was_typed(page: Page, subtests: pytest.Subtests) -> None:
    """It comes back with the reason above, the wrong field marked, and every value that was sent."""
    for form, fields, wrong in [
        ("warm-now", {"accounts": "act_1 /shop", "date_ranges": "last_7d", "more_ranges": "today"}, "accounts"),
        ("warm-now", {"accounts": "act_1", "date_ranges": "last_7d", "more_ranges": "soon"}, "more_ranges"),
        ("warm-now", {"accounts": "act_1"}, "date_ranges"),
        ("warm-now", {"accounts": "act_1", "date_ranges": "last_7d", "why": ""}, "why"),
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
    assert _send(page, "switch", why, switch="shadow", position="on").status_code == 303
    shown = page.tile("actions", "done") + page.tile("actions", "switches")
    assert "<script>alert" not in shown
    assert "&lt;script&gt;" in shown
    assert "EAABsecret" not in shown


def test_the_list_of_actions_is_paged(page: Page) -> None:
    """Twenty to a page, with a link to the older ones."""
    for number in range(25):
        _send(page, "switch", f"reason {number}", switch="shadow", position="off" if number % 2 else "on")
    first = page.tile("actions", "done")
    older = re.search(r"actions\?before=(\d+)", first)
    assert older
    second = page.tile("actions", "done", before=older[1])
    assert (first.count("<tr><td"), second.count("<tr><td")) == (20, 5)
    assert "reason 24" in first
    assert "reason 0" in second
