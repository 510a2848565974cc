"""The comparison with the platform's notices, on figures that can be counted by hand."""

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.platform_check import check_against_platform, concordance, wilson
from adwarm.model import AlarmLevel, FatigueStatus, PlatformLevel, PlatformNotice
from adwarm.store.score_signals import ScoreSignal

FIRST = date(2026, 9, 1)


def _ad(ad_id: str, warning: int | None = None, alarm: int | None = None, days: int = 60) -> list[ScoreSignal]:
    """The scores of an ad that becomes a warning and an alarm on days of the comparison, and stays so."""
    return [
        ScoreSignal(
            ad_id,
            FIRST + timedelta(days=day),
            _status(day, warning),
            float(day if warning is not None and day >= warning else 0),
            _alarm(day, alarm),
        )
        for day in range(days)
    ]


def _status(day: int, warning: int | None) -> FatigueStatus:
    return "warning" if warning is not None and day >= warning else "healthy"


def _alarm(day: int, alarm: int | None) -> AlarmLevel:
    return "alarm" if alarm is not None and day >= alarm else "none"


def _notice(ad_id: str, day: int, level: PlatformLevel = "high") -> PlatformNotice:
    return PlatformNotice("act_1", ad_id, datetime.combine(FIRST + timedelta(days=day), time(9), UTC), level)


def test_who_was_first() -> None:
    """Signals before, on, after and never after the first notice are counted, with the median of their leads."""
    signals = _ad("1", 20, 22) + _ad("2", 30) + _ad("3", 35, 30) + _ad("4") + _ad("5", 1)
    notices = [_notice(ad, 30) for ad in ("1", "2", "3", "4")] + [_notice("5", 50), _notice("6", 30)]
    check = check_against_platform(signals, notices)
    warning, critical, alarm = check.signals
    assert (check.ads, check.noticed, check.unscored) == (5, 5, 1)
    assert (warning.by_then.count, warning.later, warning.never) == (3, 1, 1)
    # Leads: 10, 0, -5, and 28 for the ad that was a warning long before its notice.
    assert (warning.lead_days, warning.lead_quartiles) == (5.0, (-1.25, 14.5))
    assert (critical.by_then.count, critical.lead_days, critical.lead_quartiles) == (0, None, None)
    assert (alarm.by_then.count, alarm.later, alarm.never, alarm.lead_days) == (2, 0, 3, 4.0)
    assert not check.is_meaningful


def test_the_first_notice_of_enough_level_counts() -> None:
    """Milder notices are left out unless asked for; later ones of an ad do not count again."""
    signals = _ad("1", 20)
    notices = [_notice("1", 10, "low"), _notice("1", 25, "medium"), _notice("1", 40, "high")]
    leads = {
        level: check_against_platform(signals, notices, level).signals[0].lead_days  # type: ignore[arg-type]
        for level in ("low", "medium", "high")
    }
    assert leads == {"low": -10.0, "medium": 5.0, "high": 20.0}


def test_alarms_without_a_notice() -> None:
    """Only alarms since the account's first notice count, because earlier none could have come."""
    signals = _ad("1", alarm=30) + _ad("2", alarm=31) + _ad("3", alarm=30) + _ad("4", alarm=2, days=10)
    notices = [_notice("9", 20), _notice("1", 35), _notice("2", 50)]
    alone = check_against_platform(signals, notices).alarms_without_notice
    assert (alone.count, alone.total) == (2, 3)
    nothing = check_against_platform(signals, []).alarms_without_notice
    assert (nothing.count, nothing.total, nothing.low) == (0, 0, None)


def test_rank_agreement_uses_the_newest_levels() -> None:
    """Levels of the last four weeks are compared with the scores of the last day; older ones are none."""
    signals = _ad("1", 20) + _ad("2") + _ad("3") + _ad("4", 58, days=59)
    agree = check_against_platform(signals, [_notice("1", 50)])
    assert (agree.concordance, agree.ads) == (1.0, 4)
    assert check_against_platform(signals, [_notice("1", 5)]).concordance is None
    assert check_against_platform(signals, [_notice("2", 50)]).concordance == 0.25


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=12))
def test_concordance_counts_pairs(ads: list[tuple[int, int]]) -> None:
    """The share equals a count over all pairs, and its interval contains it."""
    value, low, high = concordance(np.array([level for level, _ in ads]), np.array([total for _, total in ads], float))
    pairs = [(mine, other) for mine in ads for other in ads if mine[0] > other[0]]
    points = [0.5 if mine[1] == other[1] else float(mine[1] > other[1]) for mine, other in pairs]
    assert value == (pytest.approx(sum(points) / len(points)) if pairs else None)
    if low is not None and high is not None and value is not None:
        assert 0 <= low <= value <= high <= 1


def test_the_interval_of_a_share() -> None:
    """The interval is Wilson's: 8 of 10 is .490 to .943, none of 5 reaches from 0, and nothing has none."""
    share = wilson(8, 10)
    assert (share.low, share.high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
    assert wilson(0, 5).low == 0.0
    assert wilson(0, 0).high is None


def test_ten_ads_are_enough_to_speak() -> None:
    """With ten noticed ads the figures mean something, with nine they do not."""
    signals = [item for number in range(10) for item in _ad(str(number), 20)]
    notices = [_notice(str(number), 30) for number in range(10)]
    assert check_against_platform(signals, notices).is_meaningful
    assert not check_against_platform(signals, notices[:9]).is_meaningful
