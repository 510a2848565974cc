"""Parts of the fatigue benchmark: detectors react to planted declines and look at no later day; metrics count right."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.fatigue_ads import SimulationSettings, permute_days, simulate_ads
from tests.benchmarks.fatigue_detectors import CusumSettings, Detector, bayesian_change_point, cusum, glr, log_ratio
from tests.benchmarks.fatigue_metrics import (
    alarms_at_rate,
    matched_auc,
    measure_alarms,
    measure_delays,
    measure_false_alarms,
    roc_auc,
    solve_threshold,
)
from tests.benchmarks.fatigue_oracle import oracle
from tests.benchmarks.fatigue_product import alarm_detector, cut_days, monthly_scans, score_totals
from tests.benchmarks.fatigue_real import days_at_risk, keep_ads, measure_noise, separate_accounts
from tests.benchmarks.fatigue_rules import ctr_rule, drop_rule, level_runner
from tests.benchmarks.fatigue_signals import AdSeries, from_simulation, measure_signal

STRONG = SimulationSettings(ads=120, exponent=-0.43, market_sd=0.0)
DETECTORS = (
    drop_rule(),
    ctr_rule(),
    cusum(CusumSettings("log", 0.5)),
    cusum(CusumSettings("count", 0.5)),
    cusum(CusumSettings("likelihood", 0.2, "waiting")),
    cusum(CusumSettings("log", 0.5, "first", noise_sd=0.115)),
    glr(),
    bayesian_change_point(),
    alarm_detector(),
    oracle("sum"),
    oracle("maximum"),
)


@pytest.fixture(scope="module")
def strong() -> AdSeries:
    """Ads of which half have a strong decline."""
    return from_simulation(simulate_ads(3, STRONG))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_a_strong_decline_is_detected(detector: Detector, strong: AdSeries) -> None:
    """Each detector finds most strong declines within 14 days at its threshold, and ranks them above healthy ads."""
    groups = np.array(strong.panel.account_ids)
    run = detector.start(strong)
    threshold = detector.nominal or alarms_at_rate(detector, run, strong.onset, groups)[0]
    metrics = measure_alarms(run(threshold).alarms, strong.onset, groups)
    assert metrics.recall_14 > 0.8
    assert metrics.false_alarms.per_run_length < 2.0
    assert matched_auc(run(math.inf).statistic, strong.onset) > 0.9


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_detectors_do_not_look_ahead(detector: Detector, strong: AdSeries) -> None:
    """The alarms of the first 60 days are the same whatever the later days hold."""
    threshold = 0.2 if detector.high < 1 else 3.0
    whole = detector.start(strong)(threshold).alarms[:, :60]
    truth = strong.truth
    assert truth is not None
    cut = replace(
        truth,
        panel=cut_days(truth.panel, 0, 60),
        healthy_rate=truth.healthy_rate[:, :60],
        wear=truth.wear[:, :60],
        frequency=truth.frequency[:, :60],
        onset=np.where(truth.onset < 60, truth.onset, -1),
    )
    if detector.name.startswith("oracle"):
        # The exposures of healthy ads are drawn, so only ads that are fatigued either way compare.
        chosen = cut.onset >= 0
        assert np.array_equal(whole[chosen], detector.start(from_simulation(cut))(threshold).alarms[chosen])
    else:
        assert np.array_equal(whole, detector.start(from_simulation(cut))(threshold).alarms)


def test_the_oracle_is_the_fastest(strong: AdSeries) -> None:
    """At equal false alarms nothing has a smaller mean delay than the likelihood ratio that knows the ad."""
    groups = np.array(strong.panel.account_ids)
    delays = {}
    for detector in (*DETECTORS[:3], glr(), oracle("sum")):
        run = detector.start(strong)
        threshold, _ = alarms_at_rate(detector, run, strong.onset, groups)
        delays[detector.name] = np.minimum(measure_delays(run(threshold).alarms, strong.onset), 30).mean()
    best = min(delays, key=delays.__getitem__)
    assert best.startswith("oracle")


def test_an_alarm_forgets_the_baseline(strong: AdSeries) -> None:
    """After an alarm a CUSUM starts from zero and needs seven days before it has evidence again."""
    run = cusum(CusumSettings("log", 0.5)).start(strong)(3.0)
    ad, day = next((ad, day) for ad, day in np.argwhere(run.alarms) if 30 < day < 80)
    assert run.statistic[ad, day] >= 3.0
    assert (run.statistic[ad, day + 1 : day + 8] == 0).all()


def test_the_count_ratio_is_a_likelihood_ratio() -> None:
    """The mean of the ratio of likelihoods is 1 under the usual rate, for negative binomial clicks."""
    rng = np.random.default_rng(1)
    mean, variance = np.full(200_000, 50.0), 0.115**2
    clicks = rng.poisson(mean * rng.gamma(1 / variance, variance, mean.shape)).astype(float)
    ratio = np.exp(log_ratio(clicks, mean, 0.9, np.full_like(mean, variance)))
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)


def test_the_signal_removes_what_an_account_shares() -> None:
    """Moves of the market and weekdays are smaller in the adjusted signal, and the noise is estimated."""
    ads = simulate_ads(5, SimulationSettings(ads=200, fatigued=0.0, market_sd=0.10))
    raw, adjusted = measure_signal(ads.panel, adjust=False), measure_signal(ads.panel)
    shared = [signal.log_ctr[:, 30:].reshape(10, 20, -1).mean(axis=1).std(axis=1).mean() for signal in (raw, adjusted)]
    assert shared[1] < 0.6 * shared[0]
    assert np.median(adjusted.noise[:, -1]) == pytest.approx(0.115, abs=0.03)


def test_delays_of_missed_ads_are_infinite() -> None:
    """The delay counts from the onset; an earlier alarm is false, and an ad without a later one is missed."""
    alarms = np.zeros((4, 40), bool)
    alarms[0, [10, 25]] = alarms[1, 12] = alarms[3, 30] = True
    onset = np.array([20, 20, 20, -1])
    assert measure_delays(alarms, onset).tolist() == [5.0, math.inf, math.inf]
    metrics = measure_alarms(alarms, onset, np.arange(4), np.ones((4, 40), bool))
    assert (metrics.recall_7, metrics.median_delay) == (pytest.approx(1 / 3), math.inf)
    assert metrics.false_alarms.alarms == 3
    assert metrics.false_alarms.ad_days == 3 * 20 + 40
    assert metrics.precision == 0.25


def test_false_alarms_leave_out_the_warm_up() -> None:
    """Without other days at risk, alarms and days before the fifteenth do not count."""
    alarms = np.zeros((2, 30), bool)
    alarms[:, [3, 20]] = True
    rate = measure_false_alarms(alarms, np.array([-1, -1]), np.arange(2))
    assert (rate.alarms, rate.ad_days) == (2, 32)
    assert rate.low < rate.per_run_length < rate.high


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_roc_auc_is_the_share_of_ordered_pairs(positive: list[int], negative: list[int]) -> None:
    """The area equals a count over all pairs, with half a point for a tie."""
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    area = roc_auc(np.array(positive, float), np.array(negative, float))
    assert area == pytest.approx(np.mean(pairs))


def test_a_threshold_is_solved_by_bisection() -> None:
    """The threshold is the last one at which a falling figure still reaches the target."""
    assert solve_threshold(lambda x: 10 - x, 4.0, 0.0, 10.0, steps=30) == pytest.approx(6.0)


def test_a_level_raises_one_alarm_while_it_stays_high() -> None:
    """A level has an alarm when it comes to the threshold, and no second one in the next fourteen days."""
    level = np.zeros((1, 40))
    level[0, 5:10] = level[0, 12:14] = level[0, 30:] = 70.0
    assert np.flatnonzero(level_runner(level)(60.0).alarms[0]).tolist() == [5, 30]


def test_the_product_is_scanned_by_month(strong: AdSeries) -> None:
    """Each day belongs to one month; its scan begins sixty days before it, or with the first day there is."""
    scans = list(monthly_scans(strong.panel))
    assert [scan.column for scan in scans] == [0, 27, 55, 86]
    assert [scan.panel.first_day.isoformat() for scan in scans] == ["2026-01-05"] * 4
    assert sum(scan.panel.days - scan.since for scan in scans) == strong.panel.days
    totals = score_totals(strong)
    assert totals.shape == strong.panel.impressions.shape
    assert np.isfinite(totals[:, 20:]).mean() > 0.9


def test_real_series_are_read_as_ads_alone() -> None:
    """Ads can be cut out and put into accounts of their own; days count from first to last delivery."""
    panel = simulate_ads(1, SimulationSettings(ads=30)).panel
    impressions = panel.impressions.copy()
    impressions[0, :10] = impressions[0, 70:] = 0
    panel = replace(panel, impressions=impressions)
    kept = keep_ads(panel, np.arange(30) < 5)
    assert kept.ad_ids == panel.ad_ids[:5]
    assert len(set(separate_accounts(kept).account_ids)) == 5
    assert days_at_risk(kept, 0).sum(axis=1).tolist() == [60, 90, 90, 90, 90]
    assert days_at_risk(kept).sum(axis=1).tolist() == [46, 76, 76, 76, 76]


def test_the_noise_of_real_series_is_measured() -> None:
    """On simulated ads the measured extra-binomial noise is the planted one, and it survives a random order of days."""
    ads = simulate_ads(2, SimulationSettings(ads=100, fatigued=0.0, market_sd=0.0, noise_sd=0.115))
    assert np.nanmedian(measure_noise(ads.panel)) == pytest.approx(0.12, abs=0.02)
    assert np.nanmedian(measure_noise(permute_days(ads.panel, 1))) == pytest.approx(0.13, abs=0.03)
