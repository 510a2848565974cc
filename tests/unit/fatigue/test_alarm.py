"""Alarms: how rarely chance raises one, independence of accounts, order and later days, resets and limits."""

from dataclasses import fields, replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adwarm.fatigue import alarm
from adwarm.fatigue.alarm import (
    BASELINE_DAYS,
    DAYS_TO_CHANCE,
    LAG_DAYS,
    PAUSE_DAYS,
    UNKNOWN_DAYS,
    AlarmTable,
    _Day,
    _OpenAlarms,
    _Scan,
    detect,
)
from adwarm.fatigue.panel import AdPanel
from adwarm.fatigue.prior import AccountPrior, measure_priors
from adwarm.settings import FatigueSettings
from tests.benchmarks.fatigue_worlds import WORLDS, World, draw_panel, independent, permute_days, wear

SETTINGS = FatigueSettings()
ONSET = 35


def _simulate(
    seed: int = 1, ads: int = 60, days: int = 90, *, ads_per_account: int = 20, fatigued: float = 0.5
) -> AdPanel:
    random = np.random.default_rng(seed)
    onset = np.where(random.random(ads) < fatigued, random.integers(days // 3, days, ads), -1)
    world = World("", independent(), ads_per_account=ads_per_account)
    return draw_panel(world, seed, ads, days, wear("wear fast", onset, days))


def _steady(ads: int = 4, days: int = 70, lost: float = 0.0, noise: float = 0.05) -> AdPanel:
    """Return ads of one account each with 200 clicks a day, of which a share is lost from `ONSET` on."""
    panel = _simulate(ads=ads, days=90, ads_per_account=1, fatigued=0.0)
    rng = np.random.default_rng(7)
    rate = np.where(np.arange(90) >= ONSET, 0.02 * (1 - lost), 0.02)
    clicks = np.round(10_000 * rate * np.exp(rng.normal(0, noise, (ads, 90))))
    return _first_days(replace(panel, impressions=np.full((ads, 90), 10_000.0), clicks=clicks), days)


def _settings(**changes: float) -> FatigueSettings:
    """Return the default settings with these changes."""
    return FatigueSettings(**changes)


def _first_days(panel: AdPanel, days: int) -> AdPanel:
    figures = ("impressions", "clicks", "spend", "results", "is_stored")
    return replace(panel, **{name: getattr(panel, name)[:, :days] for name in figures})


def _ads(panel: AdPanel, order: list[int]) -> AdPanel:
    figures = ("impressions", "clicks", "spend", "results", "is_stored")
    names = ("account_ids", "ad_ids")
    return replace(
        panel,
        **{name: getattr(panel, name)[order] for name in figures},
        **{name: tuple(getattr(panel, name)[ad] for ad in order) for name in names},
    )


def _equal(one: AlarmTable, other: AlarmTable) -> bool:
    """Return whether every array has the same bytes."""
    return all(getattr(one, name.name).tobytes() == getattr(other, name.name).tobytes() for name in fields(one))


def _rows(table: AlarmTable, ads: list[int] | slice, days: int = 90) -> AlarmTable:
    cut = {name.name: np.ascontiguousarray(getattr(table, name.name)[ads, :days]) for name in fields(table)}
    return AlarmTable(**cut)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 99),
    daily=st.sampled_from([500, 4_000, 40_000]),
    noise=st.sampled_from([0.0, 0.06, 0.115, 0.166]),
)
def test_chance_is_as_rare_as_the_limit_of_the_account_says(seed: int, daily: int, noise: float) -> None:
    """The sum of an ad that does not change reaches 3 about once in 6.4 * exp(3) days at most."""
    panel = draw_panel(World("", independent(noise), impressions=daily), seed, 600, 60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alarm, "ALARM_EVIDENCE", 3.0)
        table = detect(panel, {}, _settings(false_alarms_per_account_week=1e9))
    days = np.isfinite(table.evidence).sum()

    assert days > 10_000
    assert table.raised.sum() <= 1.25 * days / (DAYS_TO_CHANCE * np.exp(3.0))


def test_false_alarms_of_healthy_ads_are_rarer_than_the_setting() -> None:
    """Healthy simulated ads, and their days in random order, have less than one alarm in 180 days."""
    panel = _simulate(3, ads=600, fatigued=0.0)

    for healthy in (panel, permute_days(panel, 1)):
        table = detect(healthy, {}, SETTINGS)
        assert table.raised.sum() * 180 < healthy.impressions.size


@pytest.mark.parametrize("number", [1, 2, 7, 8, 10, 13], ids=lambda number: WORLDS[number].name)
def test_days_that_depend_on_each_other_keep_the_promise(number: int) -> None:
    """Memory, heavy tails, a walk and noisy ads of few clicks raise at most one alarm in 180 ad-days."""
    panel = draw_panel(WORLDS[number], 5, ads=200, days=120)
    priors = measure_priors(panel, panel.first_day + timedelta(days=90))

    assert detect(panel, priors, SETTINGS).raised.sum() * 180 <= panel.impressions.size


def test_a_lower_rate_raises_one_alarm_soon() -> None:
    """A quarter of the clicks lost: one alarm per ad within a week; the onset is near the truth."""
    table = detect(_steady(lost=0.25), {}, SETTINGS)

    assert table.raised.sum(axis=1).tolist() == [1] * 4
    ads, days = np.nonzero(table.raised)
    assert np.all((days >= ONSET) & (days <= ONSET + 7))
    assert np.all(np.abs(table.onset[ads, days] - ONSET) <= 4)
    assert np.all(table.level[ads, days] == 2)
    assert np.all(table.alarm_since[ads, days] == days)


def test_a_day_with_evidence_has_an_estimate_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days of level 1, and they alone before an alarm, have an onset."""
    monkeypatch.setattr(alarm, "FALSE_SHARE", 0.001)
    table = detect(_steady(lost=0.15), {}, _settings(false_alarms_per_account_week=0.001))
    before = np.cumsum(table.raised, axis=1) == 0
    assert np.any(table.level[before] == 1)
    assert np.array_equal(table.onset[before] >= 0, table.level[before] == 1)
    assert np.array_equal(table.onset[before] == -1, table.level[before] == 0)


def test_a_steady_or_rising_rate_raises_none() -> None:
    """Neither an unchanged nor a higher rate is a decline."""
    for lost in (0.0, -0.4):
        assert not detect(_steady(lost=lost), {}, SETTINGS).level.any()


def test_one_bad_day_raises_no_alarm() -> None:
    """A single day without any click is limited to three standard deviations."""
    panel = _steady()
    panel.clicks[:, ONSET] = 0

    assert not detect(panel, {}, SETTINGS).raised.any()


def test_an_alarm_begins_a_new_baseline_and_ends_when_the_rate_is_usual() -> None:
    """After the alarm there is no evidence until the new baseline suffices, and after 28 steady days no alarm."""
    table = detect(_steady(lost=0.3, days=90), {}, SETTINGS)
    day = int(np.flatnonzero(table.raised[0])[0])

    assert np.isnan(table.evidence[0, day + 1 : day + LAG_DAYS + BASELINE_DAYS]).all()
    assert np.isfinite(table.evidence[0, day + LAG_DAYS + BASELINE_DAYS])
    assert (table.alarm_since[0, day : day + 28] == day).all()
    assert table.alarm_since[0, day + 28] == -1


def test_an_alarm_ends_when_the_ad_recovers() -> None:
    """Back at the usual rate, the alarm ends within days rather than after four weeks."""
    panel = _steady(lost=0.3)
    panel.clicks[:, ONSET + 12 :] = np.round(panel.clicks[:, ONSET + 12 :] / 0.7)
    table = detect(panel, {}, SETTINGS)

    assert (table.level[:, ONSET + 11] == 2).all()
    assert not table.level[:, ONSET + 20].any()


def test_a_pause_and_another_creative_begin_anew() -> None:
    """A lower rate after a week without delivery, or since another creative, is no decline, and an alarm ends."""
    paused, changed = _steady(lost=0.3), _steady(lost=0.3)
    paused.impressions[:, ONSET - PAUSE_DAYS : ONSET] = paused.clicks[:, ONSET - PAUSE_DAYS : ONSET] = 0
    changes = np.zeros(changed.impressions.shape, bool)
    changes[:, ONSET] = True

    assert not detect(paused, {}, SETTINGS).raised.any()
    assert not detect(replace(changed, changed=changes), {}, SETTINGS).raised.any()
    assert not detect(replace(_steady(lost=0.3), changed=np.roll(changes, 15)), {}, SETTINGS).level[:, ONSET + 15].any()


def test_a_single_impression_interrupts_a_pause() -> None:
    """An alarm outlasts two times six days without delivery when one impression is between them, and not without it."""
    first = ONSET + 8
    for impressions, lasts in ((1.0, True), (0.0, False)):
        panel = _steady(lost=0.4)
        panel.impressions[:, first:] = panel.clicks[:, first:] = 0
        panel.impressions[:, first + PAUSE_DAYS - 1] = impressions
        table = detect(panel, {}, SETTINGS)

        assert (table.level[:, first + PAUSE_DAYS - 2] == 2).all()
        assert ((table.level[:, first + 2 * PAUSE_DAYS - 2] == 2) == lasts).all()
        assert not table.level[:, first + 2 * PAUSE_DAYS - 1].any()


def test_unknown_days_are_skipped() -> None:
    """Unknown clicks and days that are not stored neither alarm nor pause; evidence stays what it was."""
    panel = _steady(lost=0.25)
    panel.clicks[:, 20:23] = np.nan
    panel.is_stored[:, 23:33] = False
    for values in (panel.impressions, panel.clicks):
        values[:, 23:33] = np.nan
    table = detect(panel, {}, SETTINGS)

    assert not table.raised[:, :ONSET].any()
    assert table.raised[:, ONSET : ONSET + 8].any(axis=1).all()
    assert np.array_equal(table.evidence[:, 22], table.evidence[:, 19])


def test_an_alarm_ends_when_nothing_is_known_of_the_ad() -> None:
    """After two weeks without known figures an old alarm is gone, and the ad begins anew."""
    for name in ("clicks", "impressions"):
        panel = _steady(lost=0.4)
        first = ONSET + 8
        getattr(panel, name)[:, first:] = np.nan
        table = detect(panel, {}, SETTINGS)

        assert (table.level[:, first + UNKNOWN_DAYS - 2] == 2).all(), name
        assert not table.level[:, first + UNKNOWN_DAYS - 1 :].any()
        assert np.isnan(table.evidence[:, first + UNKNOWN_DAYS :]).all()


def test_alarms_last_from_one_month_into_the_next() -> None:
    """Up to a month its scan is that of the priors before it; they change, and the alarms that last keep their days."""
    panel = _simulate(3, fatigued=0.9)
    column = 75
    earlier = {name: AccountPrior(noise_sd=0.15) for name in panel.account_ids}
    before = detect(_first_days(panel, column), earlier, SETTINGS).alarm_since[:, -1]
    table = detect(panel, {}, SETTINGS, earlier, column)
    assert (table.alarm_since[:, column - 1] == before).all()
    since = table.alarm_since[:, column]

    lasting = before >= 0
    assert np.count_nonzero(lasting) > 20
    assert np.count_nonzero(since[lasting] == before[lasting]) > 20
    assert np.isin(since[lasting] - before[lasting], (0, *(-1 - before[lasting]), *(column - before[lasting]))).all()
    assert np.isin(since[~lasting], (-1, column)).all()
    assert ((table.level == 2) == (table.alarm_since >= 0)).all()
    alone = detect(panel, {}, SETTINGS).alarm_since[:, column]
    assert (alone != since).any()
    same = detect(panel, earlier, SETTINGS, earlier, column)
    whole = detect(panel, earlier, SETTINGS)
    assert np.allclose(same.evidence, whole.evidence, rtol=1e-4, equal_nan=True)
    assert not np.allclose(table.evidence[:, column:], whole.evidence[:, column:], rtol=1e-2, equal_nan=True)


def test_figures_do_not_depend_on_other_accounts_or_the_order_of_ads() -> None:
    """An account alone, and its ads in another order, have the same bytes."""
    panel = _simulate(5)
    whole = detect(panel, {}, SETTINGS)

    for first in (0, 20, 40):
        ads = list(range(first, first + 20))
        assert _equal(detect(_ads(panel, ads), {}, SETTINGS), _rows(whole, ads))
        assert _equal(detect(_ads(panel, ads[::-1]), {}, SETTINGS), _rows(whole, ads[::-1]))
    single = _simulate(5, ads_per_account=1)
    assert _equal(detect(_ads(single, [7]), {}, SETTINGS), _rows(detect(single, {}, SETTINGS), [7]))


@settings(max_examples=10, deadline=None)
@given(days=st.integers(1, 89), seed=st.integers(0, 20))
def test_no_later_day_changes_an_earlier_figure(days: int, seed: int) -> None:
    """Cutting the panel after a day leaves the bytes of the days before as they are."""
    panel = _simulate(seed, ads=40)

    whole = _rows(detect(panel, {}, SETTINGS), slice(None), days)

    assert _equal(detect(_first_days(panel, days), {}, SETTINGS), whole)


def test_the_limit_of_an_account_grows_with_its_ads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many ads and a small budget the same evidence is a watch; many declines at once pass by their share."""
    panel = replace(_steady(ads=60, lost=0.2, noise=0.08), account_ids=("act_1",) * 60)
    healthy = _steady(ads=60, noise=0.08)
    panel.clicks[1:] = healthy.clicks[1:]
    strict = _settings(false_alarms_per_account_week=0.001)
    monkeypatch.setattr(alarm, "FALSE_SHARE", 0.0)
    table = detect(panel, {}, strict)

    assert (table.level == 1).any()
    assert not (table.raised & (table.evidence < np.log(7 * 40 / DAYS_TO_CHANCE / 0.001))).any()
    many = replace(_steady(ads=60, lost=0.2, noise=0.08), account_ids=("act_1",) * 60)
    delays = []
    for share in (0.0, 1.0):
        limits = _settings(false_alarms_per_account_week=0.01)
        monkeypatch.setattr(alarm, "FALSE_SHARE", share)
        raised = detect(many, {}, limits).raised
        delays.append(np.where(raised.any(axis=1), raised.argmax(axis=1), 99).mean())

    assert delays[1] < delays[0]


evidences = st.lists(st.sampled_from([0.0, 1.9, 2.0, 2.1, 2.7, 3.2, 4.1, 6.0]), min_size=4, max_size=4)


@given(
    evidences, evidences, st.lists(st.booleans(), min_size=8, max_size=8), st.sampled_from([(0.05, 0.5), (0.2, 0.0)])
)
def test_the_limit_is_that_of_the_procedure(
    one: list[float], other: list[float], ready: list[bool], budget: tuple[float, float]
) -> None:
    """Per account: of the ads with the most evidence as many as pass the limit for so many, a least one always."""
    panel = _simulate(ads=8, ads_per_account=4, days=20)
    scan = _Scan(panel, _settings(false_alarms_per_account_week=budget[0]))
    scan.evidence = np.array([*one, *other])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alarm, "ALARM_EVIDENCE", 2.0)
        patch.setattr(alarm, "FALSE_SHARE", budget[1])
        raised = scan._raise(np.array(ready), np.array([True] * 4 + [False] + [True] * 3))
    for first, most in ((0, 4), (4, 3)):
        values = sorted((scan.evidence[ad] for ad in range(first, first + 4) if ready[ad]), reverse=True)
        passing = [
            rank
            for rank, value in enumerate(values, 1)
            if value >= 2.0 and DAYS_TO_CHANCE * np.exp(value) >= 7 * most / max(budget[0], budget[1] * rank)
        ]
        assert raised[first : first + 4].sum() == max(passing, default=0)
        assert (
            sorted(scan.evidence[first : first + 4][raised[first : first + 4]], reverse=True)
            == (values[: max(passing, default=0)])
        )


def _day(rate: float = 0.0, *, usable: bool = True) -> _Day:
    return _Day(np.array([usable]), np.array([rate]), np.array([0.015]))


def _opened(decline: float = 0.3, day: int = 40) -> _OpenAlarms:
    alarms, one = _OpenAlarms(1), np.ones(1)
    alarms.open(day, np.array([True]), np.array([35]), 0.02 * one, decline * one)
    return alarms


def test_an_alarm_that_lasts_goes_on_with_its_first_day() -> None:
    """New evidence begins its 28 days anew, and nothing else."""
    alarms, one = _opened(), np.ones(1)
    for _ in range(27):
        alarms.follow(_day(0.014))
    alarms.open(67, np.array([True]), np.array([60]), 0.01 * one, 0.2 * one)
    assert (alarms.since[0], alarms.onset[0]) == (40, 35)
    for day in range(28):
        assert alarms.since[0] == 40, day
        alarms.follow(_day(0.014))
        alarms.follow(_day(usable=False))
    assert (alarms.since[0], alarms.onset[0], alarms.recovered[0]) == (-1, -1, False)
    alarms.follow(_day(1.0))
    assert (alarms.since[0], alarms.recovered[0]) == (-1, False)


def test_an_alarm_of_the_first_day_goes_on_too() -> None:
    """Its day is number 0, which is an alarm as any other."""
    alarms, one = _opened(day=0), np.ones(1)
    alarms.open(3, np.array([True]), np.array([2]), 0.01 * one, 0.2 * one)
    assert (alarms.since[0], alarms.onset[0]) == (0, 35)


def test_clicks_at_the_usual_rate_end_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each day adds its log-likelihood ratio, limited to three deviations; a lower rate takes away, to nothing."""
    gain = 0.3 * 0.15 / 0.015
    for evidence, days in ((gain * 1.9, 2), (gain * 2.1, 3)):
        monkeypatch.setattr(alarm, "ALARM_EVIDENCE", evidence)
        alarms = _opened()
        alarms.follow(_day(0.001))
        for day in range(days):
            assert alarms.since[0] == 40, day
            alarms.follow(_day(0.02))
        assert (alarms.since[0], alarms.recovered[0]) == (-1, True)
    most = 0.3 * (3 * np.sqrt(0.015) + 0.15) / 0.015
    for factor, since in ((0.999, -1), (1.001, 40)):
        monkeypatch.setattr(alarm, "ALARM_EVIDENCE", most * factor)
        alarms = _opened()
        alarms.follow(_day(1.0))
        assert alarms.since[0] == since
    least = _opened(0.01)
    monkeypatch.setattr(alarm, "ALARM_EVIDENCE", 0.1 * 0.05 / 0.015 * 0.999)
    least.follow(_day(0.02))
    assert least.recovered[0]


def test_account_wide_moves_and_weekdays_are_no_decline() -> None:
    """All ads of an account losing 15 % together, or every weekend a quarter, is not a decline of single ads."""
    panel = replace(_steady(ads=40, noise=0.08), account_ids=("act_1",) * 40)
    together = np.where(np.arange(panel.days) >= ONSET, 0.85, 1.0)
    weekend = np.where((np.arange(panel.days) + panel.first_day.weekday()) % 7 >= 5, 0.75, 1.0)
    for factor in (together, weekend):
        table = detect(replace(panel, clicks=np.round(panel.clicks * factor)), {}, SETTINGS)
        assert table.raised.sum() * 180 <= panel.impressions.size


def test_an_empty_panel_has_an_empty_table() -> None:
    """No ads, no alarms, no error."""
    assert detect(_ads(_steady(), []), {}, SETTINGS).level.shape == (0, 70)
