"""A stored score, its alarm and its projection never contradict each other, whatever the data and settings are."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
import orjson
import pytest

from adwarm.fatigue.alarm import detect
from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.fatigue.prior import measure_priors
from adwarm.fatigue.recommendation import recommend
from adwarm.fatigue.score import make_columns, score_panel
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings
from tests.benchmarks.fatigue_worlds import World, draw_panel, independent, wear
from tests.unit.fatigue.stored_ads import status_of

ADS, DAYS = 240, 90
NAMES = [field.name for field in fields(FatigueScore)]
COMPONENTS = ("creative", "audience", "algorithm")


def _break(panel: AdPanel) -> AdPanel:
    """Return the ads with one kind of defect each: pauses, no clicks, more clicks than impressions, unknown days."""
    rng = np.random.default_rng(3)
    figures = {name: getattr(panel, name).copy() for name in ("impressions", "clicks", "spend")}
    impressions, clicks, spend = figures.values()
    for ad in range(ADS):
        kind, day = ad % 12, int(rng.integers(30, 80))
        paused = {1: slice(day, day + 21), 4: slice(0, day), 7: slice(0, DAYS, 3)}.get(kind)
        if paused is not None:
            impressions[ad, paused] = clicks[ad, paused] = spend[ad, paused] = 0
        clicks[ad] *= {2: 0, 3: 90}.get(kind, 1)
        if kind == 5:
            clicks[ad, rng.integers(0, DAYS, 30)] = np.nan
        if kind == 6:
            clicks[ad, day:] = np.nan
        if kind == 8:
            impressions[ad], clicks[ad] = np.minimum(impressions[ad], 3), np.minimum(clicks[ad], 1)
        if kind == 9:
            impressions[ad, day] = np.nan
        if kind == 11:
            impressions[ad], clicks[ad], spend[ad] = impressions[ad] * 1e9, clicks[ad] * 1e9, spend[ad] * 1e9
    spend[10::12] = 0
    stored = panel.is_stored.copy()
    stored[20:40, 40:48] = stored[40:60, 62:89] = False
    for values in figures.values():
        values[~stored] = np.nan
    changed = rng.random(stored.shape) < 0.004
    results = np.where(stored, rng.poisson(1, stored.shape), np.nan)
    return replace(panel, is_stored=stored, changed=changed, results=results, **figures)


@pytest.fixture(scope="module")
def ads() -> tuple[AdPanel, FloatArray]:
    """Ads of 12 accounts and their frequencies, a fifth of them unknown."""
    panel, frequency = _simulate(ADS, 20, 0.5)
    unknown = np.random.default_rng(4).random(frequency.shape) < 0.2
    return _break(panel), np.where(unknown, np.nan, frequency)


def _simulate(ads: int, ads_per_account: int, fatigued: float) -> tuple[AdPanel, FloatArray]:
    """Return ads of which a share wears out, and their frequencies, which rise with it."""
    random = np.random.default_rng(5)
    onset = np.where(random.random(ads) < fatigued, random.integers(40, 70, ads), -1)
    left = wear("wear fast", onset, DAYS)
    world = World("", independent(), ads_per_account=ads_per_account)
    return draw_panel(world, 5, ads, DAYS, left), 1 + 8 * (1 - left) + random.uniform(0, 0.5, left.shape)


def _list_scores(panel: AdPanel, frequency: FloatArray, settings: FatigueSettings) -> list[FatigueScore]:
    """Return the scores of several days, as they are stored."""
    priors = measure_priors(panel, panel.first_day + timedelta(days=30))
    days = [panel.first_day + timedelta(days=number) for number in (57, 73, 89)]
    table, alarms = score_panel(panel, priors, frequency, settings), detect(panel, priors, settings)
    columns, _ = make_columns(table, alarms, dict.fromkeys(panel.account_ids, days))
    rows = [dict(zip(NAMES, row, strict=True)) for row in zip(*(columns[name] for name in NAMES), strict=True)]
    return [FatigueScore(**{**row, "baseline": orjson.loads(row["baseline"])}) for row in rows]


def _check_total(score: FatigueScore, weights: Mapping[str, float]) -> None:
    assert score.status == status_of(score.loss)
    assert (score.total is None) == (score.loss is None)
    known = {name: value for name in COMPONENTS if (value := getattr(score, name)) is not None}
    assert all(0 <= value <= 100 for value in known.values())
    if score.total is None:
        assert (known, score.driver, score.trend_per_day) == ({}, None, None)
    else:
        counted = [value for name, value in known.items() if weights[name]]
        assert min(counted) - 1e-3 <= score.total <= max(counted) + 1e-3
    if score.driver is not None:
        assert known[score.driver] > 30
        assert weights[score.driver] > 0


def _check_projection(score: FatigueScore) -> None:
    days, low, high = score.days_to_critical, score.days_to_critical_low, score.days_to_critical_high
    if score.status == "critical":
        assert (days, low, high) == (0, 0, 0)
    elif days is None:
        assert low is None
    else:
        assert score.trend_per_day is not None
        assert score.trend_per_day > 0
        assert low is not None
        assert 0 <= low <= days <= (math.inf if high is None else high)


def _check_alarm(score: FatigueScore) -> None:
    assert (score.alarm == "alarm") == (score.alarm_since is not None)
    assert (score.alarm == "none") == (score.onset is None)
    if score.onset is not None:
        assert score.onset <= (score.alarm_since or score.as_of) <= score.as_of
    assert score.alarm == "none" or "suspended" not in score.baseline["flags"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"min_days": 2, "min_impressions": 0},
        {"min_days": 30, "weights": (0.0, 0.5, 0.5)},
        {"weights": (0.0, 0.0, 1.0), "false_alarms_per_account_week": 0.1},
        {"false_alarms_per_account_week": 100},
    ],
)
def test_a_score_does_not_contradict_itself(ads: tuple[AdPanel, FloatArray], changes: dict[str, Any]) -> None:
    """Status, components, driver, projection, alarm, onset and the words of the evidence fit each other."""
    settings = FatigueSettings(**changes)
    found = _list_scores(*ads, settings)
    assert {score.status for score in found} >= {"healthy", "pending"}
    assert any(score.alarm == "alarm" for score in found)
    for score in found:
        _check_total(score, dict(zip(COMPONENTS, settings.weights, strict=True)))
        _check_projection(score)
        _check_alarm(score)
        assert recommend(score, settings).action


@pytest.mark.parametrize("size", [1, 2, 500])
def test_accounts_of_any_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account of one ad, of two, and of hundreds has an alarm for its ads that wear out."""
    monkeypatch.setattr("adwarm.fatigue.alarm.ALARM_EVIDENCE", 3.0)
    found = _list_scores(*_simulate(size, size, 1.0), FatigueSettings())
    assert len({score.ad_id for score in found}) == size
    assert any(score.alarm == "alarm" for score in found)
    for score in found:
        _check_alarm(score)
