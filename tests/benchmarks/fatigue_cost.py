"""What scores and alarms of many ad-days cost: seconds and peak memory, each size in a process of its own.

Memory is the peak beyond the imports: the figures that go in, the tables that come out, and what is needed between.

The baseline is a plain numpy version of both: running sums over arrays of ads x days, the last week against the 60 days
before, and a CUSUM of clicks. It has no noise, weekday, market or flags. Times are CPU seconds of the process, as
other work on the machine changes those least. Scores as of many days are also measured from stored rows to stored ones.

    python -m tests.benchmarks.fatigue_cost
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from tests.benchmarks.measure import FOLDER, peak_mb, sized

SIZES: Final = sized((125_000, 250_000, 500_000, 1_000_000), (1_800, 3_600))
DAYS: Final = 90
ADS_PER_ACCOUNT: Final = 20
REPEATS: Final = 2
"""Rounds of which the faster one counts."""


def measure_costs(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Return a row per number of ad-days, with the baseline's CPU seconds for as many."""
    rows = []
    for size in sizes:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "ads.npy"
            _write_inputs(path, size // DAYS)
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.fatigue_cost", str(path)],
                check=True,
                capture_output=True,
                text=True,
            )
        figures = json.loads(done.stdout)
        rows.append({
            "what": f"{size:,} ad-days",
            "score s": figures["score"],
            "alarm s": figures["alarm"],
            "seconds": figures["score"] + figures["alarm"],
            "MB over imports": figures["megabytes"],
            "plain numpy s": figures["plain"],
            "times plain": (figures["score"] + figures["alarm"]) / figures["plain"],
        })  # fmt: skip
    return rows


def _write_inputs(path: Path, ads: int, days: int = DAYS) -> None:
    """Write impressions, clicks, spend and frequency of healthy ads."""
    rng = np.random.default_rng(1)
    impressions = np.round(8_000 * np.exp(rng.normal(0, 0.8, (ads, 1)) + rng.normal(0, 0.25, (ads, days))))
    clicks = rng.poisson(impressions * 0.012 * np.exp(rng.normal(0, 0.115, (ads, days)))).astype(float)
    spend = np.round(impressions * 0.006 * np.exp(rng.normal(0, 0.08, (ads, days))), 2)
    np.save(path, np.stack([impressions, clicks, spend, rng.uniform(1.0, 3.0, (ads, days))]))


def _run(path: Path) -> dict[str, float]:
    """Score and scan the ads of a file, and return CPU seconds and megabytes beyond the imports."""
    from adwarm.fatigue.alarm import detect
    from adwarm.fatigue.panel import AdPanel, empty_figures
    from adwarm.fatigue.prior import DEFAULT_PRIOR
    from adwarm.fatigue.score import score_panel
    from adwarm.settings import FatigueSettings
    from tests.benchmarks.fatigue_ads import FIRST_DAY

    imports, settings = peak_mb(), FatigueSettings()
    impressions, clicks, spend, frequency = np.load(path, mmap_mode=None)
    ads = len(impressions)
    panel = AdPanel(
        account_ids=tuple(f"act_{ad // ADS_PER_ACCOUNT:06d}" for ad in range(ads)),
        ad_ids=tuple(f"{ad:09d}" for ad in range(ads)),
        first_day=FIRST_DAY,
        impressions=impressions,
        clicks=clicks,
        spend=spend,
        results=empty_figures(ads, DAYS),
        is_stored=np.ones((ads, DAYS), bool),
        clicks_from=("clicks",) * ads,
    )
    priors = dict.fromkeys(panel.account_ids, DEFAULT_PRIOR)
    score_seconds, alarm_seconds = [], []
    for _ in range(REPEATS):
        started = time.process_time()
        scores = score_panel(panel, priors, frequency, settings)
        scored = time.process_time()
        alarms = detect(panel, priors, settings)
        alarm_seconds.append(time.process_time() - scored)
        score_seconds.append(scored - started)
        if not np.isfinite(scores.figures["total"][:, -1]).any() or not (alarms.evidence[:, -1] > 0).any():
            raise SystemExit("nothing was scored")
        # The next round must not stand beside the tables of this one.
        del scores, alarms
    return {
        "score": min(score_seconds),
        "alarm": min(alarm_seconds),
        "megabytes": peak_mb() - imports,
        "plain": _run_plain(impressions, clicks, spend),
    }


def _run_plain(impressions: Any, clicks: Any, spend: Any) -> float:
    """Return the CPU seconds of a plain numpy version of score and alarm."""
    started = time.process_time()
    shown, clicked, paid = (
        np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1) for values in (impressions, clicks, spend)
    )
    end = np.arange(1, impressions.shape[1] + 1)
    week, month = np.maximum(end - 7, 0), np.maximum(end - 67, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates, prices = (
            (sums[:, end] - sums[:, week]) / (shown[:, end] - shown[:, week])
            / ((sums[:, week] - sums[:, month]) / (shown[:, week] - shown[:, month]))
            for sums in (clicked, paid)
        )  # fmt: skip
        loss = 1 - rates / prices
        usual = clicked[:, :-1] / shown[:, :-1]
    score = 0.6 * np.interp(1 - rates, (0, 0.1, 0.25, 0.5, 0.75), (0, 20, 60, 90, 100))
    score += 0.4 * np.interp(prices - 1, (0, 0.1, 0.2, 0.4, 0.8), (0, 20, 50, 90, 100))
    evidence = np.zeros(len(clicks))
    for day in range(10, impressions.shape[1]):
        expected = impressions[:, day] * usual[:, day]
        gain = 0.2 * expected + clicks[:, day] * np.log(0.8)
        evidence = np.maximum(0.0, evidence + gain)
        evidence[evidence > 4.6] = 0.0
    if not (np.isfinite(loss[:, -1]).any() and np.isfinite(score[:, -1]).any() and np.isfinite(evidence).all()):
        raise SystemExit("the baseline computed nothing")
    return time.process_time() - started


def measure_as_of() -> dict[str, Any]:
    """Return the CPU seconds of 90,000 scores as of 60 days, read from stored rows and stored, beside the baseline."""
    from tests.benchmarks import fatigue_store as store

    with TemporaryDirectory() as folder:
        context = store.open_sqlite(folder)
        ids = store.fill(context)
        seconds = []
        for _ in range(REPEATS + 1):
            store.empty(context.engine)
            seconds.append(store.time_scores(context, ids)[1])
        path = Path(folder) / "ads.npy"
        _write_inputs(path, store.ACCOUNTS * store.ADS, store.STORED_DAYS)
        impressions, clicks, spend, _ = np.load(path)
        plain = min(_run_plain(impressions, clicks, spend) for _ in range(10))
        context.engine.dispose()
    return {
        "what": f"{store.ACCOUNTS * store.ADS * store.SCORED_DAYS:,} scores as of a day, from rows to rows",
        "CPU s": min(seconds),
        "plain numpy s": plain,
        "times plain": min(seconds) / plain,
    }


def measure_growth(rows: list[dict[str, Any]]) -> float:
    """Return the exponent of seconds over ad-days, by least squares of the logarithms; 1 is linear."""
    sizes = np.log([float(row["what"].split()[0].replace(",", "")) for row in rows])
    return float(np.polyfit(sizes, np.log([row["seconds"] for row in rows]), 1)[0])


def draw_costs(rows: list[dict[str, Any]], path: Path = FOLDER / "fatigue-cost.svg") -> Path:
    """Draw seconds over ad-days, with the straight line through zero and the largest size, and return the file."""
    sizes = [float(row["what"].split()[0].replace(",", "")) for row in rows]
    seconds = [float(row["seconds"]) for row in rows]
    width, height, margin = 640, 360, 60
    top = max(seconds) * 1.15

    def at(size: float, value: float) -> tuple[float, float]:
        x = margin + (width - 2 * margin) * size / max(sizes)
        return round(x, 1), round(height - margin - (height - 2 * margin) * value / top, 1)

    line = " ".join(",".join(map(str, at(size, value))) for size, value in zip(sizes, seconds, strict=True))
    (x0, y0), (x1, y1) = at(0, 0), at(sizes[-1], seconds[-1])
    marks = "".join(
        f'<circle cx="{at(size, value)[0]}" cy="{at(size, value)[1]}" r="4" fill="#1f6feb"/>'
        f'<text x="{at(size, value)[0]}" y="{at(size, value)[1] - 10}" text-anchor="middle">{value:.2f} s</text>'
        f'<text x="{at(size, value)[0]}" y="{y0 + 20}" text-anchor="middle">{size / 1e6:g} M</text>'
        for size, value in zip(sizes, seconds, strict=True)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13"><rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="{margin}" y="28" font-size="15">Seconds to score ads and look for alarms, by ad-days</text>'
        f'<path d="M{margin},{margin - 10} V{y0} H{width - margin + 20}" fill="none" stroke="#777"/>'
        f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="#999" stroke-dasharray="5 4"/>'
        f'<polyline points="{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>{marks}'
        f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">ad-days; dashed: exactly linear</text></svg>\n'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg, encoding="utf-8")
    return path


if __name__ == "__main__":
    print(json.dumps(_run(Path(sys.argv[1])) if len(sys.argv) > 1 else measure_costs(), indent=2))
