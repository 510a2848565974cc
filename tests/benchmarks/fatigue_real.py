"""Real daily ad series without labels: how often each detector raises an alarm that nobody planted.

The file is not part of the repository. An ad is usable with 60 days of delivery and 500 clicks; its days
count from its first to its last delivery, and once more without the first fourteen of them. Nobody knows which alarms
on raw series are wrong. With each ad's days in random order nothing changes over time, so there every alarm is false.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np

from adwarm.fatigue.panel import AdPanel, FloatArray, empty_figures
from tests.benchmarks.fatigue_ads import permute_days
from tests.benchmarks.fatigue_detectors import Detector
from tests.benchmarks.fatigue_metrics import WARM_UP_DAYS, measure_false_alarms
from tests.benchmarks.fatigue_product import alarm_detector
from tests.benchmarks.fatigue_rules import ctr_rule, drop_rule
from tests.benchmarks.fatigue_signals import AdSeries

REAL_SERIES: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "display_ads.parquet"
USABLE_DAYS: Final = 60
USABLE_CLICKS: Final = 500

_MIN_EXPECTED: Final = 20.0


def read_real_series(path: Path = REAL_SERIES) -> AdPanel | None:
    """Return the series of a parquet file with a row per ad and day; None when there is no such file."""
    if not path.exists():
        return None
    import pandas as pd

    rows = pd.read_parquet(path)
    rows["date_start"] = pd.to_datetime(rows["date_start"]).dt.date
    return panel_from_rows(rows)


def panel_from_rows(rows: Any) -> AdPanel:
    """Return a panel of a data frame with account_id, ad_id, date_start, impressions, clicks and spend.

    A day without a row of the ad is a day without delivery. `ad_name` is used when it is there.
    """
    rows = rows.sort_values(["account_id", "ad_id", "date_start"])
    first: date = rows["date_start"].min()
    days = (rows["date_start"].max() - first).days + 1
    keys = rows[["account_id", "ad_id"]].astype(str).apply(tuple, axis=1)
    ads = list(dict.fromkeys(keys))
    index = {key: number for number, key in enumerate(ads)}
    at = keys.map(index).to_numpy(), np.array([(day - first).days for day in rows["date_start"]])
    figures = {}
    for name in ("impressions", "clicks", "spend"):
        values: FloatArray = np.zeros((len(ads), days))
        values[at] = rows[name].to_numpy(float)
        figures[name] = values
    return AdPanel(
        account_ids=tuple(account for account, _ in ads),
        ad_ids=tuple(ad for _, ad in ads),
        first_day=first,
        results=empty_figures(len(ads), days),
        is_stored=np.ones((len(ads), days), bool),
        clicks_from=("clicks",) * len(ads),
        **figures,
    )


def is_usable(panel: AdPanel) -> np.ndarray:
    """Return which ads have enough days with delivery and enough clicks."""
    days = (panel.impressions > 0).sum(axis=1)
    usable: np.ndarray = (days >= USABLE_DAYS) & (np.nansum(panel.clicks, axis=1) >= USABLE_CLICKS)
    return usable


def days_at_risk(panel: AdPanel, warm_up: int = WARM_UP_DAYS) -> np.ndarray:
    """Return the days of each ad from its first to its last delivery, without the first `warm_up` ones."""
    delivered = panel.impressions > 0
    started = np.cumsum(np.cumsum(delivered, axis=1) > 0, axis=1) > warm_up
    lasts: np.ndarray = np.cumsum(delivered[:, ::-1], axis=1)[:, ::-1] > 0
    return started & lasts


def measure_real(panel: AdPanel, permutations: int) -> list[dict[str, Any]]:
    """Return a row per way to look at the usable ads: natural alarms in 180 ad-days, and false ones of permuted days.

    Args:
        panel: all ads, in their accounts.
        permutations: orders of days, each drawn anew.
    """
    usable = is_usable(panel)
    chosen = keep_ads(panel, usable)
    alone = separate_accounts(chosen)
    alarm, others = alarm_detector(), (drop_rule(), ctr_rule())
    shuffled = [permute_days(panel, seed) for seed in range(permutations)]
    separate = [permute_days(alone, seed) for seed in range(permutations)]
    return [
        _measure_rate("raw days: adwarm alarm", alarm, [panel]),
        _measure_rate("raw days, each ad alone: adwarm alarm", alarm, [alone]),
        *(_measure_rate(f"raw days: {detector.name}", detector, [panel]) for detector in others),
        _measure_rate("random order: adwarm alarm", alarm, shuffled),
        _measure_rate("random order, each ad alone: adwarm alarm", alarm, separate),
        *(_measure_rate(f"random order: {detector.name}", detector, shuffled) for detector in others),
    ]


def _measure_rate(name: str, detector: Detector, panels: Sequence[AdPanel]) -> dict[str, Any]:
    """Return the rate of a detector over panels of the same ads; ads are what the interval resamples."""
    alarms, at_risk, whole, ads = [], [], [], []
    for panel in panels:
        healthy = np.full(len(panel.ad_ids), -1)
        series = AdSeries(panel, np.full(panel.impressions.shape, np.nan), healthy)
        usable = is_usable(panel)[:, None]
        alarms.append(detector.start(series)(detector.nominal or 0.0).alarms)
        at_risk.append(days_at_risk(panel) & usable)
        whole.append(days_at_risk(panel, 0) & usable)
        ads.append(np.array(panel.ad_ids))
    raised, names = np.concatenate(alarms), np.concatenate(ads)
    healthy = np.full(len(names), -1)
    rate = measure_false_alarms(raised, healthy, names, np.concatenate(at_risk))
    with_warm_up = measure_false_alarms(raised, healthy, names, np.concatenate(whole))
    return {
        "what": name,
        "alarms": with_warm_up.alarms,
        "in 180 ad-days": with_warm_up.per_run_length,
        "95 %": f"{with_warm_up.low:.2f}-{with_warm_up.high:.2f}",
        "low": with_warm_up.low,
        "without first 14 days": rate.per_run_length,
        "95 % of it": f"{rate.low:.2f}-{rate.high:.2f}",
    }


def keep_ads(panel: AdPanel, ads: np.ndarray) -> AdPanel:
    """Return the panel with some of its ads."""
    chosen = np.flatnonzero(ads)
    figures = {
        name: getattr(panel, name)[chosen] for name in ("impressions", "clicks", "spend", "results", "is_stored")
    }
    names = {name: tuple(getattr(panel, name)[ad] for ad in chosen) for name in ("account_ids", "ad_ids")}
    return replace(panel, **figures, **names, clicks_from=tuple(panel.clicks_from[ad] for ad in chosen))


def separate_accounts(panel: AdPanel) -> AdPanel:
    """Return the panel with an account for each ad, so that no ad tells anything about another."""
    return replace(panel, account_ids=tuple(f"act_{number + 1:06d}" for number in range(len(panel.ad_ids))))


def measure_noise(panel: AdPanel) -> FloatArray:
    """Return the extra-binomial log-sd of each ad's daily click-through rate around its mean of a centered week.

    Days with fewer than 20 expected clicks are left out; an ad without ten other days has nan.
    """
    shape = panel.impressions.shape
    noise = np.full(shape[0], np.nan)
    for ad in range(shape[0]):
        days = panel.impressions[ad] > 0
        shown, clicked = panel.impressions[ad, days], panel.clicks[ad, days]
        if len(shown) < 14:
            continue
        near_shown, near_clicked = (np.convolve(values, np.ones(7), "same") - values for values in (shown, clicked))
        expected = shown * near_clicked / np.maximum(near_shown, 1)
        enough = expected >= _MIN_EXPECTED
        if enough.sum() < 10:
            continue
        deviation = clicked[enough] / expected[enough] - 1
        # The mean of six other days has its own variance: a sixth of the noise and that of its clicks.
        counted = 1 / expected[enough] + 1 / near_clicked[enough]
        noise[ad] = np.sqrt(max(0.0, float((deviation**2 - counted).mean()) * 6 / 7))
    return noise
