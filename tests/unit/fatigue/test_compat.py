"""Earlier versions of the score, at the values that are documented for them."""

from dataclasses import replace

import numpy as np
import pytest

from adwarm.fatigue.compat import (
    VERSIONS,
    Signals,
    algorithm_c,
    audience_c,
    compat_scores,
    creative_c,
    score_a,
    score_b,
    score_c,
    score_e,
)
from adwarm.fatigue.panel import AdPanel
from adwarm.foundation.errors import BadRequest
from tests.unit.fatigue.test_prior import DAYS, _account


def _signals(
    decline: float = 0.0, rise: float = 0.0, frequency: float = 1.0, ctr: float = 0.01, cpm: float = 5.0
) -> Signals:
    values = (np.array([[value]]) for value in (decline, rise, frequency, ctr, cpm))
    return Signals(*values, is_scored=np.array([[True]]))


def test_version_c_is_not_monotone_as_published() -> None:
    """A decline of 25 % scores less than one of 24.9 %, and a frequency of 5.01 less than 5."""
    declines = np.array([9.9, 10, 24.9, 25, 49.9, 50]) / 100
    assert creative_c(declines).tolist() == [20, 25, 62, 60, 100, 80]
    assert audience_c(np.array([0.5, 1, 2, 3.5, 5.0, 5.01, 9, np.nan])).tolist() == [0, 0, 20, 65, 95, 85, 100, 0]
    assert algorithm_c(np.array([-1, 0, 0.1, 0.2, 0.4, 0.8, 9])).tolist() == [0, 0, 20, 50, 90, 100, 100]
    assert score_c(_signals(0.25, 0.2, 5.0)).item() == pytest.approx(0.4 * 60 + 0.3 * 95 + 0.3 * 50)


def test_version_a_has_steps(subtests: pytest.Subtests) -> None:
    """Creative, audience and algorithm jump at their limits."""
    for decline, rise, frequency, parts in (
        (0.149, 0.199, 2.49, (0, 0, 0)),
        (0.15, 0.20, 2.5, (40, 20, 40)),
        (0.25, 0.35, 3.0, (70, 35, 70)),
        (0.40, 0.50, 3.5, (100, 50, 100)),
    ):
        with subtests.test(decline=decline, rise=rise, frequency=frequency, parts=parts):
            expected = 0.35 * parts[0] + 0.40 * parts[1] + 0.25 * parts[2]
            assert score_a(_signals(decline, rise, frequency)).item() == pytest.approx(expected)


def test_clicks_after_none_are_no_decline() -> None:
    """An ad without a click before its last days has no decline in any version, and no warning is raised."""
    endless = _signals(decline=-np.inf)
    with np.errstate(all="raise"):
        assert [score(endless).item() for score in (score_a, score_b, score_c)] == [0, 0, 0]


def test_version_b_has_ramps_from_its_triggers() -> None:
    """Nothing below the triggers; a price counts in full only when clicks are few."""
    assert score_b(_signals(0.249, 0.199, 3.5)).item() == 0
    assert score_b(_signals(0.25)).item() == pytest.approx(0.3 * 50)
    assert score_b(_signals(frequency=7.0)).item() == pytest.approx(0.4 * 100)
    assert score_b(_signals(rise=0.4)).item() == pytest.approx(0.3 * 30)
    assert score_b(_signals(rise=0.4, ctr=0.005)).item() == pytest.approx(0.3 * 60)


def test_version_e_has_absolute_levels() -> None:
    """Two per cent of clicks are none of fatigue, whatever the ad had before."""
    assert score_e(_signals(ctr=0.02, frequency=0.0, cpm=30)).item() == pytest.approx(0)
    assert score_e(_signals(ctr=0.01, frequency=2.5, cpm=55)).item() == pytest.approx(50)
    assert score_e(_signals(ctr=0.0, frequency=9, cpm=500)).item() == pytest.approx(100)


def _steady(ads: int = 1) -> AdPanel:
    panel = _account(ads=ads)
    shape = panel.impressions.shape
    return replace(
        panel, impressions=np.full(shape, 10_000.0), clicks=np.full(shape, 100.0), spend=np.full(shape, 50.0)
    )


def test_days_are_compared_as_in_each_version() -> None:
    """A compares three days with the first three of thirty, B and C one day with the median before it."""
    panel = _steady()
    clicks = panel.clicks.copy()
    clicks[0, -1] = 40.0
    panel = replace(panel, clicks=clicks)
    frequency = np.ones((1, DAYS))
    assert compat_scores(panel, frequency, "A")[0, -1] == pytest.approx(0.35 * 40)  # a third of 60 %
    assert compat_scores(panel, frequency, "B")[0, -1] == pytest.approx(0.3 * 100)
    assert compat_scores(panel, frequency, "C")[0, -1] == pytest.approx(0.4 * 90)
    assert compat_scores(panel, frequency, "E")[0, -1] == pytest.approx((80 + 20 + 0) / 3)


def test_scores_need_seven_days_and_use_no_later_one(subtests: pytest.Subtests) -> None:
    """Before seven days, and on days without delivery, there is no score; later days change nothing."""
    for version in VERSIONS:
        with subtests.test(version=version):
            panel = _account(ads=300)
            frequency = np.full(panel.impressions.shape, 2.0)
            impressions = panel.impressions.copy()
            impressions[:, 50] = 0
            panel = replace(panel, impressions=impressions)
            scores = compat_scores(panel, frequency, version)
            assert np.isnan(scores[:, :6]).all()
            assert np.isnan(scores[:, 50]).all()
            assert ((scores[:, 51:] >= 0) & (scores[:, 51:] <= 100)).all()
            later = panel.clicks.copy()
            later[:, 70:] = 0
            np.testing.assert_array_equal(
                compat_scores(replace(panel, clicks=later), frequency, version)[:, :70], scores[:, :70]
            )


def test_an_unknown_version_is_named() -> None:
    """The message lists the versions."""
    with pytest.raises(BadRequest, match=r"no version 'D'.*A, B, C, E"):
        compat_scores(_steady(), np.ones((1, DAYS)), "D")
