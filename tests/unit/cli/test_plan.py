"""`adwarm plan` after training."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from adwarm.cli.plan import _lines
from adwarm.model import ReportKey
from adwarm.planning.recommendation import Recommendation, WarmPlan
from graph_simulator.server import SimulatorServer

from .conftest import Adwarm


def test_plan_and_patterns_after_training(
    adwarm: Adwarm, learn_forecast: Callable[[], None], platform: SimulatorServer
) -> None:
    """The plan shows key, probability and reason without a call; patterns show the peak hour."""
    learn_forecast()
    calls = platform.calls()["total"]
    made = adwarm("plan", "--at", "2026-10-29T09:00:00+00:00", "--json").json
    assert (made["planned"], made["items"][0]["account_id"]) == (1, "act_1")
    shown = adwarm("plan", "--at", "2026-10-29T09:00:00+00:00")
    assert "1 of 1 keys" in shown.stdout.replace("\n", " ")
    assert made["next_due"] is None
    idle = adwarm("plan", "--at", "2026-10-29T14:00:00+00:00", "--json").json
    assert (idle["planned"], idle["next_due"]["warms"]) == (0, 1)
    due = idle["next_due"]["hour"][:16]
    assert f"`adwarm plan --at {due}`" in adwarm("plan", "--at", "2026-10-29T14:00:00+00:00").stdout
    assert adwarm("plan", "--at", due, "--json").json["planned"] == 1
    assert adwarm("patterns", "--json").json
    assert "1 account: 28 first opens" in adwarm("patterns").stdout
    assert platform.calls()["total"] == calls


NOW = datetime(2026, 3, 2, 23, 50, tzinfo=UTC)
WHY = "opened in 4 of the last 7 Mondays between 23:00 and 00:00 (UTC); 51% likely in that hour"


def _item(date_range: str, confidence: float, **other: str) -> Recommendation:
    key = ReportKey("act_10552211689134012345", date_range)
    opens, warm = NOW + timedelta(minutes=12), NOW + timedelta(minutes=5)
    explanation = {"why": WHY, **other}
    return Recommendation(key, opens, confidence, warm, benefit=8 * confidence, price=0.0034, explanation=explanation)


def test_every_reason_has_its_own_line_and_figures_keep_their_digits() -> None:
    """Figures fit 80 columns and show two significant digits; a cut one says why it is cut, and why it was likely."""
    plan = WarmPlan(
        (_item("today", 0.012), _item("2026-01-01..2026-01-31", 0.5)), (_item("today", 0.5, cut="too dear"),)
    )
    lines = [line for _, line in _lines(plan, NOW, 30)]

    assert lines[2].split() == [
        "act_10552211689134012345",
        "today",
        "00:02",
        "+1d",
        "23:55",
        "0.012",
        "0.096",
        "0.0034",
    ]
    assert lines[4] == "act_10552211689134012345 2026-01-01..2026-01-31"
    assert lines[3] == lines[6] == lines[-1] == f"  {WHY}"
    assert lines[-2] == "  too dear"
    assert max(len(line) for line in lines if not line.startswith("  ")) <= 80
    assert lines[1].index("price") + len("price") == len(lines[2])


def test_what_the_limit_hides_is_counted() -> None:
    """The page says how many planned keys it leaves out, and how many are cut beyond those listed."""
    plan = WarmPlan((_item("today", 0.5),) * 3, (_item("today", 0.5),) * 2, considered=9, cut_total=7)
    page = "\n".join(line for _, line in _lines(plan, NOW, 1))

    assert "3 of 9 keys" in page
    assert "2 more are planned; --limit shows more of them" in page
    assert "Cut, 1 of 7, the best first:" in page
    assert "no open is expected" in "\n".join(line for _, line in _lines(WarmPlan(), NOW, 1))


def test_why_a_report_was_not_warm(adwarm: Adwarm, learn_forecast: Callable[[], None]) -> None:
    """The answer, what to do and each step are printed, or one JSON document; bad input says what to write."""
    learn_forecast()
    words = ("plan", "act_1", "today", "--at", "2026-10-29T09:10:00+00:00")
    shown = adwarm(*words).stdout
    assert "act_1 today was not warm at 2026-10-29 09:10 UTC because no run of adwarm_intelligent_warming" in shown
    assert "What to do: " in shown
    assert "1. Account (ok)" in shown
    made = adwarm(*words, "--json").json
    assert (made["is_warm"], made["steps"][-1]["status"]) == (False, "not reached")
    assert "is not valid" in adwarm("plan", "no body", "today", "--json").json["error"]
    assert "is not a time" in adwarm("plan", "act_1", "today", "--at", "noon", "--json").json["error"]
    assert adwarm("plan", "act_1", "Today", "--at", "9:10", "--json").json["date_range"] == "today"
    assert "name the date range" in adwarm("plan", "act_1").stderr
