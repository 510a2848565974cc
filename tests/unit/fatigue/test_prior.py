"""The prior of an account: what it finds in simulated accounts, and what it depends on."""

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from adwarm.fatigue.panel import AdPanel, empty_figures
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior, measure_priors

FIRST = date(2026, 6, 1)  # a Monday
DAYS = 90
UNTIL = FIRST + timedelta(days=DAYS)


def _account(
    *,
    ads: int = 30,
    noise: float = 0.115,
    spread: float = 0.25,
    market: float = 0.05,
    weekend: float = 1.0,
    seed: int = 1,
) -> AdPanel:
    """An account of healthy ads with planted noise, spread of the ads, market and weekend factor."""
    rng = np.random.default_rng(seed)
    weekday = (FIRST.weekday() + np.arange(DAYS)) % 7
    rate = 0.012 * np.exp(rng.normal(0, spread, (ads, 1)) + rng.normal(0, market, DAYS))
    rate = rate * np.where(weekday >= 5, weekend, 1.0) * np.exp(rng.normal(0, noise, (ads, DAYS)))
    impressions = np.round(8_000 * np.exp(rng.normal(0, 0.5, (ads, 1)) + rng.normal(0, 0.25, (ads, DAYS))))
    price = 5 * np.exp(rng.normal(0, 0.3, (ads, 1)) + rng.normal(0, 0.08, (ads, DAYS)))
    return AdPanel(
        account_ids=("act_1",) * ads,
        ad_ids=tuple(f"{number:03d}" for number in range(ads)),
        first_day=FIRST,
        impressions=impressions,
        clicks=rng.binomial(impressions.astype(int), rate).astype(float),
        spend=impressions / 1000 * price,
        results=empty_figures(ads, DAYS),
        is_stored=np.ones((ads, DAYS), bool),
    )


def _prior(panel: AdPanel, until: date = UNTIL) -> AccountPrior:
    return measure_priors(panel, until)["act_1"]


@pytest.mark.parametrize("noise", [0.06, 0.115, 0.166])
def test_planted_noise_is_found(noise: float) -> None:
    """The daily noise beyond counting, over the quartiles of real series."""
    prior = _prior(_account(noise=noise, market=0.0))
    assert prior.noise_sd == pytest.approx(noise, abs=0.012)


def test_noise_with_memory_is_told_from_independent_noise(subtests: pytest.Subtests) -> None:
    """Noise of which half is correlated .5 and independent noise are found as such; a walk is neither."""
    rng = np.random.default_rng(3)
    lasting = np.zeros((30, DAYS))
    for day in range(1, DAYS):
        lasting[:, day] = 0.5 * lasting[:, day - 1] + rng.normal(0, 0.1 * np.sqrt(0.75), 30)
    walk = np.cumsum(rng.normal(0, 0.03, (30, DAYS)), axis=1)
    for name, moves, share in (("memory", lasting, 0.5), ("none", 0.0, 0.0), ("walk", walk, 0.0)):
        panel = _account(noise=0.1, market=0.0)
        clicks = panel.clicks * np.exp(np.asarray(moves))
        prior = _prior(replace(panel, clicks=np.round(clicks)))
        with subtests.test(name):
            assert prior.lasting_share == pytest.approx(share, abs=0.25)
            assert prior.noise_factor == pytest.approx(1 + 2 * prior.lasting_share)


def test_counting_alone_is_no_noise() -> None:
    """Binomial clicks of a constant rate have almost no noise of their own."""
    assert _prior(_account(noise=0.0, market=0.0)).noise_sd < 0.04


def test_a_trend_is_no_noise() -> None:
    """An ad that steadily loses two thirds of its clicks is not noisier than a steady one."""
    panel = _account(noise=0.06, market=0.0)
    kept = np.broadcast_to(np.linspace(1, 1 / 3, DAYS), panel.clicks.shape)
    worn = replace(panel, clicks=np.random.default_rng(5).binomial(panel.clicks.astype(int), kept).astype(float))
    assert _prior(worn).noise_sd == pytest.approx(0.06, abs=0.015)


def test_the_other_figures_are_found() -> None:
    """Mean, spreads between ads, noise of the price and weekdays of a simulated account."""
    prior = _prior(_account(ads=60, market=0.10, weekend=0.8, noise=0.06))
    assert prior.ctr_mean == pytest.approx(0.0115, rel=0.15)
    assert prior.ctr_spread == pytest.approx(0.25, abs=0.05)
    assert prior.cpm_spread == pytest.approx(0.30, abs=0.06)
    assert prior.price_noise_sd == pytest.approx(0.08, abs=0.01)
    weekdays = np.array(prior.ctr_weekdays)
    assert weekdays[5:].mean() / weekdays[:5].mean() == pytest.approx(0.82, abs=0.05)
    assert np.log(weekdays).mean() == pytest.approx(0, abs=1e-5)
    assert np.allclose(prior.cpm_weekdays, 1, atol=0.02)


def test_a_small_account_has_the_defaults() -> None:
    """Without clicks, days or ads there is nothing to measure; with little data the defaults weigh most."""
    panel = _account(ads=1)
    few = replace(panel, clicks=np.where(np.arange(DAYS) < DAYS - 6, np.nan, panel.clicks))
    assert _prior(few).noise_sd == pytest.approx(DEFAULT_PRIOR.noise_sd, abs=0.02)
    assert _prior(few).ctr_spread == DEFAULT_PRIOR.ctr_spread
    none = replace(panel, impressions=np.zeros_like(panel.impressions))
    assert _prior(none) == DEFAULT_PRIOR
    assert _prior(panel, FIRST) == DEFAULT_PRIOR
    assert _prior(panel, FIRST + timedelta(days=1)).noise_sd == DEFAULT_PRIOR.noise_sd


def test_later_days_and_old_ones_are_not_used() -> None:
    """A prior depends on the ninety days before the month, and on no other."""
    panel = _account()
    until = FIRST + timedelta(days=60)
    changed = panel.clicks.copy()
    changed[:, 60:] *= 7
    assert _prior(replace(panel, clicks=changed), until) == _prior(panel, until)
    longer = replace(
        panel,
        first_day=FIRST - timedelta(days=7),
        **{
            name: np.pad(getattr(panel, name), ((0, 0), (7, 0)), constant_values=50)
            for name in ("impressions", "clicks", "spend")
        },
    )
    assert _prior(longer) == _prior(panel)


def test_another_account_and_the_order_change_nothing() -> None:
    """The prior of an account is the same, to the last bit, beside another account."""
    panel, other = _account(), _account(seed=2, noise=0.3)
    both = replace(
        panel,
        account_ids=("act_0",) * 30 + panel.account_ids,
        ad_ids=other.ad_ids + panel.ad_ids,
        **{
            name: np.concatenate([getattr(other, name), getattr(panel, name)])
            for name in ("impressions", "clicks", "spend")
        },
    )
    priors = measure_priors(both, UNTIL)
    assert priors["act_1"] == _prior(panel)
    assert priors["act_0"] != priors["act_1"]


def test_the_currency_changes_nothing() -> None:
    """With twice the spend the prior is the same."""
    panel = _account()
    assert _prior(replace(panel, spend=2 * panel.spend)) == _prior(panel)


def test_a_prior_survives_json() -> None:
    """Stored and read again it is equal; a figure that is not part of it any more is left out."""
    prior = _prior(_account())
    assert AccountPrior.from_dict({**json.loads(json.dumps(prior.to_dict())), "days": 90}) == prior
