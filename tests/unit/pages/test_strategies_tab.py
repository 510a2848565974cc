"""The tab *Strategies*: the list, the form, and the dry run."""

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from adwarm.model import Account, PlannedWarm, ReportKey, StoredStrategy, WarmReason, WarmStatus
from adwarm.planning.strategy_changes import apply_changes, check_changes
from adwarm.planning.strategy_schedule import load_strategies
from adwarm.store import accounts, read_transaction, warms, write_transaction
from adwarm.store.action_events import table as action_event
from adwarm.store.strategies import table as strategy_table
from adwarm.store.tables import metadata
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.pages.conftest import ADMIN, START, VIEWER, Page

FIELDS: dict[str, str] = {
    "mode": "new",
    "name": "board meeting",
    "date_ranges": "last_30d, this_month",
    "accounts": "77",
    "excluded_accounts": "",
    "report": "default",
    "priority": "high",
    "cron": "0 6 * * mon-fri",
    "time_zone": "Europe/Berlin",
    "max_calls_per_hour": "50",
    "batch_size": "5",
    "delay_seconds": "2.5",
    "max_parallel_batches": "2",
    "open_hours": "6",
    "enabled": "on",
    "retire_unused": "on",
}
DEFINITION: dict[str, Any] = {
    "date_ranges": ["last_30d", "this_month"],
    "accounts": ["77"],
    "priority": "high",
    "cron": "0 6 * * mon-fri",
    "time_zone": "Europe/Berlin",
    "max_calls_per_hour": 50,
    "delay_seconds": 2.5,
    "retire_unused": True,
}


def _stored(page: Page) -> dict[str, StoredStrategy]:
    return {item.name: item for item in load_strategies(page.runtime.engine, START)}


def _make(page: Page, name: str, **values: Any) -> None:
    definition = {name: {"date_ranges": ["yesterday"], **values}}
    changes = check_changes(page.runtime.engine, page.runtime.settings, definition, START)
    apply_changes(page.runtime.engine, page.runtime.settings, changes, START)


def _count_rows(page: Page) -> dict[str, int]:
    with read_transaction(page.runtime.engine) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def test_the_list_shows_schedule_use_and_actions(page: Page) -> None:
    """Schedule in words, next due time in the zone, reports, budget, and the warms of the last 30 days."""
    _make(
        page, "board", cron="0 7 * * mon-fri", time_zone="Asia/Tokyo", accounts=["77", "78"], excluded_accounts=["78"]
    )
    plan = [
        PlannedWarm(
            key=ReportKey("act_77", "yesterday"),
            reason=WarmReason.STRATEGY,
            status=WarmStatus.FETCHED,
            decided_at=START - timedelta(hours=2),
            strategy="board",
        )
    ]
    warms.replace_plan(page.runtime.engine, "d/r", plan)
    html = page.tile("strategies", "list")
    for text in ("Monday to Friday at 07:00, Asia/Tokyo", "due now", "yesterday of act_77, act_78 except 1 account"):
        assert text in html, text
    for text in ("default_dashboards", "every 6 hours from midnight", "of every account", "2.0 h ago", "Remove board"):
        assert text in html, text


@SQLITE_ONLY
def test_a_viewer_sees_no_buttons(page: Page) -> None:
    """A visitor without the permission gets the list and the form without anything to send."""
    for path in ("/tiles/strategies/list", "/tiles/strategy/form?name=default_dashboards"):
        html = page.get(path, VIEWER).text
        assert "default_dashboards" in html
        assert "<button" not in html
        assert "This takes the permission edit" in html
    for name in ("strategy-save", "strategy-dry-run", "strategy-switch", "strategy-remove"):
        assert page.post(name, VIEWER, **FIELDS).status_code == 403
    assert list(_stored(page)) == ["default_dashboards"]


def test_a_strategy_of_the_page_equals_one_of_the_command(page: Page) -> None:
    """The form stores the same definition as `adwarm strategy set`, and the action is recorded."""
    _make(page, "by command", **DEFINITION)
    response = page.post("strategy-save", **FIELDS)
    assert response.status_code == 303
    assert response.headers["location"].startswith("strategies?done=Strategy+board+meeting+is+added")
    stored = _stored(page)
    ours, theirs = dict(stored["board meeting"].values), dict(stored["by command"].values)
    assert {**ours, "name": None} == {**theirs, "name": None}
    with read_transaction(page.runtime.engine) as connection:
        event = connection.execute(select(action_event)).one()
    assert (event.actor, event.via, event.action, event.subject) == (
        ADMIN.name,
        "token",
        "strategy-save",
        "board meeting",
    )
    assert event.arguments["cron"] == {"before": None, "after": "0 6 * * mon-fri"}


def test_an_edit_changes_what_is_given(page: Page) -> None:
    """The form of a stored strategy holds its values; saving them unchanged changes nothing."""
    page.post("strategy-save", **FIELDS)
    before = _stored(page)["board meeting"]
    html = page.tile("strategy", "form", name="board meeting")
    assert 'value="0 6 * * mon-fri"' in html
    assert "Monday to Friday at 06:00" in html
    unchanged = page.post("strategy-save", **{**FIELDS, "mode": "edit"})
    assert "unchanged" in unchanged.headers["location"]
    assert _stored(page)["board meeting"] == before
    page.post("strategy-save", **{**FIELDS, "mode": "edit", "accounts": "", "enabled": ""})
    after = _stored(page)["board meeting"]
    assert (after.values["accounts"], after.enabled) == (None, False)


@SQLITE_ONLY
def test_a_field_that_is_not_valid_keeps_the_others(page: Page, subtests: pytest.Subtests) -> None:
    """The form comes back with 422, every value, and the message at its field; nothing is stored."""
    for form in ["strategy-save", "strategy-dry-run"]:
        for field, text, message in [
            ("cron", "often", "five fields"),
            ("time_zone", "Europe/Belin", "IANA name"),
            ("date_ranges", "", "names no date range"),
            ("date_ranges", "next_week", "next_week"),
            ("accounts", "act_x", "is not valid"),
            ("max_calls_per_hour", "many", "write a whole number"),
            ("max_calls_per_hour", "0", "at least 1"),
            ("delay_seconds", "", "write a number"),
            ("delay_seconds", "nan", "delay_seconds must be"),
            ("priority", "urgent", "critical, high"),
            ("report", "sales", "is not configured"),
            ("name", "", "1 to 80 printable"),
        ]:
            with subtests.test(field=field, text=text, message=message, form=form):
                response = page.post(form, **{**FIELDS, field: text})
                assert response.status_code == 422
                problem = re.search(rf'id="{field}-problem">([^<]+)<', response.text)
                assert problem is not None
                assert message in problem[1]
                assert re.search(
                    rf'id="{field}"[^>]*aria-describedby="{field}-help {field}-problem"[^>]*aria-invalid', response.text
                )
                kept = {
                    name: value
                    for name, value in FIELDS.items()
                    if name in {"cron", "batch_size", "time_zone"} - {field}
                }
                for name, value in kept.items():
                    assert re.search(rf'id="{name}"[^>]* value="{re.escape(value)}"', response.text), name
                assert list(_stored(page)) == ["default_dashboards"]


@SQLITE_ONLY
def test_fields_that_do_not_go_together_are_explained(page: Page) -> None:
    """Accounts that are all excluded are a message for the whole form."""
    response = page.post("strategy-save", **{**FIELDS, "excluded_accounts": "act_77"})
    assert response.status_code == 422
    assert "names no account that it does not also exclude" in response.text


def test_a_new_strategy_replaces_none(page: Page) -> None:
    """Creating one of a stored name is refused, and editing one that is gone, too."""
    response = page.post("strategy-save", **{**FIELDS, "name": "default_dashboards"})
    assert response.status_code == 422
    assert "of this name already" in response.text
    missing = page.post("strategy-save", **{**FIELDS, "mode": "edit", "name": "gone"})
    assert missing.status_code == 422
    assert "there is no strategy" in missing.text


def test_enable_disable_and_remove(page: Page) -> None:
    """A strategy is switched at once; it is removed once that is confirmed. Each is recorded."""
    page.post("strategy-switch", name="default_dashboards", enabled="0")
    assert not _stored(page)["default_dashboards"].enabled
    page.post("strategy-switch", name="default_dashboards", enabled="1")
    assert _stored(page)["default_dashboards"].enabled
    question = page.post("strategy-remove", name="default_dashboards")
    assert question.status_code == 200
    assert "Remove it" in question.text
    assert "default_dashboards" in _stored(page)
    assert page.post("strategy-remove", name="default_dashboards", confirmed="1").status_code == 303
    assert _stored(page) == {}
    assert "There are no strategies" in page.tile("strategies", "list")
    assert page.post("strategy-remove", name="default_dashboards").status_code == 422
    with read_transaction(page.runtime.engine) as connection:
        actions = connection.execute(select(action_event.c.action).order_by(action_event.c.id)).scalars().all()
    assert actions == ["strategy-disable", "strategy-enable", "strategy-remove"]


def test_a_dry_run_stores_nothing(page: Page) -> None:
    """It shows reports, calls and due times of what the form describes, and changes no table."""
    accounts.save(page.runtime.engine, [Account(f"act_{number}") for number in range(1, 31)], START)
    stored = _stored(page)
    before = _count_rows(page)
    fields = {**FIELDS, "accounts": "", "cron": "0 */6 * * *", "max_calls_per_hour": "40", "date_ranges": "yesterday"}
    fields |= {"time_zone": "UTC", "batch_size": "3"}
    response = page.post("strategy-dry-run", **fields)
    assert response.status_code == 200
    text = " ".join(re.sub(r"<[^>]+>", " ", response.text).split())
    for part in ("30 reports would be fetched now of 30", "30 upstream calls now 40 left", "Wed 12:00 UTC"):
        assert part in text, (part, text)
    assert "act_1 yesterday" in text
    assert "at least" in text
    assert _count_rows(page) == before
    assert _stored(page) == stored
    less = page.post("strategy-dry-run", **{**fields, "max_calls_per_hour": "10"}).text
    assert "it takes 3 hours until each had its turn" in " ".join(less.split())


@SQLITE_ONLY
def test_a_dry_run_of_a_stored_strategy(page: Page) -> None:
    """The button of the list previews the stored definition, and says when no account is stored."""
    response = page.post("strategy-dry-run", name="default_dashboards", stored="1")
    assert response.status_code == 200
    assert "It names no report" in response.text
    assert page.post("strategy-dry-run", name="gone", stored="1").status_code == 422


def test_hostile_and_broken_rows_are_shown(page: Page) -> None:
    """Markup in a name is text; a row that is not valid is listed with its problem and can be edited."""
    name = '<script>alert("x")</script>'
    _make(page, name)
    _make(page, "broken")
    with write_transaction(page.runtime.engine) as connection:
        values = {"cron": "<b>never</b>", "date_ranges": {"a": 1}, "time_zone": "Nowhere", "max_calls_per_hour": -1}
        connection.execute(strategy_table.update().where(strategy_table.c.name == "broken").values(**values))
    html = page.tile("strategies", "list") + page.tile("strategy", "form", name="broken")
    html += page.tile("strategy", "form", name=name) + page.post("strategy-remove", name=name).text
    assert "<script>alert" not in html
    assert "<b>never" not in html
    assert "&lt;script&gt;" in html
    assert "invalid" in html
    assert page.post("strategy-dry-run", name="broken", stored="1").status_code == 422
    assert page.post("strategy-save", **{**FIELDS, "mode": "edit", "name": "broken"}).status_code == 303
    assert _stored(page)["broken"].strategy is not None


@SQLITE_ONLY
def test_an_unknown_strategy_is_named(page: Page) -> None:
    """A link to a strategy that is gone says so."""
    assert "there is no strategy" in page.tile("strategy", "form", name="gone")
