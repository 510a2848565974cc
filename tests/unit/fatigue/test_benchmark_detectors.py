"""Parts of the fatigue benchmark: detectors react to planted declines and look at no later day; rates count right."""

import math

import numpy as np
import pytest

from adwarm.fatigue.panel import AdPanel
from tests.benchmarks import fatigue_detectors, fatigue_promise
from tests.benchmarks.fatigue_detectors import (
    AdSeries,
    Detector,
    alarm_detector,
    cusum,
    cut_days,
    ewma,
    find_threshold,
    measure_delays,
    measure_false_alarms,
    measure_signal,
    monthly_scans,
)
from tests.benchmarks.fatigue_promise import look_ahead
from tests.benchmarks.fatigue_worlds import (
    World,
    days_at_risk,
    draw_panel,
    independent,
    permute_days,
    separate_accounts,
    wear,
)

ADS, DAYS = 120, 90
DETECTORS = (cusum(), ewma(), alarm_detector())


@pytest.fixture(scope="module")
def strong() -> AdSeries:
    """Ads of which half lose half of their clicks."""
    random = np.random.default_rng(3)
    onset = np.where(random.random(ADS) < 0.5, random.integers(40, 70, ADS), -1)
    return AdSeries(draw_panel(World("", independent()), 3, ADS, DAYS, wear("drop 50 %", onset, DAYS)), onset)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_a_strong_decline_is_detected(detector: Detector, strong: AdSeries) -> None:
    """Each detector finds most strong declines within 14 days at its threshold, with few false alarms."""
    threshold = detector.nominal or find_threshold(detector, strong)
    alarms = detector.start(strong)(threshold).alarms
    assert (measure_delays(alarms, strong.onset) <= 14).mean() > 0.8
    assert measure_false_alarms(alarms, strong.onset, np.array(strong.panel.account_ids)).per_run_length < 2.0


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_detectors_do_not_look_ahead(detector: Detector, strong: AdSeries) -> None:
    """The alarms of the first 60 days are the same whatever the later days hold."""
    cut = AdSeries(cut_days(strong.panel, 0, 60), strong.onset)
    assert np.array_equal(detector.start(strong)(3.0).alarms[:, :60], detector.start(cut)(3.0).alarms)


def test_an_alarm_forgets_the_baseline(strong: AdSeries) -> None:
    """After an alarm a CUSUM starts from zero and needs seven days before it has evidence again."""
    run = cusum().start(strong)(3.0)
    ad, day = next((ad, day) for ad, day in np.argwhere(run.alarms) if 30 < day < 80)
    assert run.statistic[ad, day] >= 3.0
    assert (run.statistic[ad, day + 1 : day + 8] == 0).all()


def test_the_signal_removes_what_an_account_shares() -> None:
    """Moves of the market are smaller in the adjusted signal, and the noise is estimated."""
    panel = draw_panel(World("", independent(), market_sd=0.10), 5, 200, DAYS)
    raw = np.log((panel.clicks + 0.5) / (panel.impressions + 1.0))
    adjusted = measure_signal(panel)
    shared = [values[:, 30:].reshape(10, 20, -1).mean(axis=1).std(axis=1).mean() for values in (raw, adjusted.log_ctr)]
    assert shared[1] < 0.6 * shared[0]
    assert np.median(adjusted.noise[:, -1]) == pytest.approx(0.115, abs=0.03)


def test_delays_of_missed_ads_are_infinite() -> None:
    """The delay counts from the onset; an earlier alarm is false, and an ad without a later one is missed."""
    alarms = np.zeros((4, 40), bool)
    alarms[0, [10, 25]] = alarms[1, 12] = alarms[3, 30] = True
    onset = np.array([20, 20, 20, -1])
    assert measure_delays(alarms, onset).tolist() == [5.0, math.inf, math.inf]
    rate = measure_false_alarms(alarms, onset, np.arange(4), np.ones((4, 40), bool))
    assert (rate.alarms, rate.ad_days) == (3, 3 * 20 + 40)


def test_false_alarms_leave_out_the_warm_up() -> None:
    """Without other days at risk, alarms and days before the fifteenth do not count."""
    alarms = np.zeros((2, 30), bool)
    alarms[:, [3, 20]] = True
    rate = measure_false_alarms(alarms, np.array([-1, -1]), np.arange(2))
    assert (rate.alarms, rate.ad_days) == (2, 32)
    assert rate.low < rate.per_run_length < rate.high


def test_the_product_is_scanned_by_month(strong: AdSeries) -> None:
    """Each day belongs to one month; its scan begins sixty days before the month before, or with the first day."""
    scans = list(monthly_scans(strong.panel))
    assert [scan.column for scan in scans] == [0, 31, 59]
    assert [scan.panel.first_day.isoformat() for scan in scans] == ["2026-01-01"] * 3
    assert sum(scan.panel.days - scan.since for scan in scans) == strong.panel.days


def test_real_series_are_read_as_ads_alone() -> None:
    """Ads get accounts of their own; days count from first to last delivery; a random order keeps each ad's days."""
    panel = draw_panel(World("", independent()), 1, 5, DAYS)
    panel.impressions[0, :10] = panel.impressions[0, 70:] = 0
    assert len(set(separate_accounts(panel).account_ids)) == 5
    assert days_at_risk(panel).sum(axis=1).tolist() == [60, 90, 90, 90, 90]
    assert days_at_risk(panel, 14).sum(axis=1).tolist() == [46, 76, 76, 76, 76]
    shuffled = permute_days(panel, 1)
    assert not np.array_equal(shuffled.clicks, panel.clicks)
    assert np.array_equal(np.sort(shuffled.impressions, axis=1), np.sort(panel.impressions, axis=1))
    assert np.array_equal(shuffled.impressions[0] > 0, panel.impressions[0] > 0)


def test_what_follows_a_day_is_looked_up() -> None:
    """A day is known with enough clicks before and days after; it is followed when these have a lower rate."""
    impressions, clicks = np.full((1, 60), 1_000.0), np.full((1, 60), 20.0)
    clicks[0, 40:] = 18.0
    known, lower = look_ahead(impressions, clicks)
    assert known[0, 39]
    assert lower[0, 39]
    assert not lower[0, 20]
    assert not known[0, 55]


def test_an_account_left_out_has_the_noise_of_the_others_as_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet account is judged with the noise of the noisy one beside it, and the other way around."""
    noise = np.where(np.arange(40) < 20, 0.02, 0.4)[:, None]
    panel = draw_panel(World("", lambda random, ads, days: random.normal(0.0, 1.0, (ads, days)) * noise), 1, 40, DAYS)
    found: list[tuple[str, float]] = []

    def raise_none(part: AdPanel) -> np.ndarray:
        found.append((part.account_ids[0], fatigue_detectors.DEFAULT_PRIOR.noise_sd))
        return np.zeros(part.clicks.shape, bool)

    monkeypatch.setattr(fatigue_promise, "_raise_alarms", raise_none)
    before = fatigue_detectors.DEFAULT_PRIOR
    assert fatigue_promise._raise_left_out(panel).shape == panel.clicks.shape
    (quiet, of_others), (noisy, of_quiet) = found
    assert (quiet, noisy) == ("act_000000", "act_000001")
    assert of_others > 0.3
    assert of_quiet < 0.1
    assert fatigue_detectors.DEFAULT_PRIOR is before
