"""Calls by cause: every call of a day has one, and their sum is what was made."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.model import MANUAL_CAUSE, CallCause, CauseKind, WarmReason, find_cause
from adwarm.store import read_traffic
from adwarm.store.read_traffic import count_calls, get_day_calls
from tests.unit.conftest import NOW, SQLITE_ONLY

PRODUCT = Path(__file__).parents[3] / "include/adwarm"
FORECAST = CallCause(CauseKind.FORECAST)
BOARD = CallCause(CauseKind.STRATEGY, "board")


def test_the_calls_of_a_day_are_split_by_cause(engine: Engine) -> None:
    """Causes of 24 hours are added up, the most frequent first; what was counted without one is the rest."""
    for hours, account, cause, calls in [
        (0, "act_1", FORECAST, 3),
        (1, "act_2", FORECAST, 2),
        (2, "act_1", BOARD, 9),
        (3, "", CallCause(CauseKind.CHECK), 1),
        (24, "act_1", BOARD, 100),
    ]:
        count_calls(engine, NOW - timedelta(hours=hours), account, cause, calls=calls)
    count_calls(engine, NOW, "act_1", FORECAST, calls=0, errors=1)
    day = get_day_calls(engine, NOW)
    assert (day.made, [(str(item.cause), item.calls) for item in day.causes]) == (
        15,
        [
            ("strategy board", 9),
            ("forecast: a reader is expected", 5),
            ("checks: accounts, health, capacity and reconciliation", 1),
        ],
    )
    totals = read_traffic.get_day_totals(engine, NOW)
    assert (totals["upstream_calls"], totals["errors"]) == (15, 1)
    read_traffic.increment(engine, NOW, "act_1", "warmer", upstream_calls=7)
    day = get_day_calls(engine, NOW)
    assert (day.made, day.causes[-1].cause.kind, day.causes[-1].calls) == (22, CauseKind.UNKNOWN, 7)


@SQLITE_ONLY
def test_nothing_made_has_no_cause(engine: Engine) -> None:
    """Before the first call there is nothing to explain."""
    assert get_day_calls(engine, NOW).to_dict() == {"made": 0, "causes": []}


@pytest.mark.parametrize(
    ("reason", "strategy", "run", "text"),
    [
        (WarmReason.PREDICTED_OPEN, None, "adwarm_intelligent_warming/scheduled__1", "forecast: a reader is expected"),
        (WarmReason.STRATEGY, "board", "adwarm_strategy_warming/scheduled__1", "strategy board"),
        (
            WarmReason.STRATEGY,
            None,
            "adwarm_strategy_warming/manual__1",
            str(MANUAL_CAUSE),
        ),
        (WarmReason.DAY_CLOSED, None, "adwarm_daily_insights/scheduled__1", "day closing: a day has ended"),
        (WarmReason.DAY_CLOSED, None, "adwarm_daily_insights/backfill__1", "backfill"),
        (WarmReason.DATA_ARRIVAL, None, "adwarm_intelligent_warming/asset__1", "arrived data"),
        (WarmReason.SPEC_CHANGED, None, "adwarm_intelligent_warming/scheduled__1", "a changed query of a report"),
    ],
)
def test_every_planned_warm_has_a_cause(reason: WarmReason, strategy: str | None, run: str, text: str) -> None:
    """A plan's reason says what makes the calls; a backfill of days is not a day closing."""
    assert str(find_cause(reason, strategy, run)) == text


def test_one_function_tells_the_calls_of_a_day() -> None:
    """The command and the page show what one function returns, and one place counts calls."""
    texts = {path.relative_to(PRODUCT).as_posix(): path.read_text() for path in PRODUCT.rglob("*.py")}
    shown = {name for name, text in texts.items() if re.search(r"\bget_day_calls\(", text)}
    assert shown == {
        "store/read_traffic.py",
        "cli/status.py",
        "pages/views/now_tab.py",
    }
    counts = re.compile(r"upstream_calls(\s*[=+]|\": calls\b)")
    counted = {name for name, text in texts.items() if counts.search(text)}
    assert counted == {"store/read_traffic.py"}
    makers = {name for name, text in texts.items() if "acquire_grant(" in text} - {"backpressure/admission.py"}
    assert makers == {
        "prefetch/fetcher.py",  # counted by `account_fetch` and `window_read`
        "prefetch/async_reports.py",  # polls, which `fetcher` adds
        "maintenance/platform_calls.py",
        "maintenance/account_discovery.py",
    }
