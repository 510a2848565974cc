"""Does a status fit what was lost? Planted losses, ads that stay as they are, and real series in random order."""

from datetime import timedelta
from typing import Any, Final

import numpy as np

from adwarm.fatigue.panel import AdPanel, FloatArray
from adwarm.fatigue.prior import measure_priors
from adwarm.fatigue.score import STATUSES, ScoreTable, score_panel
from adwarm.settings import FatigueSettings
from tests.benchmarks.fatigue_ads import permute_days
from tests.benchmarks.fatigue_real import is_usable, read_real_series
from tests.benchmarks.fatigue_worlds import World, draw_panel, independent
from tests.benchmarks.measure import sized
from tests.benchmarks.targets import TargetResults

ADS: Final = sized(600, 40)
DAYS: Final = 100
ONSET: Final = 88
WARMED_UP: Final = 20
VOLUMES: Final = (300, 1_000, 8_000, 100_000)
RECALL: Final = {"25-50 %: warning or critical": 0.8, "50-70 %: critical": 0.8}
WARNINGS, CRITICAL = 0.05, 0.01
RANK_MARGIN: Final = {300: 0.02, 1_000: 0.01, 8_000: 0.01, 100_000: 0.01}


def score(panel: AdPanel, until: int) -> ScoreTable:
    """Return the scores of a panel with priors of its days before column `until`, without frequencies."""
    unknown = np.full(panel.impressions.shape, np.nan)
    priors = measure_priors(panel, panel.first_day + timedelta(days=until))
    return score_panel(panel, priors, unknown, FatigueSettings())


def measure_planted(seed: int) -> list[dict[str, Any]]:
    """Return a row per volume: ads that lost up to 70 % of their clicks for 12 days at a flat price."""
    rows = []
    for number, volume in enumerate(VOLUMES):
        lost = np.random.default_rng(seed + number).uniform(0, 0.7, ADS)
        factor = np.where(np.arange(DAYS) >= ONSET, 1 - lost[:, None], 1.0)
        panel = draw_panel(World("", independent(), impressions=volume), seed + number, ADS, DAYS, factor)
        table = score(panel, ONSET - 3)
        status, loss = table.codes["status"][:, -1], table.figures["loss"][:, -1]
        some, most = (lost >= 0.25) & (lost < 0.5), lost >= 0.5
        rows.append({
            "impressions a day": volume,
            "25-50 %: warning or critical": float(_is_worse(status)[some].mean()),
            "50-70 %: critical": float((status == STATUSES.index("critical"))[most].mean()),
            "rank of score": _rank_correlation(table.figures["total"][:, -1], lost),
            "rank of loss": _rank_correlation(loss, lost),
            "rank of 7 over 60 days": _rank_correlation(_plain_loss(panel), lost),
        })
    return rows


def measure_unchanged(seed: int) -> list[dict[str, Any]]:
    """Return a row per world without a loss: shares of warnings or worse, and of critical, of scored ad-days."""
    rows = []
    for volume in (100, *VOLUMES[:3]):
        panel = draw_panel(World("", independent(), impressions=volume), seed, ADS, DAYS)
        rows.append({"what": f"unchanged, {volume:,} a day", **_shares(score(panel, DAYS - 40))})
    rising = np.linspace(0.6, 1.2, DAYS) * np.ones((ADS, 1))
    rows.append({"what": "rising", **_shares(score(draw_panel(World("", independent()), seed, ADS, DAYS, rising), 60))})
    real = read_real_series()
    if real is not None:
        usable = is_usable(real)
        for order in range(sized(4, 1)):
            shuffled = permute_days(real, order)
            rows.append({"what": f"real, random order {order + 1}", **_shares(score(shuffled, 61), usable)})
    return rows


def check(results: TargetResults, planted: list[dict[str, Any]], unchanged: list[dict[str, Any]]) -> None:
    """Check both tables against the targets; recall at 8,000 impressions a day."""
    for row in planted:
        volume = row["impressions a day"]
        behind = row["rank of 7 over 60 days"] - row["rank of score"]
        results.check_at_most(f"{volume:,} a day: rank behind 7 over 60 days", max(0.0, behind), RANK_MARGIN[volume])
        if volume == 8_000:
            for name, least in RECALL.items():
                results.check_at_most(f"{name}: missed", 1 - row[name], round(1 - least, 3))
    for row in unchanged:
        results.check_at_most(f"{row['what']}: warning or critical", row["warning or critical"], WARNINGS)
        results.check_at_most(f"{row['what']}: critical", row["critical"], CRITICAL)


def _is_worse(status: np.ndarray) -> np.ndarray:
    return np.isin(status, [STATUSES.index(name) for name in ("warning", "critical")])


def _shares(table: ScoreTable, ads: np.ndarray | None = None) -> dict[str, float]:
    status = table.codes["status"][:, WARMED_UP:] if ads is None else table.codes["status"][ads, WARMED_UP:]
    scored = max(1, int((status != STATUSES.index("pending")).sum()))
    return {
        "warning or critical": float(_is_worse(status).sum() / scored),
        "critical": float((status == STATUSES.index("critical")).sum() / scored),
    }


def _plain_loss(panel: AdPanel) -> FloatArray:
    """Return the loss of the last seven days against the 60 before, without any statistics."""
    sums = [(values[:, -7:].sum(axis=1), values[:, -67:-7].sum(axis=1)) for values in (panel.clicks, panel.impressions)]
    (clicks, usual_clicks), (shown, usual_shown) = sums
    loss: FloatArray = 1 - clicks / shown * usual_shown / usual_clicks
    return loss


def _rank_correlation(values: np.ndarray, truth: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(of, kind="stable"), kind="stable") for of in (values, truth)]
    return float(np.corrcoef(*ranks)[0, 1])
