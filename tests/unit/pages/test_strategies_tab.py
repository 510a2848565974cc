"""The tab *Strategies*: the list, and the commands that change it."""

from datetime import timedelta
from typing import Any

from adwarm.model import PlannedWarm, ReportKey, WarmReason, WarmStatus
from adwarm.planning.strategy_changes import apply_changes, check_changes
from adwarm.store import warms, write_transaction
from adwarm.store.strategies import table as strategy_table
from tests.unit.pages.conftest import START, Page


def _make(page: Page, name: str, **values: Any) -> None:
    definition = {name: {"date_ranges": ["yesterday"], **values}}
    changes = check_changes(page.runtime.context, definition, START)
    apply_changes(page.runtime.context, changes, START)


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
    for text in ("default_dashboards", "every 6 hours from midnight", "of every account", "2.0 h ago"):
        assert text in html, text


def test_the_page_names_the_commands_that_change_strategies(page: Page) -> None:
    """It has no form of its own."""
    html = page.tile("strategies", "list")
    for command in ("strategy list NAME", "strategy set --file FILE", "strategy remove NAME"):
        assert f"<code>adwarm {command}</code>" in html
    assert "<form" not in html


def test_hostile_and_broken_rows_are_shown(page: Page) -> None:
    """Markup in a name is text; a row that is not valid is listed with its problem."""
    _make(page, '<script>alert("x")</script>')
    _make(page, "broken")
    with write_transaction(page.runtime.engine) as connection:
        values = {"cron": "<b>never</b>", "date_ranges": {"a": 1}, "time_zone": "Nowhere", "max_calls_per_hour": -1}
        connection.execute(strategy_table.update().where(strategy_table.c.name == "broken").values(**values))
    html = page.tile("strategies", "list")
    assert "<script>alert" not in html
    assert "<b>never" not in html
    assert "&lt;script&gt;" in html
    assert "invalid" in html
