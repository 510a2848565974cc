"""The canonical ad fatigue score: 0 is fresh, 100 is fatigued.

Three components, each continuous and never better for a worse ad: creative (click-through rate lost against the ad's
own past), audience (how often a person saw it), algorithm (rise of the price of a thousand impressions). The recent
days are compared with the median of the days before them, and ratios are drawn to 1 where little was delivered, so
that a few hundred impressions do not scream. A figure that the rows do not have is a component that is not there: it is
flagged, and the score is trusted less. The same rows in any order give the same scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from adwarm.fatigue.curves import ALGORITHM_CURVE, AUDIENCE_CURVE, CREATIVE_CURVE
from adwarm.fatigue.history import (
    AdHistory,
    Delivery,
    InsightsRow,
    baseline_cpm,
    baseline_ctr,
    read_frequencies,
    read_histories,
    sum_deliveries,
    with_clicks,
    with_spend,
)
from adwarm.fatigue.trend import TREND_DAYS, days_until, slope_per_day
from adwarm.foundation.errors import BadRequest
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.settings import FatigueSettings

CALCULATOR_VERSION: Final = "canonical-2"
HEALTHY_UP_TO: Final = 30.0
WARNING_UP_TO: Final = 60.0
PRIOR_CLICKS: Final = 10.0
"""Clicks' worth of belief that an ad still clicks as it used to: the Beta prior has the ad's usual rate as its mean."""
PRIOR_IMPRESSIONS: Final = 1000.0
"""Impressions' worth of belief that an ad still costs what it used to."""
MAX_PLAUSIBLE_CTR: Final = 0.10
"""A higher click-through rate is an error in the data."""
NOTABLE_FREQUENCY: Final = 20.0
CLICKS: Final = "clicks"
LINK_CLICKS: Final = "inline_link_clicks"
"""Clicks on the ad's link alone: fewer than all clicks, but they wane alike."""


@dataclass(frozen=True, slots=True)
class _AdState:
    """What one ad looks like as of one day.

    Attributes:
        clicks_from: the field that `clicks` of the days are; None when no kind of clicks can be compared.
        unseen: a day of it does not say how often the ad was seen.
    """

    recent: list[Delivery]
    baseline: list[Delivery]
    age_days: int
    clicks_from: str | None
    ctr: float | None
    cpm: float | None
    impressions_missing: bool

    @property
    def days(self) -> list[Delivery]:
        """The days before and the recent ones."""
        return self.baseline + self.recent


def score_account(
    rows: Sequence[InsightsRow], range_rows: Sequence[InsightsRow], as_of: date, settings: FatigueSettings
) -> list[FatigueScore]:
    """Return the score of every ad that has a row in the days the score looks at, by account and ad id.

    Args:
        rows: one row per ad and day; a missing one is zero delivery.
        range_rows: one row per ad over the last seven days, for the frequency.
        as_of: the last day looked at, in the account's data zone.
        settings: weights, spans and minimums.

    Raises:
        BadRequest: a row cannot be read, or the weights are negative or all zero.
    """
    if min(settings.weights) < 0 or not sum(settings.weights):
        raise BadRequest("ADWARM_FATIGUE__WEIGHTS must be three numbers of 0 or more, and not all 0")
    histories = read_histories(rows, _first_day(as_of, settings) - timedelta(days=TREND_DAYS - 1), as_of)
    frequencies = read_frequencies(range_rows, as_of)
    scores = []
    for (account_id, ad_id), history in histories.items():
        since = _first_day(as_of, settings)
        if history.first_day(since, as_of) is None and not history.lacks_impressions(since, as_of):
            continue
        frequency = frequencies.get((account_id, ad_id))
        scores.append(_score(account_id, ad_id, history, frequency, as_of, settings))
    return scores


def status_of(value: float | None) -> FatigueStatus:
    """Return the band of a total; None is pending."""
    if value is None:
        return "pending"
    if value <= HEALTHY_UP_TO:
        return "healthy"
    return "warning" if value <= WARNING_UP_TO else "critical"


def _score(
    account_id: str, ad_id: str, history: AdHistory, frequency: float | None, as_of: date, settings: FatigueSettings
) -> FatigueScore:
    sight = _ad_state(history, as_of, settings, _clicks_field(history, as_of, settings))
    components = _components(sight, frequency, settings)
    value = _weighted(components, settings)
    earlier = [
        _weighted(_components(_ad_state(history, day, settings, sight.clicks_from), frequency, settings), settings)
        for day in (as_of - timedelta(days=back) for back in range(TREND_DAYS - 1, 0, -1))
    ]
    slope = None if value is None else slope_per_day([*earlier, value])
    flags = _flags(sight, frequency)
    creative, audience, algorithm = components
    return FatigueScore(
        account_id=account_id,
        ad_id=ad_id,
        as_of=as_of,
        ad_name=history.name,
        status=status_of(value),
        total=value,
        creative=creative,
        audience=audience,
        algorithm=algorithm,
        data_quality=_quality(sight, frequency, flags, settings),
        trend_per_day=slope,
        days_to_critical=None if value is None else days_until(value, slope, WARNING_UP_TO),
        baseline=_baseline(sight, frequency, flags),
        calculator_version=CALCULATOR_VERSION,
    )


def _first_day(as_of: date, settings: FatigueSettings) -> date:
    return as_of - timedelta(days=settings.recent_days + settings.baseline_days - 1)


def _clicks_field(history: AdHistory, as_of: date, settings: FatigueSettings) -> str | None:
    """Return which clicks can be compared: those known in the recent days and in the days before them."""
    turn = as_of - timedelta(days=settings.recent_days)
    halves = history.between(turn + timedelta(days=1), as_of), history.between(_first_day(as_of, settings), turn)
    delivered = [days for days in halves if days]
    if all(with_clicks(days) for days in delivered):
        return CLICKS
    linked = ([day.with_link_clicks() for day in days] for days in delivered)
    return LINK_CLICKS if all(with_clicks(days) for days in linked) else None


def _ad_state(history: AdHistory, as_of: date, settings: FatigueSettings, clicks_from: str | None) -> _AdState:
    since, turn = _first_day(as_of, settings), as_of - timedelta(days=settings.recent_days)
    recent, past = history.between(turn + timedelta(days=1), as_of), history.between(since, turn)
    if clicks_from == LINK_CLICKS:
        recent, past = [day.with_link_clicks() for day in recent], [day.with_link_clicks() for day in past]
    first = history.first_day(since, as_of)
    return _AdState(
        recent=recent,
        baseline=past,
        age_days=(as_of - first).days + 1 if first else 0,
        clicks_from=clicks_from,
        ctr=baseline_ctr(past, PRIOR_CLICKS),
        cpm=baseline_cpm(past, PRIOR_IMPRESSIONS),
        impressions_missing=history.lacks_impressions(since, as_of),
    )


def _components(
    state: _AdState, frequency: float | None, settings: FatigueSettings
) -> tuple[float | None, float | None, float | None]:
    enough = state.age_days >= settings.min_days and sum_deliveries(state.days).impressions >= settings.min_impressions
    if not enough or not state.recent or not state.baseline:
        return None, None, None
    clicked, paid = sum_deliveries(with_clicks(state.recent)), sum_deliveries(with_spend(state.recent))
    creative = CREATIVE_CURVE(1 - _ctr_ratio(clicked, state.ctr)) if state.ctr and clicked.impressions else None
    audience = None if frequency is None else AUDIENCE_CURVE(frequency)
    algorithm = ALGORITHM_CURVE(_cpm_ratio(paid, state.cpm) - 1) if state.cpm and paid.impressions else None
    return creative, audience, algorithm


def _ctr_ratio(recent: Delivery, usual: float) -> float:
    """Return the posterior mean of the recent rate, as a share of the usual one (Beta prior around it)."""
    return ((recent.clicks or 0.0) + PRIOR_CLICKS) / (recent.impressions * usual + PRIOR_CLICKS)


def _cpm_ratio(recent: Delivery, usual: float) -> float:
    """Return the recent price as a multiple of the usual one, drawn to 1 as a Gamma prior around it would."""
    return (1000 * (recent.spend or 0.0) / usual + PRIOR_IMPRESSIONS) / (recent.impressions + PRIOR_IMPRESSIONS)


def _weighted(components: Sequence[float | None], settings: FatigueSettings) -> float | None:
    present = [(weight, value) for weight, value in zip(settings.weights, components, strict=True) if value is not None]
    whole = sum(weight for weight, _ in present)
    if not whole:
        return None
    return min(100.0, sum(weight * value for weight, value in present) / whole)


def _flags(state: _AdState, frequency: float | None) -> list[str]:
    rates = [sum_deliveries(with_clicks(days)).ctr or 0.0 for days in (state.recent, state.baseline)]
    blind = len(with_clicks(state.days)) < len(state.days)
    found = {
        "clicks_missing": state.clicks_from == LINK_CLICKS or blind,
        "ctr_implausible": max(rates) > MAX_PLAUSIBLE_CTR,
        "frequency_missing": frequency is None,
        "frequency_notable": (frequency or 0.0) > NOTABLE_FREQUENCY,
        "impressions_missing": state.impressions_missing,
        "link_clicks_used": state.clicks_from == LINK_CLICKS,
        "spend_missing": len(with_spend(state.days)) < len(state.days),
    }
    return [name for name, holds in found.items() if holds]


def _quality(state: _AdState, frequency: float | None, flags: list[str], settings: FatigueSettings) -> float:
    """Return how far the score can be trusted: days known, impressions seen, frequency there; less on bad data.

    Halved when a rate is implausible. Days without clicks or without spend take up to a quarter each; link clicks in
    the place of clicks take as much as if half the days had none.
    """
    impressions = sum_deliveries(state.recent).impressions
    known = state.age_days / (settings.recent_days + settings.baseline_days)
    seen = impressions / (impressions + PRIOR_IMPRESSIONS)
    whole = 0.4 * min(1.0, known) + 0.4 * seen + (0.2 if frequency is not None else 0.0)
    days = max(1, len(state.days))
    clicked = len(with_clicks(state.days)) / days * (0.5 if state.clicks_from == LINK_CLICKS else 1.0)
    whole *= 1 - 0.25 * (1 - clicked) - 0.25 * (1 - len(with_spend(state.days)) / days)
    return whole / 2 if {"ctr_implausible", "impressions_missing"} & set(flags) else whole


def _baseline(state: _AdState, frequency: float | None, flags: list[str]) -> dict[str, Any]:
    return {
        "ctr": state.ctr,
        "cpm": state.cpm,
        "clicks_from": state.clicks_from,
        "days": len(state.baseline),
        "impressions": sum_deliveries(state.baseline).impressions,
        "recent_ctr": sum_deliveries(with_clicks(state.recent)).ctr,
        "recent_cpm": sum_deliveries(with_spend(state.recent)).cpm,
        "recent_impressions": sum_deliveries(state.recent).impressions,
        "frequency": frequency,
        "flags": flags,
    }
