"""The score over panels: monotone and continuous in each input, invariant, without look-ahead; its special cases."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.panel import AdPanel, empty_figures
from adwarm.fatigue.prior import AccountPrior, measure_priors
from adwarm.fatigue.score import ScoreTable, score_panel
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings
from tests.support.fatigue_scores import list_scores

from .stored_ads import status_of

FIRST = date(2026, 1, 5)
DAYS = 70
LAST = FIRST + timedelta(days=DAYS - 1)
SETTINGS = FatigueSettings()
PRIOR = AccountPrior(
    ctr_mean=0.011, noise_sd=0.1, ctr_weekdays=(1.05, 1.02, 1.0, 0.99, 0.98, 0.97, 0.99), price_noise_sd=0.06
)
FIGURES = ("impressions", "clicks", "spend", "results")


def _panel(ads: int = 1, seed: int = 0, days: int = DAYS) -> AdPanel:
    """Ads with noise, weekly rhythm, some days without delivery, and a few results."""
    rng = np.random.default_rng(seed)
    delivered = rng.random((ads, days)) > 0.05
    impressions = np.where(delivered, np.round(6_000 * np.exp(rng.normal(0, 0.4, (ads, days)))), 0.0)
    rate = 0.012 * np.exp(rng.normal(0, 0.25, (ads, 1)) + rng.normal(0, 0.1, (ads, days)))
    clicks = rng.binomial(impressions.astype(int), rate).astype(float)
    return AdPanel(
        account_ids=tuple(f"act_{ad // 5}" for ad in range(ads)),
        ad_ids=tuple(f"{ad:04d}" for ad in range(ads)),
        first_day=FIRST,
        impressions=impressions,
        clicks=clicks,
        spend=np.round(impressions * 0.006 * np.exp(rng.normal(0, 0.08, (ads, days))), 2),
        results=rng.binomial(clicks.astype(int), 0.05).astype(float),
        is_stored=np.ones((ads, days), bool),
    )


def _steady(days: int = DAYS) -> AdPanel:
    """One ad with the same figures every day."""
    panel = _panel(days=days)
    levels = {"impressions": 10_000.0, "clicks": 100.0, "spend": 50.0, "results": 4.0}
    return replace(panel, **{name: np.full((1, days), level) for name, level in levels.items()})


def _table(panel: AdPanel, frequency: Any = 2.0, settings: FatigueSettings = SETTINGS, **prior: Any) -> ScoreTable:
    priors = dict.fromkeys(panel.account_ids, replace(PRIOR, **prior))
    return score_panel(panel, priors, np.broadcast_to(np.asarray(frequency, float), panel.impressions.shape), settings)


def _last(panel: AdPanel, frequency: Any = 2.0, settings: FatigueSettings = SETTINGS) -> FatigueScore:
    return list_scores(_table(panel, frequency, settings), panel.last_day)[0]


def _with(panel: AdPanel, name: str, change: Any) -> AdPanel:
    """Return the panel with `change` applied to a copy of one figure."""
    values = np.array(getattr(panel, name))
    change(values)
    return replace(panel, **{name: values})


SEEDS = st.integers(0, 500)


@given(seed=SEEDS, day=st.integers(0, DAYS - 1), factor=st.floats(0, 5))
def test_clicks_move_the_score_one_way(seed: int, day: int, factor: float) -> None:
    """More clicks on a recent day never raise the score; more on a baseline day never lower it, on whichever day."""
    panel = _panel(seed=seed)
    panel = _with(panel, "impressions", lambda values: values.__setitem__((0, slice(-7, None)), 5_000.0))
    more = _with(panel, "clicks", lambda values: values.__setitem__((0, day), values[0, day] * (1 + factor)))
    before, after = _last(panel), _last(more)
    assert before.total is not None
    assert after.total is not None
    if day >= DAYS - 7:
        assert after.total <= before.total + 1e-3
        assert (after.creative or 0) <= (before.creative or 0) + 1e-3
    else:
        assert after.total >= before.total - 1e-3
        assert (after.creative or 0) >= (before.creative or 0) - 1e-3


@given(seed=SEEDS, day=st.integers(0, DAYS - 1), factor=st.floats(0, 5))
def test_spend_moves_the_score_one_way(seed: int, day: int, factor: float) -> None:
    """More spend on a recent day never lowers the score, also when it doubles; on a baseline day it never raises it."""
    panel = _panel(seed=seed)
    panel = _with(panel, "impressions", lambda values: values.__setitem__((0, slice(-7, None)), 5_000.0))
    more = _with(panel, "spend", lambda values: values.__setitem__((0, day), values[0, day] * (1 + factor)))
    before, after = _last(panel).algorithm, _last(more).algorithm
    assert before is not None
    assert after is not None
    assert after >= before - 1e-3 if day >= DAYS - 7 else after <= before + 1e-3


@given(
    seed=SEEDS,
    frequency=st.floats(0.1, 30),
    more=st.floats(0, 10),
)
def test_a_higher_frequency_never_lowers_the_score(seed: int, frequency: float, more: float) -> None:
    """The audience component never falls."""
    panel = _panel(seed=seed)
    panel = _with(panel, "impressions", lambda values: values.__setitem__((0, slice(-7, None)), 5_000.0))
    before, after = (_last(panel, value) for value in (frequency, frequency + more))
    assert (after.total or 0) >= (before.total or 0) - 1e-3


@given(seed=SEEDS, nudge=st.floats(-1e-4, 1e-4), name=st.sampled_from(["impressions", "clicks", "spend"]))
def test_a_small_change_of_every_day_changes_little(seed: int, nudge: float, name: str) -> None:
    """A ten-thousandth more or less of a figure, different on each day, moves the total by less than .2 points."""
    panel = _panel(seed=seed)
    panel = _with(panel, "impressions", lambda values: values.__setitem__((0, slice(-7, None)), 5_000.0))
    moves = 1 + nudge * np.random.default_rng(seed).uniform(-1, 1, (1, DAYS))
    after = replace(panel, **{name: getattr(panel, name) * moves})
    assert (_last(after).total or 0) == pytest.approx(_last(panel).total or 0, abs=0.2)


@given(seed=SEEDS, power=st.integers(-20, 20))
def test_the_currency_changes_money_alone(seed: int, power: int) -> None:
    """In a currency of another power of two everything but amounts of money is the same, to the last bit."""
    panel = _panel(ads=6, seed=seed)
    before = list_scores(_table(panel), LAST)
    after = list_scores(_table(replace(panel, spend=panel.spend * 2.0**power)), LAST)
    for one, other in zip(before, after, strict=True):
        money = {"cpm": one.baseline["cpm"], "recent_cpm": one.baseline["recent_cpm"]}
        assert replace(other, recent_spend=one.recent_spend, baseline={**other.baseline, **money}) == one


@given(seed=SEEDS, factor=st.floats(1e-3, 1e5))
def test_any_exchange_rate_gives_the_same_scores(seed: int, factor: float) -> None:
    """Within rounding."""
    panel = _panel(seed=seed)
    before, after = _last(panel), _last(replace(panel, spend=panel.spend * factor))
    assert (after.total or 0, after.cost_ratio) == (
        pytest.approx(before.total or 0, abs=1e-3),
        pytest.approx(before.cost_ratio),
    )


def _slice(panel: AdPanel, ads: Any) -> AdPanel:
    chosen = np.arange(len(panel.ad_ids))[ads]
    names = {name: tuple(getattr(panel, name)[ad] for ad in chosen) for name in ("account_ids", "ad_ids")}
    return replace(panel, **names, **{name: getattr(panel, name)[chosen] for name in (*FIGURES, "is_stored")})


@given(seed=SEEDS, start=st.integers(0, 190), count=st.integers(1, 9))
def test_other_ads_change_nothing(seed: int, start: int, count: int) -> None:
    """The scores of some ads equal those of them among 200 ads, to the last bit, with the priors given."""
    panel = _panel(ads=200, seed=seed, days=45)
    some = slice(start, start + count)
    day = panel.last_day
    wanted = {score.ad_id: score for score in list_scores(_table(panel), day)}
    assert all(wanted[score.ad_id] == score for score in list_scores(_table(_slice(panel, some)), day))


def test_the_priors_of_other_accounts_change_nothing() -> None:
    """Measured priors are those of the account alone, so that the order of the ads and other accounts do not matter."""
    panel = _panel(ads=40)
    until = FIRST + timedelta(days=40)

    def scores(part: AdPanel) -> list[FatigueScore]:
        frequency = np.full(part.impressions.shape, 2.0)
        return list_scores(score_panel(part, measure_priors(part, until), frequency, SETTINGS), LAST)

    assert scores(_slice(panel, slice(5, 10))) == scores(panel)[5:10]


@given(seed=SEEDS, day=st.integers(0, DAYS - 1))
def test_a_score_uses_no_later_day(seed: int, day: int) -> None:
    """Cutting the panel off after a day changes nothing on that day or before, to the last bit."""
    panel = _panel(ads=3, seed=seed)
    changed = np.zeros(panel.impressions.shape, bool)
    changed[0, 40] = changed[1, 65] = True
    panel = replace(panel, changed=changed)
    kept = slice(0, day + 1)
    cut = replace(
        panel, changed=changed[:, kept], **{name: getattr(panel, name)[:, kept] for name in (*FIGURES, "is_stored")}
    )
    whole, part = _table(panel), _table(cut)
    for back in (0, min(8, day)):
        at = FIRST + timedelta(days=day - back)
        assert list_scores(whole, at) == list_scores(part, at)


def test_days_before_the_first_to_score_are_history_alone() -> None:
    """From a day on, the scores are those of a table of all days; before it no ad is listed."""
    panel = _panel(ads=3)
    priors, frequency = dict.fromkeys(panel.account_ids, PRIOR), np.full(panel.impressions.shape, 2.0)
    whole, late = (score_panel(panel, priors, frequency, SETTINGS, since) for since in (0, 50))
    for day in (50, DAYS - 1):
        assert list_scores(late, FIRST + timedelta(days=day)) == list_scores(whole, FIRST + timedelta(days=day)) != []
    assert not late.is_listed[:, :50].any()


@given(seed=SEEDS, pause=st.integers(8, 30))
def test_a_pause_changes_little(seed: int, pause: int) -> None:
    """Days without delivery between baseline and today are left out: the score is that without the pause."""
    panel = _panel(seed=seed, days=45)
    panel = _with(panel, "impressions", lambda values: values.__setitem__((0, slice(-7, None)), 5_000.0))
    figures = {name: np.insert(getattr(panel, name), [38 - 7] * pause, 0.0, axis=1) for name in FIGURES}
    paused = replace(panel, is_stored=np.ones((1, 45 + pause), bool), **figures)
    flat: dict[str, Any] = {"ctr_weekdays": (1.0,) * 7}
    before, after = _table(panel, **flat), _table(paused, **flat)
    assert after.figures["total"][0, -1] == pytest.approx(before.figures["total"][0, -1], abs=1e-3)
    assert (
        list_scores(before, panel.last_day)[0].baseline["ctr"] == list_scores(after, paused.last_day)[0].baseline["ctr"]
    )


@given(seed=SEEDS)
def test_bounds_hold_everywhere(seed: int) -> None:
    """Scores and qualities are within their range on every day, statuses follow from losses, and pending has none."""
    panel = _panel(ads=4, seed=seed)
    table = _table(panel, np.random.default_rng(seed).uniform(0.5, 25, (4, DAYS)))
    for day in range(0, DAYS, 9):
        for score in list_scores(table, FIRST + timedelta(days=day)):
            for value in (score.total, score.creative, score.audience, score.algorithm):
                assert value is None or 0 <= value <= 100
            assert 0 <= score.data_quality <= 1
            assert score.status == status_of(score.loss)
            assert (score.total is None) == (score.trend_per_day is None) or score.trend_per_day is None
            assert score.driver is None or getattr(score, score.driver) > 30


def test_the_baseline_is_an_upper_week_and_the_median_price() -> None:
    """Of eight weeks of which one has 1.5 % of clicks it is near the others' 1.0 %, and four lift it."""
    for weeks, low, high in ((1, 0.0095, 0.0107), (4, 0.0125, 0.015)):
        rates = np.repeat([150.0] * weeks + [100.0] * (8 - weeks), 7)
        panel = _with(_steady(), "clicks", lambda values, r=rates: values.__setitem__((0, slice(-63, -7)), r))
        assert low < _last(panel).baseline["ctr"] < high
    panel = _with(_steady(), "spend", lambda values: values.__setitem__((0, slice(-28, -7)), 500.0))
    assert _last(panel).baseline["cpm"] == pytest.approx(5.0, rel=0.6)


def test_few_impressions_do_not_make_a_good_week() -> None:
    """A week of a hundred impressions with 5 % of clicks does not become the usual level."""
    lucky = _with(_steady(), "clicks", lambda values: values.__setitem__((0, slice(-17, -10)), 5.0))
    lucky = _with(lucky, "impressions", lambda values: values.__setitem__((0, slice(-17, -10)), 100.0))
    assert _last(lucky).baseline["ctr"] < 0.0115


@pytest.mark.parametrize("missing", [11, 12])
def test_missing_history_is_pending(missing: int) -> None:
    """With more than 30 % of the last 37 days not stored the ad is pending and flagged."""
    panel = _steady()
    is_stored = np.ones((1, DAYS), bool)
    is_stored[0, 40 : 40 + missing] = False
    figures = {name: np.where(is_stored, getattr(panel, name), np.nan) for name in FIGURES}
    score = _last(replace(panel, is_stored=is_stored, **figures))
    assert ("history_missing" in score.baseline["flags"]) == (missing == 12)
    assert (score.status == "pending") == (missing == 12)


def test_a_suspended_ad_is_pending_with_the_reason() -> None:
    """After seven stored days without delivery it is flagged, after six not; it is listed while its days are used."""
    panel = _with(_steady(), "impressions", lambda values: values.__setitem__((0, slice(30, None)), 0.0))
    table = _table(panel)
    flagged = [list_scores(table, FIRST + timedelta(days=day))[0].baseline["flags"] for day in (35, 36)]
    assert flagged == [[], ["suspended"]]
    assert list_scores(table, FIRST + timedelta(days=36))[0].status == "pending"
    assert list_scores(table, FIRST + timedelta(days=65))
    assert list_scores(table, FIRST + timedelta(days=66)) == []


def test_an_ad_is_pending_for_two_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when few days are asked for."""
    monkeypatch.setattr("adwarm.fatigue.score_block.RECENT_DAYS", 1)
    settings = FatigueSettings(min_days=2)
    late = _with(_steady(), "impressions", lambda values: values.__setitem__((0, slice(0, 50)), 0.0))
    table = _table(late, settings=settings)
    statuses = [list_scores(table, FIRST + timedelta(days=day))[0].status for day in (50, 51, 52)]
    assert statuses == ["pending", "pending", "healthy"]


def test_a_larger_budget_is_flagged_and_its_price_damped() -> None:
    """Three times the delivery at a price 40 % higher counts half of what the price alone would."""
    dearer = _with(_steady(), "spend", lambda values: values.__setitem__((0, slice(-7, None)), 70.0))
    larger = _with(dearer, "impressions", lambda values: values.__setitem__((0, slice(-7, None)), 30_000.0))
    larger = _with(larger, "spend", lambda values: values.__setitem__((0, slice(-7, None)), 210.0))
    plain, damped = _last(dearer), _last(larger)
    assert plain.baseline["flags"] == []
    assert plain.algorithm is not None
    assert damped.algorithm == pytest.approx(plain.algorithm / 2, rel=0.02)
    for spend in (20.0, 110.0):
        changed = _with(_steady(), "spend", lambda values, of=spend: values.__setitem__((0, slice(-3, None)), of))
        assert _last(changed).baseline["flags"] == ["budget_changed"]


def test_a_change_of_the_creative_starts_a_new_history() -> None:
    """The ad is pending for seven days, and then compared with the days since; the change is flagged for two weeks."""
    panel = _with(_steady(), "clicks", lambda values: values.__setitem__((0, slice(50, None)), 50.0))
    changed = np.zeros((1, DAYS), bool)
    changed[0, 50] = True
    old, new = _table(panel), _table(replace(panel, changed=changed))

    def at(table: ScoreTable, day: int) -> FatigueScore:
        return list_scores(table, FIRST + timedelta(days=day))[0]

    assert (at(old, 56).status, at(new, 49)) == ("critical", at(old, 49))
    assert [at(new, day).status for day in (50, 55, 56, 69)] == ["pending", "pending", "healthy", "healthy"]
    assert at(new, 56).baseline["ctr"] < 0.0055
    flagged = ["audience_changed" in at(new, day).baseline["flags"] for day in (49, 50, 63, 64)]
    assert flagged == [False, True, True, False]


def test_a_notable_frequency_and_no_frequency_are_flagged() -> None:
    """More than 20 times in a week is worth a look."""
    assert _last(_steady(), 20.1).baseline["flags"] == ["frequency_notable"]
    assert _last(_steady(), np.nan).baseline["flags"] == ["frequency_missing"]


def test_the_cost_per_result_is_compared_with_the_past() -> None:
    """A third of the results at the same spend is nearly three times the cost; without results there is no ratio."""
    worse = _with(_steady(), "results", lambda values: values.__setitem__((0, slice(-7, None)), 4 / 3))
    assert _last(worse).cost_ratio == pytest.approx((28 + 3) / (28 / 3 + 3), rel=1e-5)
    assert _last(_steady()).cost_ratio == pytest.approx(1)
    assert _last(replace(_steady(), results=empty_figures(1, DAYS))).cost_ratio is None
    assert _last(_with(_steady(), "results", lambda values: values.fill(0.0))).cost_ratio is None
    assert _last(_steady()).recent_spend == 350
    assert _last(replace(_steady(), spend=empty_figures(1, DAYS))).recent_spend is None


def test_a_declining_ad_is_projected() -> None:
    """Clicks that fall day by day raise the score; it has days to critical within an interval."""
    falling = np.concatenate([np.full(50, 100.0), 100 * 0.985 ** np.arange(20)])
    score = _last(_with(_steady(), "clicks", lambda values: values.__setitem__((0, slice(None)), falling)), 2.5)
    assert score.trend_per_day is not None
    assert score.trend_per_day > 0.3
    assert score.days_to_critical is not None
    assert score.days_to_critical_low is not None
    assert score.days_to_critical_high is not None
    assert 0 < score.days_to_critical_low <= score.days_to_critical <= score.days_to_critical_high <= 365
    assert score.status == "healthy"


def test_more_noise_means_a_smaller_score() -> None:
    """The same decline counts less in an account whose days differ more."""
    panel = _with(_steady(), "clicks", lambda values: values.__setitem__((0, slice(-7, None)), 80.0))
    calm, noisy = (float(_table(panel, noise_sd=noise).figures["creative"][0, -1]) for noise in (0.06, 0.25))
    assert calm > noisy + 5


def test_weekdays_are_taken_out() -> None:
    """Of a new ad, a weekend with the account's usual dip is no decline."""
    factors = (1.0, 1.0, 1.0, 1.0, 1.0, 0.7, 0.7)
    weekday = (FIRST.weekday() + np.arange(DAYS)) % 7
    clicks = 100 * np.array(factors)[weekday]
    panel = replace(_steady(), clicks=clicks[None, :])
    panel = _with(panel, "impressions", lambda values: values.__setitem__((0, slice(0, 55)), 0.0))
    sunday = FIRST + timedelta(days=62)
    aware = list_scores(_table(panel, ctr_weekdays=factors), sunday)[0]
    unaware = list_scores(_table(panel, ctr_weekdays=(1.0,) * 7), sunday)[0]
    assert aware.creative == pytest.approx(0, abs=1e-6)
    assert (unaware.creative or 0) > 0.5
