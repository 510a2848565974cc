"""`adwarm fatigue-check`: figures in words and as JSON, and what to do without any."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from adwarm.foundation.clock import SystemClock
from adwarm.model import FatigueScore, PlatformNotice
from adwarm.runtime import Runtime
from adwarm.store import platform_fatigue
from tests import fatigue_scores

from .conftest import Adwarm


def _store(ads: int) -> None:
    """Store sixty days of ads, of which every second one is a warning from day 20 and noticed on day 30."""
    engine, now = Runtime().engine, SystemClock().now()
    first = now.date() - timedelta(days=60)
    base = FatigueScore("act_1", "0", first, "", "healthy", 5.0, 5.0, None, None, 1.0, None, None, {}, "v1")
    for day in range(60):
        rows = [
            replace(base, ad_id=str(ad), as_of=first + timedelta(days=day), total=float(ad), alarm="none")
            for ad in range(ads)
        ]
        rows = [
            replace(row, status="warning", total=50.0 + day, alarm="alarm" if day >= 25 else "none")
            if int(row.ad_id) % 2 and day >= 20
            else row
            for row in rows
        ]
        fatigue_scores.publish(engine, rows, 1, True, now)
    at = datetime.combine(first + timedelta(days=30), time(9), UTC)
    notices = [PlatformNotice("act_1", str(ad), at, "high", None, "file") for ad in range(1, ads, 2)]
    notices += [replace(notice, noticed_at=at + timedelta(days=25)) for notice in notices]
    platform_fatigue.insert_notices(engine, notices, now)


def test_the_figures(adwarm: Adwarm) -> None:
    """Shares with intervals, leads, alarms and ranks are printed and returned."""
    _store(24)
    text = " ".join(adwarm("fatigue-check", "1").stdout.split())
    assert "12 scored ads with a notice of level medium or higher" in text
    assert "12 of 12 (76% to 100%)" in text
    assert "Alarms without a notice: 0 of 12 (0% to 24%)." in text
    assert "1.00 (1.00 to 1.00; 0.5 is chance, 1 is the same order)" in text
    assert "too few" not in text
    found = adwarm("fatigue-check", "act_1", "--json").json
    assert (found["account"], found["noticed"], found["is_meaningful"]) == ("act_1", 12, True)
    assert {item["signal"]: item["lead_days"] for item in found["signals"]} == {
        "warning": 10.0,
        "critical": None,
        "alarm": 5.0,
    }


def test_few_notices_are_called_few(adwarm: Adwarm) -> None:
    """With fewer than ten ads the command says that they are too few."""
    _store(6)
    text = " ".join(adwarm("fatigue-check", "act_1").stdout.split())
    assert "Fewer than 10 ads with a notice: too few to say whether both agree." in text


def test_without_scores_or_notices_it_says_what_to_do(adwarm: Adwarm) -> None:
    """Each missing part is one line with the next step; so is a level that does not exist."""
    result = adwarm("fatigue-check", "act_1")
    assert (result.exit_code, "run the DAG adwarm_daily_insights" in " ".join(result.stderr.split())) == (1, True)
    now = SystemClock().now()
    score = FatigueScore("act_1", "7", now.date(), "", "healthy", 5.0, 5.0, None, None, 1.0, None, None, {}, "v1")
    fatigue_scores.publish(Runtime().engine, [score], 1, True, now)
    result = adwarm("fatigue-check", "act_1")
    assert (result.exit_code, "adwarm notify-fatigue" in " ".join(result.stderr.split())) == (1, True)
    result = adwarm("fatigue-check", "act_1", "--min-level", "severe")
    assert (result.exit_code, "low, medium or high" in " ".join(result.stderr.split())) == (1, True)
