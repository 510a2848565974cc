"""The canonical ad fatigue score: 0 is fresh, 100 is fatigued.

Three components, each continuous and never better for a worse ad: creative (click-through rate lost against the ad's
own past), audience (how often a person saw it), algorithm (rise of the price of a thousand impressions). The recent
days are compared with the median of the days before them, and ratios are drawn to 1 where little was delivered, so
that a few hundred impressions do not scream. A figure that the rows do not have is a component that is not there: it is
flagged, and the score is trusted less. The same rows in any order give the same scores.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from adwarm.fatigue.curves import ALGORITHM, AUDIENCE, CREATIVE
from adwarm.fatigue.history import (
    AdHistory,
    Delivery,
    Row,
    read_frequencies,
    read_histories,
    total,
    usual_cpm,
    usual_ctr,
    with_clicks,
    with_spend,
)
from adwarm.fatigue.trend import TREND_DAYS, days_until, slope_per_day
from adwarm.foundation.errors import BadRequest
from adwarm.settings import FatigueSettings

CALCULATOR_VERSION: Final = "canonical-2"
HEALTHY_UP_TO: Final = 30.0
WARNING_UP_TO: Final = 60.0
PRIOR_CLICKS: Final = 10.0
"""Clicks' worth of belief that an ad still clicks as it used to: the Beta prior has the ad's usual rate as its mean."""
PRIOR_IMPRESSIONS: Final = 1000.0
"""Impressions' worth of belief that an ad still costs what it used to."""
PLAUSIBLE_CTR: Final = 0.10
"""A higher click-through rate is an error in the data."""
NOTABLE_FREQUENCY: Final = 20.0
CLICKS: Final = "clicks"
LINK_CLICKS: Final = "inline_link_clicks"
"""Clicks on the ad's link alone: fewer than all clicks, but they wane alike."""

Status = Literal["healthy", "warning", "critical", "pending"]


@dataclass(frozen=True, slots=True)
class FatigueScore:
    """One ad's score as of a day.

    Attributes:
        status: the band of `total`; `pending` while there is too little to judge, and then nothing is scored.
        total: 0 to 100, the weighted mean of the components there are.
        creative: None when the ad had no clicks to lose, or when the rows have no clicks of either kind.
        audience: None when no range summary was there.
        algorithm: None when the ad had no spend to compare with, or when the rows have none.
        data_quality: 0 to 1, how far the score can be trusted.
        trend_per_day: points a day over the last four days, frequency held.
        days_to_critical: at that pace; 0 when critical already, None when not heading there.
        baseline: what was compared: rates, the clicks they are of, days, frequency, and `flags` for what was
            missing or looked wrong.
    """

    account_id: str
    ad_id: str
    as_of: date
    ad_name: str
    status: Status
    total: float | None
    creative: float | None
    audience: float | None
    algorithm: float | None
    data_quality: float
    trend_per_day: float | None
    days_to_critical: float | None
    baseline: dict[str, Any]
    calculator_version: str = CALCULATOR_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the score as JSON-ready values, numbers rounded to 4 places."""
        values = {**asdict(self), "as_of": self.as_of.isoformat()}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class _Sight:
    """What one ad looks like as of one day.

    Attributes:
        clicks_from: the field that `clicks` of the days are; None when no kind of clicks can be compared.
        unseen: a day of it does not say how often the ad was seen.
    """

    recent: list[Delivery]
    past: list[Delivery]
    age_days: int
    clicks_from: str | None
    ctr: float | None
    cpm: float | None
    unseen: bool

    @property
    def days(self) -> list[Delivery]:
        """The days before and the recent ones."""
        return self.past + self.recent


def score_account(
    rows: Sequence[Row], range_rows: Sequence[Row], as_of: date, settings: FatigueSettings
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
        if history.first_day(since, as_of) is None and not history.is_unseen(since, as_of):
            continue
        frequency = frequencies.get((account_id, ad_id))
        scores.append(_score(account_id, ad_id, history, frequency, as_of, settings))
    return scores


def band(value: float | None) -> Status:
    """Return the band of a total; None is pending."""
    if value is None:
        return "pending"
    if value <= HEALTHY_UP_TO:
        return "healthy"
    return "warning" if value <= WARNING_UP_TO else "critical"


def _score(
    account_id: str, ad_id: str, history: AdHistory, frequency: float | None, as_of: date, settings: FatigueSettings
) -> FatigueScore:
    sight = _look(history, as_of, settings, _clicks_field(history, as_of, settings))
    components = _components(sight, frequency, settings)
    value = _weighted(components, settings)
    earlier = [
        _weighted(_components(_look(history, day, settings, sight.clicks_from), frequency, settings), settings)
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
        status=band(value),
        total=value,
        creative=creative,
        audience=audience,
        algorithm=algorithm,
        data_quality=_quality(sight, frequency, flags, settings),
        trend_per_day=slope,
        days_to_critical=None if value is None else days_until(value, slope, WARNING_UP_TO),
        baseline=_baseline(sight, frequency, flags),
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
    linked = ([day.by_link_clicks() for day in days] for days in delivered)
    return LINK_CLICKS if all(with_clicks(days) for days in linked) else None


def _look(history: AdHistory, as_of: date, settings: FatigueSettings, clicks_from: str | None) -> _Sight:
    since, turn = _first_day(as_of, settings), as_of - timedelta(days=settings.recent_days)
    recent, past = history.between(turn + timedelta(days=1), as_of), history.between(since, turn)
    if clicks_from == LINK_CLICKS:
        recent, past = [day.by_link_clicks() for day in recent], [day.by_link_clicks() for day in past]
    first = history.first_day(since, as_of)
    return _Sight(
        recent=recent,
        past=past,
        age_days=(as_of - first).days + 1 if first else 0,
        clicks_from=clicks_from,
        ctr=usual_ctr(past, PRIOR_CLICKS),
        cpm=usual_cpm(past, PRIOR_IMPRESSIONS),
        unseen=history.is_unseen(since, as_of),
    )


def _components(
    sight: _Sight, frequency: float | None, settings: FatigueSettings
) -> tuple[float | None, float | None, float | None]:
    enough = sight.age_days >= settings.min_days and total(sight.days).impressions >= settings.min_impressions
    if not enough or not sight.recent or not sight.past:
        return None, None, None
    clicked, paid = total(with_clicks(sight.recent)), total(with_spend(sight.recent))
    creative = CREATIVE(1 - _ctr_ratio(clicked, sight.ctr)) if sight.ctr and clicked.impressions else None
    audience = None if frequency is None else AUDIENCE(frequency)
    algorithm = ALGORITHM(_cpm_ratio(paid, sight.cpm) - 1) if sight.cpm and paid.impressions else None
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


def _flags(sight: _Sight, frequency: float | None) -> list[str]:
    rates = [total(with_clicks(days)).ctr or 0.0 for days in (sight.recent, sight.past)]
    blind = len(with_clicks(sight.days)) < len(sight.days)
    found = {
        "clicks_missing": sight.clicks_from == LINK_CLICKS or blind,
        "ctr_implausible": max(rates) > PLAUSIBLE_CTR,
        "frequency_missing": frequency is None,
        "frequency_notable": (frequency or 0.0) > NOTABLE_FREQUENCY,
        "impressions_missing": sight.unseen,
        "link_clicks_used": sight.clicks_from == LINK_CLICKS,
        "spend_missing": len(with_spend(sight.days)) < len(sight.days),
    }
    return [name for name, holds in found.items() if holds]


def _quality(sight: _Sight, frequency: float | None, flags: list[str], settings: FatigueSettings) -> float:
    """Return how far the score can be trusted: days known, impressions seen, frequency there; less on bad data.

    Halved when a rate is implausible. Days without clicks or without spend take up to a quarter each; link clicks in
    the place of clicks take as much as if half the days had none.
    """
    impressions = total(sight.recent).impressions
    known = sight.age_days / (settings.recent_days + settings.baseline_days)
    seen = impressions / (impressions + PRIOR_IMPRESSIONS)
    whole = 0.4 * min(1.0, known) + 0.4 * seen + (0.2 if frequency is not None else 0.0)
    days = max(1, len(sight.days))
    clicked = len(with_clicks(sight.days)) / days * (0.5 if sight.clicks_from == LINK_CLICKS else 1.0)
    whole *= 1 - 0.25 * (1 - clicked) - 0.25 * (1 - len(with_spend(sight.days)) / days)
    return whole / 2 if {"ctr_implausible", "impressions_missing"} & set(flags) else whole


def _baseline(sight: _Sight, frequency: float | None, flags: list[str]) -> dict[str, Any]:
    return {
        "ctr": sight.ctr,
        "cpm": sight.cpm,
        "clicks_from": sight.clicks_from,
        "days": len(sight.past),
        "impressions": total(sight.past).impressions,
        "recent_ctr": total(with_clicks(sight.recent)).ctr,
        "recent_cpm": total(with_spend(sight.recent)).cpm,
        "recent_impressions": total(sight.recent).impressions,
        "frequency": frequency,
        "flags": flags,
    }
