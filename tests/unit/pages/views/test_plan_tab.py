"""The tab Plan and the page that explains why a report was not warm."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from adwarm.model import Account, PlannedWarm, ReportKey, WarmReason, WarmStatus
from adwarm.store import accounts, jobs, warms, write_transaction
from adwarm.store.access_patterns import access_pattern
from adwarm.store.snapshots import PlanHour, policy, save_outlook
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.pages.conftest import START, Page

HOUR = timedelta(hours=1)
DAG = "adwarm_intelligent_warming"
RUN = f"{DAG}/scheduled__2026-03-04T10:00:00+00:00"
HOSTILE = "<script>alert('1')</script>"


def _planned(
    key: ReportKey, benefit: float, status: WarmStatus = WarmStatus.PLANNED, **explanation: str
) -> PlannedWarm:
    return PlannedWarm(
        key=key,
        reason=WarmReason.PREDICTED_OPEN,
        status=status,
        decided_at=START,
        predicted_open=START + HOUR,
        warm_at=START + HOUR / 2,
        confidence=0.5,
        benefit=benefit,
        price=1.5,
        explanation={"why": "opened in 4 of the last 8 Wednesdays", **explanation},
    )


def _plan(page: Page, rows: Sequence[PlannedWarm], run: str = RUN) -> None:
    warms.replace_plan(page.runtime.engine, run, rows)
    jobs.start(page.runtime.engine, run, run.partition("/")[0], len(rows), START)


def test_the_newest_plan_is_shown_best_first(page: Page) -> None:
    """Planned and cut keys with probability, evidence, reason, benefit and cost; names of others stay text."""
    cut = _planned(ReportKey("act_2", "last_7d"), 1.0, WarmStatus.CUT, cut=f"cut by the budget {HOSTILE}")
    _plan(page, [cut, _planned(ReportKey("act_1", "today"), 4.0)])
    html = page.tile("plan", "keys")
    assert html.index("act_1 today") < html.index("act_2 last_7d")
    for text in (
        "50%",
        "opened in 4 of the last 8 Wednesdays",
        "cut by the budget",
        "2026-03-04 11:00",
        "1 planned",
    ):
        assert text in html
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html


def test_keys_are_filtered_and_paged(page: Page) -> None:
    """Fields narrow the table, a wildcard in them is a character; after the best ten, a link leads to pages of 50."""
    rows = [_planned(ReportKey(f"act_{n}", "last_7d" if n % 2 else "today"), float(n)) for n in range(1, 61)]
    _plan(page, rows)
    best, first, second = (
        page.tile("plan", "keys"),
        page.tile("plan", "keys", page=0),
        page.tile("plan", "keys", page=1),
    )
    assert [html.count("Why was ") for html in (best, first, second)] == [10, 50, 10]
    assert 'page=0#keys">Show more' in best
    assert "page=1" in first
    assert "act_60 today" in first
    assert "act_60 today" not in second
    one = page.tile("plan", "keys", account="7", range="last_", status="planned", reason="predicted_open")
    assert one.count("Why was ") == 1
    assert page.tile("plan", "keys", range="%").count("Why was ") == 0
    assert "No report of this plan matches" in page.tile("plan", "keys", status="cut")


def test_runs_are_found_by_their_own_and_by_airflows_id(page: Page, subtests: pytest.Subtests) -> None:
    """Links from Airflow name a DAG and its run; the table of runs links by the stored id."""
    _plan(page, [_planned(ReportKey("act_1", "today"), 4.0)])
    _plan(page, [_planned(ReportKey("act_2", "today"), 4.0)], "other_dag/r1")
    for query in [
        {"run": RUN},
        {"dag": DAG, "run": "scheduled__2026-03-04T10:00:00+00:00"},
        {"dag": DAG, "run": RUN},
        {"dag": DAG},
    ]:
        with subtests.test(query=query):
            assert page.tile("plan", "keys", **query).count("act_1 today") >= 1
            assert "run=adwarm_intelligent_warming%2Fscheduled__2026-03-04T10" in page.tile("plan", "runs")


@SQLITE_ONLY
def test_bad_input_is_answered_with_what_to_write(page: Page) -> None:
    """An account, a page and a time that are not valid say what to write; so does a run that nobody knows."""
    assert "it is up to 64 letters, digits" in page.tile("plan", "keys", account="x' or 1=1")
    _plan(page, [_planned(ReportKey("act_1", "today"), 4.0)])
    assert "write a number below 200" in page.tile("plan", "keys", page="-1")
    assert "This run has no planned report" in page.tile("plan", "keys", run=HOSTILE)
    assert "such as 9:00, yesterday 9:00 or 2026-03-04 09:00 in UTC" in page.tile(
        "why", "answer", account="act_1", range="today", at="noon"
    )
    assert "is not valid" in page.tile("why", "answer", account=HOSTILE, range="today")


def test_the_outlook_is_drawn_and_written(page: Page) -> None:
    """The next 24 hours as charts with a table of the same values; hours that are past are left out."""
    hours = [PlanHour(START + n * HOUR, 10.0 + n, n, 1.5, 600.0, START) for n in range(-1, 24)]
    with write_transaction(page.runtime.engine) as connection:
        connection.execute(policy.insert(), [{"name": "live", "mode": "live", "updated_at": START}])
    assert save_outlook(page.runtime.engine, hours)
    html = page.tile("plan", "outlook")
    assert html.count('<tr><th scope="row">') == 24
    assert "2026-03-04 09:00 UTC" not in html
    assert "As the run of 2026-03-04 10:00 UTC expects it" in html
    assert html.count("<svg") == 2


def test_the_week_is_shown_in_the_readers_zone(page: Page) -> None:
    """The heat map of an account names its zone, and has a table of the same values."""
    row = {"opens": 8, "observed_hours": 8.0, "active_weeks": 8, "is_busy": False, "is_peak": False, "is_quiet": False}
    row |= {"time_zone": "Europe/Rome", "observed_weeks": 8.0, "computed_at": START, "account_id": "act_1"}
    values = [
        {**row, "weekday": day + 1, "hour": hour, "weekday_name": "Monday", "opens_per_hour": 2.0 if hour == 9 else 0.0}
        for day in range(7)
        for hour in range(24)
    ]
    with write_transaction(page.runtime.engine) as connection:
        connection.execute(access_pattern.insert(), values)
    html = page.tile("plan", "week", account="act_1")
    assert "Europe/Rome" in html
    assert "Mon 09:00: 2 opens to expect" in html
    assert html.count('<td class="num">2.00</td>') == 7
    assert "No weekly pattern is stored for act_2" in page.tile("plan", "week", account="2")


def test_a_row_links_to_its_explanation(page: Page) -> None:
    """The page that explains has the answer, what to do and each step with its facts."""
    _plan(page, [_planned(ReportKey("act_1", "today"), 1.0, WarmStatus.CUT, cut=f"cut by the budget {HOSTILE}")])
    assert "why?account=act_1&amp;range=today&amp;report=default&amp;at=2026-03-04T11%3A00%3A00" in page.tile(
        "plan", "keys"
    )
    query: dict[str, Any] = {"account": "act_1", "range": "today", "at": "2026-03-04T11:00:00"}
    html = page.tile("why", "answer", **query)
    assert "act_1 today will not be warm at 2026-03-04 11:00 UTC" in html
    assert "because cut by the budget" in html
    assert "act_1 last_7d will not be warm" in page.tile("why", "answer", **{**query, "range": "Last 7 days"})
    accounts.save(page.runtime.engine, [Account("act_1", name="Harbor Coffee")], START)
    assert "act_1 today will not be warm" in page.tile("why", "answer", **{**query, "account": "harbor coffee"})
    assert HOSTILE not in html
    assert html.count('<th scope="row">1. Account') == 1
    response = page.get("/why?account=act_1&range=today")
    assert response.status_code == 200


def test_an_explanation_runs_few_statements(page: Page) -> None:
    """The page that explains runs at most eleven SQL statements."""
    _plan(page, [_planned(ReportKey("act_1", "today"), 1.0)])
    path = "/why?account=act_1&range=today&at=2026-03-04T10:00:00&plain=1"
    page.get(path)
    with page.counting_statements() as statements:
        assert page.get(path).status_code == 200
    assert len(statements) <= 11, statements


@SQLITE_ONLY
def test_a_wrong_field_is_marked_in_its_form(page: Page, subtests: pytest.Subtests) -> None:
    """The form stays with what was typed, and says above it what is wrong; the answer to a question says it."""
    for tile, query, wrong in [
        ("plan/week", "account=/shop", "account"),
        ("plan/keys", "account=/shop&status=cut", "account"),
        ("why/ask", "account=/shop&range=last_7d", "account"),
        ("why/ask", "account=act_1&range=soon", "range"),
        ("why/ask", "account=act_1&range=last_7d&at=noon", "at"),
    ]:
        with subtests.test(tile=tile, query=query):
            html = page.get(f"/tiles/{tile}?{query}").text
            assert re.findall(r'name="(\w+)"[^>]* aria-invalid="true"', html) == [wrong]
            assert f'name="{wrong}" value="{dict(part.split("=") for part in query.split("&"))[wrong]}"' in html
    assert "&#39;noon&#39; is not a time" in page.tile("why", "answer", account="act_1", range="last_7d", at="noon")
