"""The score route shows the platform's view beside each score, as of the day of the scores."""

from datetime import UTC, datetime

from adwarm.model import FatigueScore, PlatformNotice
from adwarm.store import platform_fatigue
from tests import fatigue_scores
from tests.unit.serving.api.conftest import Api

DAY = datetime(2026, 11, 24, tzinfo=UTC)


def test_a_score_shows_the_view_of_the_platform(api: Api) -> None:
    """Cost, level, age, text and agreement are there; an ad without a notice says so, a later notice is not shown."""
    base = ("an ad", "warning", 45.0, 45.0, None, None, 1.0, None, None, {}, "v1")
    rows = [FatigueScore("act_1", ad, DAY.date(), *base, cost_ratio=2.5) for ad in ("7", "8")]
    fatigue_scores.publish(api.engine, rows, 1, True, api.clock.now())
    notices = [
        PlatformNotice("act_1", "7", DAY.replace(day=20, hour=9), "high", "<b>tired</b>"),
        PlatformNotice("act_1", "7", DAY.replace(day=27), "low"),
        PlatformNotice("act_2", "8", DAY.replace(day=20), "high"),
    ]
    platform_fatigue.insert_notices(api.engine, notices, api.clock.now())
    listed = api.get("/v1/scores/act_1", api.token()).json()["scores"]
    found = {
        row["ad_id"]: {name: value for name, value in row.items() if name.startswith("platform_")} for row in listed
    }
    assert found["7"] == {
        "platform_cost_state": "creative fatigue",
        "platform_level": "high",
        "platform_noticed_at": "2026-11-20T09:00:00Z",
        "platform_message": "<b>tired</b>",
        "platform_agreement": "agrees",
        "platform_text": (
            "Cost per result: 2.50x of the ad's past, what Meta calls creative fatigue (2x or more). "
            "Meta's notice: fatigue level high, 4 days before this day; the score says the same."
        ),
    }
    assert (found["8"]["platform_level"], found["8"]["platform_agreement"]) == (None, "unknown")
    tag = api.get("/v1/scores/act_1", api.token()).headers["etag"]
    platform_fatigue.insert_notices(
        api.engine, [PlatformNotice("act_1", "8", DAY.replace(hour=9), "low")], api.clock.now()
    )
    again = api.get("/v1/scores/act_1", api.token(), headers={"If-None-Match": tag})
    assert (again.status_code, again.headers["etag"] != tag) == (200, True)
