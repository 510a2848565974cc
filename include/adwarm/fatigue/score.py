"""The canonical ad fatigue score: 0 is fresh, 100 is fatigued.

It has three components, each continuous and monotonic: creative (click-through rate lost against the ad's
own past), audience (how often a person saw it), algorithm (increase of the price of a thousand impressions). The recent
days are compared with the median of the days before them. Ratios are shrunk towards 1 with little delivery, so that a
few hundred impressions cannot give an extreme score. A figure that the rows lack leaves its component out, is flagged,
and lowers the data quality. Row order does not matter.
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
"""Clicks that the prior of the ad's usual click-through rate is worth; a Beta prior with that rate as its mean."""
PRIOR_IMPRESSIONS: Final = 1000.0
"""Impressions that the prior of the ad's usual price is worth."""
MAX_PLAUSIBLE_CTR: Final = 0.10
"""A higher click-through rate counts as an error in the data."""
NOTABLE_FREQUENCY: Final = 20.0
CLICKS: Final = "clicks"
LINK_CLICKS: Final = "inline_link_clicks"
"""Clicks on the ad's link only: fewer than all clicks, but they decline alike."""


@dataclass(frozen=True, slots=True)
class _AdState:
    """The figures of one ad as of one day.

    Attributes:
        recent: delivery of the recent days.
        baseline: delivery of the days before them.
        age_days: days since its first delivery, at most those the score uses.
        clicks_from: the field that holds the `clicks` of the days; None when no kind of clicks can be compared.
        ctr: usual click-through rate; None without clicks.
        cpm: usual price of a thousand impressions; None without spend.
        impressions_missing: whether the impressions of a day are unknown.
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
        """The baseline days and the recent ones."""
        return self.baseline + self.recent


def score_account(
    rows: Sequence[InsightsRow], range_rows: Sequence[InsightsRow], as_of: date, settings: FatigueSettings
) -> list[FatigueScore]:
    """Return the score of every ad with a row in the days that the score uses, sorted by account and ad id.

    Args:
        rows: one row per ad and day; a missing one is zero delivery.
        range_rows: one row per ad over the last seven days, for the frequency.
        as_of: the last day used, in the account's data zone.
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
    state = _ad_state(history, as_of, settings, _clicks_field(history, as_of, settings))
    components = _components(state, frequency, settings)
    value = _weighted(components, settings)
    earlier = [
        _weighted(_components(_ad_state(history, day, settings, state.clicks_from), frequency, settings), settings)
        for day in (as_of - timedelta(days=back) for back in range(TREND_DAYS - 1, 0, -1))
    ]
    slope = None if value is None else slope_per_day([*earlier, value])
    flags = _flags(state, frequency)
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
        data_quality=_quality(state, frequency, flags, settings),
        trend_per_day=slope,
        days_to_critical=None if value is None else days_until(value, slope, WARNING_UP_TO),
        baseline=_baseline(state, frequency, flags),
        calculator_version=CALCULATOR_VERSION,
    )


def _first_day(as_of: date, settings: FatigueSettings) -> date:
    return as_of - timedelta(days=settings.recent_days + settings.baseline_days - 1)


def _clicks_field(history: AdHistory, as_of: date, settings: FatigueSettings) -> str | None:
    """Return the kind of clicks that is known in all days: all clicks, else link clicks, else None."""
    baseline_end = as_of - timedelta(days=settings.recent_days)
    halves = (
        history.between(baseline_end + timedelta(days=1), as_of),
        history.between(_first_day(as_of, settings), baseline_end),
    )
    delivered = [days for days in halves if days]
    if all(with_clicks(days) for days in delivered):
        return CLICKS
    linked = ([day.with_link_clicks() for day in days] for days in delivered)
    return LINK_CLICKS if all(with_clicks(days) for days in linked) else None


def _ad_state(history: AdHistory, as_of: date, settings: FatigueSettings, clicks_from: str | None) -> _AdState:
    since, baseline_end = _first_day(as_of, settings), as_of - timedelta(days=settings.recent_days)
    recent, past = history.between(baseline_end + timedelta(days=1), as_of), history.between(since, baseline_end)
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
    """Return the posterior mean of the recent rate as a share of the usual one, with a Beta prior around that."""
    return ((recent.clicks or 0.0) + PRIOR_CLICKS) / (recent.impressions * usual + PRIOR_CLICKS)


def _cpm_ratio(recent: Delivery, usual: float) -> float:
    """Return the recent price as a multiple of the usual one, shrunk towards 1 as by a Gamma prior around it."""
    return (1000 * (recent.spend or 0.0) / usual + PRIOR_IMPRESSIONS) / (recent.impressions + PRIOR_IMPRESSIONS)


def _weighted(components: Sequence[float | None], settings: FatigueSettings) -> float | None:
    present = [(weight, value) for weight, value in zip(settings.weights, components, strict=True) if value is not None]
    total_weight = sum(weight for weight, _ in present)
    if not total_weight:
        return None
    return min(100.0, sum(weight * value for weight, value in present) / total_weight)


def _flags(state: _AdState, frequency: float | None) -> list[str]:
    rates = [sum_deliveries(with_clicks(days)).ctr or 0.0 for days in (state.recent, state.baseline)]
    clicks_unknown = len(with_clicks(state.days)) < len(state.days)
    flags = {
        "clicks_missing": state.clicks_from == LINK_CLICKS or clicks_unknown,
        "ctr_implausible": max(rates) > MAX_PLAUSIBLE_CTR,
        "frequency_missing": frequency is None,
        "frequency_notable": (frequency or 0.0) > NOTABLE_FREQUENCY,
        "impressions_missing": state.impressions_missing,
        "link_clicks_used": state.clicks_from == LINK_CLICKS,
        "spend_missing": len(with_spend(state.days)) < len(state.days),
    }
    return [name for name, holds in flags.items() if holds]


def _quality(state: _AdState, frequency: float | None, flags: list[str], settings: FatigueSettings) -> float:
    """Return how far the score can be trusted, 0 to 1: by the ad's age, impressions, and a known frequency.

    Days without clicks, and days without spend, take up to a quarter each; link clicks instead of clicks count as if
    half the days had none. It is halved when a rate is implausible or impressions are unknown.
    """
    impressions = sum_deliveries(state.recent).impressions
    age = state.age_days / (settings.recent_days + settings.baseline_days)
    delivered = impressions / (impressions + PRIOR_IMPRESSIONS)
    quality = 0.4 * min(1.0, age) + 0.4 * delivered + (0.2 if frequency is not None else 0.0)
    days = max(1, len(state.days))
    clicked = len(with_clicks(state.days)) / days * (0.5 if state.clicks_from == LINK_CLICKS else 1.0)
    quality *= 1 - 0.25 * (1 - clicked) - 0.25 * (1 - len(with_spend(state.days)) / days)
    return quality / 2 if {"ctr_implausible", "impressions_missing"} & set(flags) else quality


def _baseline(state: _AdState, frequency: float | None, flags: list[str]) -> dict[str, Any]:
    return {
        "ctr": state.ctr,
        "cpm": state.cpm,
        "clicks_from": state.clicks_from,
        "age_days": state.age_days,
        "days": len(state.baseline),
        "impressions": sum_deliveries(state.baseline).impressions,
        "recent_ctr": sum_deliveries(with_clicks(state.recent)).ctr,
        "recent_cpm": sum_deliveries(with_spend(state.recent)).cpm,
        "recent_impressions": sum_deliveries(state.recent).impressions,
        "frequency": frequency,
        "flags": flags,
    }
