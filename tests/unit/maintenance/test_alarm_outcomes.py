"""The step that counts how alarms turned out, and the sentence that is made of its counts."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from adwarm.fatigue.recommendation import LEAST_OUTCOMES, OUTCOMES, find_outcomes
from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.runner import run_step
from adwarm.maintenance.steps import make_follow_alarms
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore
from tests.support import fatigue_scores

SINCE = date(2026, 3, 1)
NOW = datetime(2026, 3, 20, tzinfo=UTC)


def _publish(engine: Engine, *ads: tuple[float, float]) -> None:
    """Store an alarm of each ad with a rate of 2 % before, and its rates one and two weeks later."""
    scores = [
        fatigue_scores.make_score(
            str(ad),
            SINCE + timedelta(days=7 * week),
            alarm="alarm",
            alarm_since=SINCE,
            baseline={"month_ctr": 0.02, "recent_ctr": rate, "recent_impressions": 1_000.0 * (week + 1)},
        )
        for ad, rates in enumerate(ads)
        for week, rate in enumerate((0.02, *rates))
    ]
    fatigue_scores.publish(engine, scores, 1, True, NOW)


def _run(engine: Engine, tmp_path: object) -> dict[str, int]:
    clock = VirtualClock(NOW)
    step = make_follow_alarms(Context(engine, ObjectStore(str(tmp_path)), Settings()), clock)
    report = run_step(engine, "follow_alarms", step, clock=clock, seconds=60.0, owner="test")
    return dict(report.counts)


def test_outcomes_of_the_installation_replace_those_of_others(engine: Engine, tmp_path: object) -> None:
    """Both weeks after an alarm count by their impressions; the sentence is the own one from twenty outcomes on."""
    assert find_outcomes(engine) == OUTCOMES
    lower, as_before = (0.0175, 0.0192), (0.0185, 0.0196)
    _publish(engine, *[lower] * (LEAST_OUTCOMES - 1))
    assert _run(engine, tmp_path) == {"known": LEAST_OUTCOMES - 1, "followed": LEAST_OUTCOMES - 1}
    assert find_outcomes(engine) == OUTCOMES
    _publish(engine, *[lower] * (LEAST_OUTCOMES - 1), as_before)
    assert _run(engine, tmp_path) == {"known": LEAST_OUTCOMES, "followed": LEAST_OUTCOMES - 1}
    assert find_outcomes(engine).startswith(f"{LEAST_OUTCOMES - 1} of {LEAST_OUTCOMES} such alarms here held")
