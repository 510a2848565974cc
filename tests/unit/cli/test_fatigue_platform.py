"""`adwarm fatigue` shows the platform's view beside the score of an ad."""

from datetime import UTC, datetime

from adwarm.foundation.clock import SystemClock
from adwarm.model import Account, FatigueScore, PlatformNotice
from adwarm.runtime import Runtime
from adwarm.store import accounts, platform_fatigue
from tests import fatigue_scores

from .conftest import Adwarm

DAY = datetime(2026, 11, 24, tzinfo=UTC)


def test_an_ad_shows_the_view_of_the_platform(adwarm: Adwarm) -> None:
    """The view is there in words and as JSON, alike for one ad and in the list."""
    engine, now = Runtime().engine, SystemClock().now()
    base = ("an ad", "healthy", 15.0, 15.0, None, None, 1.0, None, None, {}, "v1")
    accounts.save(engine, [Account("act_1")], now)
    fatigue_scores.publish(engine, [FatigueScore("act_1", "7", DAY.date(), *base, cost_ratio=1.5)], 1, True, now)
    notice = PlatformNotice("act_1", "7", DAY.replace(day=23, hour=9), "high", "tired")
    platform_fatigue.insert_notices(engine, [notice], now)
    text = " ".join(adwarm("fatigue", "act_1", "--ad", "7").stdout.replace("│", " ").split())
    assert "Cost per result: 1.50x of the ad's past, what Meta calls creative limited (above 1x, below 2x)." in text
    assert "Meta's notice: fatigue level high, 1 day before this day; the score does not show fatigue." in text
    one = adwarm("fatigue", "act_1", "--ad", "7", "--json").json
    (listed,) = adwarm("fatigue", "act_1", "--json").json["scores"]
    expected = {
        "platform_level": "high",
        "platform_agreement": "only the platform",
        "platform_cost_state": "creative limited",
    }
    assert {name: one[name] for name in expected} == {name: listed[name] for name in expected} == expected
