"""The canonical ad fatigue score: 0 is fresh, 100 is fatigued.

Three components, each continuous and never better for a worse ad: creative (click-through rate lost against the ad's
own past), audience (how often a person saw it), algorithm (rise of the price of a thousand impressions). The recent
days are compared with the median of the days before them, and ratios are drawn to 1 where little was delivered, so
that a few hundred impressions do not scream. The same rows in any order give the same scores.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from adwarm.errors import BadRequest
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
)
from adwarm.fatigue.trend import TREND_DAYS, days_until, slope_per_day
from adwarm.settings import FatigueSettings

CALCULATOR_VERSION: Final = "canonical-1"
HEALTHY_UP_TO: Final = 30.0
WARNING_UP_TO: Final = 60.0
PRIOR_CLICKS: Final = 10.0
"""Clicks' worth of belief that an ad still clicks as it used to: the Beta prior has the ad's usual rate as its mean."""
PRIOR_IMPRESSIONS: Final = 1000.0
"""Impressions' worth of belief that an ad still costs what it used to."""
PLAUSIBLE_CTR: Final = 0.10
"""A higher click-through rate is an error in the data."""
NOTABLE_FREQUENCY: Final = 20.0

Status = Literal["healthy", "warning", "critical", "pending"]


@dataclass(frozen=True, slots=True)
class FatigueScore:
    """One ad's score as of a day.

    Attributes:
        status: the band of `total`; `pending` while there is too little to judge, and then nothing is scored.
        total: 0 to 100, the weighted mean of the components there are.
        creative: None when the ad had no clicks to lose.
        audience: None when no range summary was there.
        algorithm: None when the ad had no spend to compare with.
        data_quality: 0 to 1, how far the score can be trusted.
        trend_per_day: points a day over the last four days, frequency held.
        days_to_critical: at that pace; 0 when critical already, None when not heading there.
        baseline: what was compared: rates, days, frequency, and `flags` for what looked wrong.
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
    """What one ad looks like as of one day."""

    recent: Delivery
    past: list[Delivery]
    age_days: int
    ctr: float | None
    cpm: float | None


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
        if history.first_day(_first_day(as_of, settings), as_of) is None:
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
    sight = _look(history, as_of, settings)
    components = _components(sight, frequency, settings)
    value = _weighted(components, settings)
    earlier = [
        _weighted(_components(_look(history, as_of - timedelta(days=back), settings), frequency, settings), settings)
        for back in range(TREND_DAYS - 1, 0, -1)
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


def _look(history: AdHistory, as_of: date, settings: FatigueSettings) -> _Sight:
    since, turn = _first_day(as_of, settings), as_of - timedelta(days=settings.recent_days)
    past = history.between(since, turn)
    first = history.first_day(since, as_of)
    return _Sight(
        recent=total(history.between(turn + timedelta(days=1), as_of)),
        past=past,
        age_days=(as_of - first).days + 1 if first else 0,
        ctr=usual_ctr(past, PRIOR_CLICKS),
        cpm=usual_cpm(past, PRIOR_IMPRESSIONS),
    )


def _components(
    sight: _Sight, frequency: float | None, settings: FatigueSettings
) -> tuple[float | None, float | None, float | None]:
    seen = sight.recent.impressions + total(sight.past).impressions
    enough = sight.age_days >= settings.min_days and seen >= settings.min_impressions
    if not enough or not sight.recent.impressions or not sight.past:
        return None, None, None
    creative = None if sight.ctr is None else CREATIVE(1 - _ctr_ratio(sight.recent, sight.ctr))
    audience = None if frequency is None else AUDIENCE(frequency)
    algorithm = None if sight.cpm is None else ALGORITHM(_cpm_ratio(sight.recent, sight.cpm) - 1)
    return creative, audience, algorithm


def _ctr_ratio(recent: Delivery, usual: float) -> float:
    """Return the posterior mean of the recent rate, as a share of the usual one (Beta prior around it)."""
    return (recent.clicks + PRIOR_CLICKS) / (recent.impressions * usual + PRIOR_CLICKS)


def _cpm_ratio(recent: Delivery, usual: float) -> float:
    """Return the recent price as a multiple of the usual one, drawn to 1 as a Gamma prior around it would."""
    return (1000 * recent.spend / usual + PRIOR_IMPRESSIONS) / (recent.impressions + PRIOR_IMPRESSIONS)


def _weighted(components: Sequence[float | None], settings: FatigueSettings) -> float | None:
    present = [(weight, value) for weight, value in zip(settings.weights, components, strict=True) if value is not None]
    whole = sum(weight for weight, _ in present)
    if not whole:
        return None
    return min(100.0, sum(weight * value for weight, value in present) / whole)


def _flags(sight: _Sight, frequency: float | None) -> list[str]:
    rates = (sight.recent.ctr or 0.0, total(sight.past).ctr or 0.0)
    found = {
        "ctr_implausible": max(rates) > PLAUSIBLE_CTR,
        "frequency_missing": frequency is None,
        "frequency_notable": (frequency or 0.0) > NOTABLE_FREQUENCY,
    }
    return [name for name, holds in found.items() if holds]


def _quality(sight: _Sight, frequency: float | None, flags: list[str], settings: FatigueSettings) -> float:
    """Return how far the score can be trusted: days known, impressions seen, frequency there; halved on bad data."""
    known = sight.age_days / (settings.recent_days + settings.baseline_days)
    seen = sight.recent.impressions / (sight.recent.impressions + PRIOR_IMPRESSIONS)
    whole = 0.4 * min(1.0, known) + 0.4 * seen + (0.2 if frequency is not None else 0.0)
    return whole / 2 if "ctr_implausible" in flags else whole


def _baseline(sight: _Sight, frequency: float | None, flags: list[str]) -> dict[str, Any]:
    recent = sight.recent
    return {
        "ctr": sight.ctr,
        "cpm": sight.cpm,
        "days": len(sight.past),
        "impressions": total(sight.past).impressions,
        "recent_ctr": recent.ctr,
        "recent_cpm": 1000 * recent.spend / recent.impressions if recent.impressions else None,
        "recent_impressions": recent.impressions,
        "frequency": frequency,
        "flags": flags,
    }
