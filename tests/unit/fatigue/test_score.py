"""The canonical score: bands, pending, weights, and its invariants."""

import json
import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.score import STATUSES, find_bands
from adwarm.foundation.errors import BadRequest
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings
from tests.support.fatigue_scores import score_rows

AS_OF = date(2026, 11, 24)
SETTINGS = FatigueSettings()
Rows = list[dict[str, Any]]


def _day(back: int, impressions: float, clicks: float, spend: float, ad: str = "7") -> dict[str, Any]:
    day = str(AS_OF - timedelta(days=back))
    return {
        "account_id": "act_1",
        "ad_id": ad,
        "ad_name": f"ad {ad}",
        "date_start": day,
        "date_stop": day,
        "impressions": str(impressions),
        "clicks": str(clicks),
        "spend": str(spend),
    }


def _ad(
    *, days: int = 40, impressions: float = 10_000, ctr: float = 1.0, cpm: float = 1.0, past_clicks: float = 100.0
) -> Rows:
    """An ad whose recent week have `ctr` and `cpm` times its usual rates."""
    scale = impressions / 10_000
    past = [_day(back, impressions, past_clicks * scale, 50 * scale) for back in range(7, days)]
    return past + [_day(back, impressions, 100 * ctr * scale, 50 * cpm * scale) for back in range(min(7, days))]


def _range(frequency: float | None, ad: str = "7") -> Rows:
    row = {"account_id": "act_1", "ad_id": ad, "date_start": "2026-11-18", "date_stop": str(AS_OF)}
    return [row if frequency is None else {**row, "frequency": str(frequency)}]


def _score(rows: Rows, frequency: float | None = 1.0, settings: FatigueSettings = SETTINGS) -> FatigueScore:
    (result,) = score_rows(rows, _range(frequency), AS_OF, settings)
    return result


def test_a_steady_ad_is_healthy() -> None:
    """No clicks lost, no higher price, frequency 1: zero."""
    result = _score(_ad())
    assert (result.total, result.status, result.trend_per_day) == (
        pytest.approx(0, abs=1e-6),
        "healthy",
        pytest.approx(0),
    )
    assert (result.account_id, result.ad_id, result.ad_name, result.as_of) == ("act_1", "7", "ad 7", AS_OF)


def test_a_fatigued_ad_is_critical_and_getting_worse() -> None:
    """Half the clicks, a price 40 % higher, frequency 5: near 90, but for what shrinkage takes off the rates."""
    result = _score(_ad(ctr=0.5, cpm=1.4), 5.0)
    assert result.status == "critical"
    assert (result.creative, result.audience, result.algorithm) == (
        pytest.approx(85, abs=5),
        90.0,
        pytest.approx(85, abs=5),
    )
    assert result.trend_per_day is not None
    assert result.trend_per_day > 0
    assert (result.days_to_critical, result.days_to_critical_low, result.days_to_critical_high) == (0.0, 0.0, 0.0)
    assert result.driver == "creative"


def test_the_total_is_the_weighted_mean() -> None:
    """40, 35 and 25 of 100, unless the settings say otherwise."""
    result = _score(_ad(ctr=0.8, cpm=1.1), 3.0)
    parts = (result.creative, result.audience, result.algorithm)
    for weights in ((0.4, 0.35, 0.25), (0.4, 0.3, 0.3), (0.0, 1.0, 0.0)):
        again = _score(_ad(ctr=0.8, cpm=1.1), 3.0, FatigueSettings(weights=weights))
        assert again.total == pytest.approx(
            sum(w * p for w, p in zip(weights, parts, strict=True) if p is not None), abs=1e-3
        )


def test_a_missing_component_leaves_the_others() -> None:
    """Without a range summary the audience is unknown, the others are weighted again, and the quality is lower."""
    known, unknown = _score(_ad(ctr=0.6), 1.0), _score(_ad(ctr=0.6), None)
    assert unknown.audience is None
    assert unknown.creative is not None
    assert unknown.algorithm is not None
    assert unknown.total == pytest.approx((0.4 * unknown.creative + 0.25 * unknown.algorithm) / 0.65)
    assert unknown.data_quality < known.data_quality
    assert "frequency_missing" in unknown.baseline["flags"]
    assert score_rows(_ad(), [], AS_OF, SETTINGS)[0].audience is None


def test_daily_frequency_is_never_used() -> None:
    """Frequency and reach of single days do not add up to a range's, so they are ignored."""
    rows = [{**row, "frequency": "9.0", "reach": "10"} for row in _ad()]
    assert _score(rows, None).audience is None
    assert _score(rows, 1.0).audience == 0.0


def test_bands(subtests: pytest.Subtests) -> None:
    """By the share of clicks lost: a warning from 15 %, critical from 35 %; a gain is healthy."""
    for value, status in (
        (-1, "healthy"),
        (0.149, "healthy"),
        (0.15, "warning"),
        (0.349, "warning"),
        (0.35, "critical"),
    ):
        with subtests.test(value=value, status=status):
            (band,) = find_bands(np.array([value], float))
            assert STATUSES[band] == status


def test_too_few_days_are_pending() -> None:
    """Six days are too few, seven are enough."""
    six, seven = _score(_ad(days=6, ctr=0.1)), _score(_ad(days=7, ctr=0.1))
    assert (six.status, six.total, six.trend_per_day) == ("pending", None, None)
    assert seven.status != "pending"


def test_days_without_a_row_are_days_without_delivery() -> None:
    """An absent day and a day of zeros are the same, for the age of the ad too."""
    sparse = [row for index, row in enumerate(_ad(ctr=0.7)) if index % 3 != 1]
    filled = [*sparse, *(_day(33 - 1 - index, 0, 0, 0) for index in range(1, 30, 3))]
    assert _score(sparse) == replace(_score(filled))


def test_too_few_impressions_are_pending() -> None:
    """Under 500 impressions the ad is pending."""
    assert _score(_ad(impressions=10)).status == "pending"
    assert _score(_ad(impressions=20)).status != "pending"


def test_an_ad_that_has_stopped_or_just_begun_is_pending() -> None:
    """Without recent days, or without days before them, there is nothing to compare."""
    assert _score(_ad()[:-7]).status == "pending"
    assert _score(_ad()[-1:], settings=FatigueSettings(min_days=2)).status == "pending"


def test_an_ad_of_long_ago_is_not_scored() -> None:
    """An ad without delivery in the days used has no score; later rows are ignored."""
    assert score_rows([_day(38, 1000, 10, 5), _day(-1, 1000, 10, 5)], [], AS_OF, SETTINGS) == []
    assert score_rows([], [], AS_OF, SETTINGS) == []


def test_later_rows_change_nothing() -> None:
    """A score as of a day does not depend on later rows."""
    later = [_day(-back, 50_000, 1, 9_000) for back in range(1, 5)]
    assert _score([*_ad(ctr=0.8), *later]) == _score(_ad(ctr=0.8))


def test_an_implausible_click_rate_lowers_the_quality() -> None:
    """More than one click in ten impressions counts as an error in the data."""
    fine, wrong = _score(_ad()), _score(_ad(ctr=12.0))
    assert wrong.data_quality == pytest.approx(fine.data_quality / 2, abs=1e-6)
    assert "ctr_implausible" in wrong.baseline["flags"]


def test_without_a_click_an_ad_is_pending_and_without_spend_it_is_not() -> None:
    """What is lost is clicks: without any there is nothing to say; without cost, those of the same impressions."""
    free = [{**row, "spend": "0"} for row in _ad(ctr=0.5)]
    result = _score(free, 3.5)
    assert (result.algorithm, result.status) == (None, "critical")
    assert result.loss == pytest.approx(0.5, abs=0.08)
    silent = _score([{**row, "clicks": "0"} for row in _ad()], 3.5)
    assert (silent.status, silent.total, silent.loss, silent.driver) == ("pending", None, None, None)


def test_the_loss_counts_clicks_and_price() -> None:
    """Two fifths of the clicks lost at a price half higher is 60 % fewer for the same money; a gain is below 0."""
    assert _score(_ad(ctr=0.6, cpm=1.5)).loss == pytest.approx(1 - 0.6 / 1.5, abs=0.06)
    assert _score(_ad(ctr=1.5)).loss == pytest.approx(-0.5, abs=0.07)
    assert _score(_ad(ctr=0.4)).status == _score(_ad(cpm=1.9)).status == "critical"
    assert _score(_ad(), 12.0).status == "healthy"


def _without(rows: Rows, *names: str) -> Rows:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def _by_links(rows: Rows) -> Rows:
    """The same rows with link clicks only."""
    return [
        {**plain, "inline_link_clicks": row["clicks"]}
        for plain, row in zip(_without(rows, "clicks"), rows, strict=True)
    ]


def test_rows_without_clicks_are_pending() -> None:
    """Without clicks in any row the ad is pending: flagged, with a lower quality, and never healthy."""
    whole, blind = _score(_ad(ctr=0.2, cpm=1.4), 1.0), _score(_without(_ad(ctr=0.2, cpm=1.4), "clicks"), 1.0)
    assert whole.creative is not None
    assert (blind.creative, blind.baseline["ctr"]) == (None, None)
    assert (blind.status, blind.total, blind.loss) == ("pending", None, None)
    assert "clicks_missing" in blind.baseline["flags"]
    assert "clicks_missing" not in whole.baseline["flags"]
    assert blind.data_quality < whole.data_quality


def test_link_clicks_replace_missing_clicks() -> None:
    """Link clicks are compared with their own past, flagged, with a slightly lower quality."""
    rows = _ad(ctr=0.5, cpm=1.1)
    whole, linked, blind = _score(rows), _score(_by_links(rows)), _score(_without(rows, "clicks"))
    assert (linked.creative, linked.total) == (whole.creative, whole.total)
    assert {"clicks_missing", "link_clicks_used"} <= set(linked.baseline["flags"])
    assert blind.data_quality < linked.data_quality < whole.data_quality
    both = [{**row, "inline_link_clicks": "1"} for row in rows]
    assert _score(both) == whole


def test_rows_without_spend_have_no_price() -> None:
    """Without spend in any row the algorithm component is missing and flagged; a spend of zero is not flagged."""
    missing = _score(_without(_ad(ctr=0.6), "spend"))
    free = _score([{**row, "spend": "0"} for row in _ad(ctr=0.6)])
    assert (missing.algorithm, free.algorithm, missing.total) == (None, None, free.total)
    assert "spend_missing" in missing.baseline["flags"]
    assert "spend_missing" not in free.baseline["flags"]
    assert missing.data_quality < free.data_quality


def test_rows_without_impressions_are_pending() -> None:
    """An ad with unknown impressions is pending and flagged, instead of having no score."""
    result = _score(_without(_ad(), "impressions"), 3.5)
    assert (result.status, result.total) == ("pending", None)
    assert "impressions_missing" in result.baseline["flags"]
    assert result.data_quality < 0.2
    some = [*_ad()[:-1], *_without(_ad()[-1:], "impressions")]
    assert _score(some).data_quality < _score(_ad()[:-1]).data_quality


def test_an_ad_without_any_component_is_pending() -> None:
    """Without clicks, spend and frequency it is pending, and each is flagged."""
    result = _score(_without(_ad(), "clicks", "spend"), None)
    assert (result.status, result.total, result.trend_per_day) == ("pending", None, None)
    assert {"clicks_missing", "frequency_missing", "spend_missing"} <= set(result.baseline["flags"])


@pytest.mark.parametrize("flip", [False, True])
def test_kinds_of_clicks_are_never_compared_with_each_other(flip: bool) -> None:
    """Days with all clicks are never compared with days with link clicks, or without."""
    past, recent = _ad()[:-7], _ad()[-7:]
    mixed = [*_by_links(past), *recent] if flip else [*past, *_by_links(recent)]
    result = _score(mixed)
    assert result.creative is None
    assert result.status == "pending"
    half = _score([*past[:15], *_without(past[15:], "clicks"), *recent])
    assert half.creative == pytest.approx(0, abs=1e-6)
    assert "clicks_missing" in half.baseline["flags"]


def test_a_figure_that_other_ads_have_is_zero_when_absent() -> None:
    """The platform leaves out zeros, so an ad without the field beside one with it had none."""
    other = [{**row, "ad_id": "8"} for row in _ad()]
    lost = [*_ad()[:-7], *_without(_ad()[-7:], "clicks")]
    result = {score.ad_id: score for score in score_rows([*lost, *other], [], AS_OF, SETTINGS)}
    assert (result["7"].creative, result["7"].baseline["flags"]) == (100.0, ["frequency_missing"])


def test_few_impressions_give_no_extreme_score() -> None:
    """200 impressions without a click leave the ad healthy; 20,000 do not."""
    past = _ad()[:-7]
    quiet = _score([*past, _day(0, 200, 0, 1)])
    loud = _score([*past, _day(0, 20_000, 0, 100)])
    assert (quiet.status, loud.status) == ("healthy", "critical")
    assert loud.creative == pytest.approx(100.0, abs=2)


def test_each_ad_is_scored_on_its_own() -> None:
    """But for the prior, which both share here, other ads change nothing; scores are sorted by ad."""
    other = [{**row, "ad_id": "8"} for row in _ad(ctr=0.3, cpm=2.0)]
    both = score_rows([*other, *_ad()], [*_range(1.0), *_range(6.0, "8")], AS_OF, SETTINGS)
    assert [score.ad_id for score in both] == ["7", "8"]
    assert both[0].total == pytest.approx(_score(_ad()).total, abs=0.5)


def test_another_account_changes_nothing() -> None:
    """Scores of two accounts together equal those of each alone, to the last bit."""
    rows = [
        {**row, "account_id": account, "clicks": str(float(row["clicks"]) * scale)}
        for account, scale in (("act_1", 1), ("act_2", 3))
        for row in _ad(ctr=0.6, cpm=1.2)
    ]
    alone = [
        score
        for account in ("act_1", "act_2")
        for score in score_rows([row for row in rows if row["account_id"] == account], [], AS_OF, SETTINGS)
    ]
    assert score_rows(rows, [], AS_OF, SETTINGS) == alone


def test_invalid_weights_are_rejected(subtests: pytest.Subtests) -> None:
    """The message names the setting."""
    for weights in ((0, 0, 0), (-0.1, 0.6, 0.5)):
        with subtests.test(weights=weights), pytest.raises(BadRequest, match="ADWARM_FATIGUE__WEIGHTS"):
            score_rows([], [], AS_OF, FatigueSettings(weights=weights))


def test_the_baseline_holds_json_values_only() -> None:
    """The baseline is stored in a JSON column."""
    score = _score(_ad(ctr=0.7), 2.0)
    assert json.loads(json.dumps(score.baseline)) == score.baseline
    assert score.as_of == date(2026, 11, 24)


RATIO = st.floats(0.05, 3.0)
VOLUME = st.floats(100, 100_000)


@given(volume=VOLUME, ctr=RATIO, worse=st.floats(0, 1), frequency=st.floats(0.5, 12))
def test_fewer_clicks_never_score_better(volume: float, ctr: float, worse: float, frequency: float) -> None:
    """Creative and total never decrease when clicks decrease."""
    before, after = (_score(_ad(impressions=volume, ctr=value), frequency) for value in (ctr, ctr * worse))
    _not_better(before, after, "creative")


@given(volume=VOLUME, cpm=RATIO, worse=st.floats(1, 3), frequency=st.floats(0.5, 12))
def test_a_higher_price_never_scores_better(volume: float, cpm: float, worse: float, frequency: float) -> None:
    """The algorithm component never decreases when the price rises."""
    before, after = (_score(_ad(impressions=volume, cpm=value), frequency) for value in (cpm, cpm * worse))
    _not_better(before, after, "algorithm")


@given(frequency=st.floats(0.1, 30), more=st.floats(0, 10), ctr=RATIO)
def test_a_higher_frequency_never_scores_better(frequency: float, more: float, ctr: float) -> None:
    """The audience component never decreases when the frequency rises."""
    before, after = (_score(_ad(ctr=ctr), value) for value in (frequency, frequency + more))
    _not_better(before, after, "audience")


@given(volume=VOLUME, past=st.floats(20, 400), more=st.floats(1, 3))
def test_a_better_baseline_never_scores_better(volume: float, past: float, more: float) -> None:
    """More clicks in the baseline mean a larger loss."""
    before, after = (_score(_ad(impressions=volume, past_clicks=value)) for value in (past, past * more))
    _not_better(before, after, "creative")


@given(ctr=RATIO, cpm=RATIO, frequency=st.floats(1, 10), nudge=st.floats(-1e-4, 1e-4), volume=VOLUME)
def test_a_small_change_changes_little(ctr: float, cpm: float, frequency: float, nudge: float, volume: float) -> None:
    """A ten-thousandth more or less moves the total by less than a quarter of a point."""
    before = _score(_ad(impressions=volume, ctr=ctr, cpm=cpm), frequency)
    after = _score(_ad(impressions=volume * (1 + nudge), ctr=ctr + nudge, cpm=cpm - nudge), frequency + nudge)
    assert before.total is not None
    assert after.total is not None
    assert abs(before.total - after.total) < 0.25


@given(ctr=RATIO, cpm=RATIO, rate=st.floats(0.01, 20_000))
def test_the_currency_does_not_matter(ctr: float, cpm: float, rate: float) -> None:
    """Spend in another currency gives the same score."""
    rows = _ad(ctr=ctr, cpm=cpm)
    exchanged = [{**row, "spend": str(float(row["spend"]) * rate)} for row in rows]
    assert _score(rows).total == pytest.approx(_score(exchanged).total, abs=1e-6)


@given(ctr=RATIO, impressions=st.floats(1, 30))
def test_little_delivery_is_never_critical(ctr: float, impressions: float) -> None:
    """With thirty impressions a day, of which two a week are clicked, no click-through rate makes the ad critical."""
    assert _score(_ad(impressions=impressions, ctr=ctr)).status != "critical"


@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    """Shuffled rows give equal scores, to the last bit."""
    draw = random.Random(seed)
    rows = [
        _day(back, draw.randrange(5000), draw.randrange(60), draw.random() * 40, ad)
        for back in range(33)
        for ad in ("7", "8", "9")
        if draw.random() < 0.8
    ]
    ranges = [*_range(2.0), *_range(3.0), *_range(4.5, "8")]
    expected = score_rows(rows, ranges, AS_OF, SETTINGS)
    draw.shuffle(rows)
    draw.shuffle(ranges)
    assert score_rows(rows, ranges, AS_OF, SETTINGS) == expected


def _not_better(before: FatigueScore, after: FatigueScore, component: str) -> None:
    for name in (component, "total"):
        was, now = getattr(before, name), getattr(after, name)
        assert was is not None
        assert now is not None
        assert now >= was - 1e-6
