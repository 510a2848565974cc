"""What scores and alarms of many ad-days cost: seconds and peak memory, each size in a process of its own.

Memory is the peak beyond the imports: the figures that go in, the tables that come out, and what is needed between.

The baseline is a plain numpy version of both: running sums over arrays of ads x days, the last week against the 60 days
before, and a CUSUM of clicks. It has no noise, weekday, market or flags. Times are CPU seconds of the process, as
other work on the machine changes those least. Scores as of many days are also measured from stored rows to stored ones.

For those 75 accounts with 20 ads each have 120 days of rows, as backfills store them: one object for 30 days of an
account, and one call scores 60 days of all accounts: 90,000 scores. The exit code is 1 when a target is missed.

    python -m tests.benchmarks.fatigue_cost
"""

import json
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from sqlalchemy import Engine

from adwarm.model import Row
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, partitions
from adwarm.store.database import open_engine, write_transaction
from adwarm.store.fatigue_days import fatigue_prior
from adwarm.store.fatigue_days import table as fatigue_day
from adwarm.store.partition_rows import content_hash, pack_rows
from adwarm.store.partitions import PartitionState
from adwarm.store.schema import upgrade
from adwarm.store.scores import table as fatigue_score
from tests.benchmarks.measure import peak_mb, print_table, sized
from tests.benchmarks.targets import TargetResults

SIZES: Final = sized((125_000, 250_000, 500_000, 1_000_000), (1_800, 3_600))
DAYS: Final = 90
ADS_PER_ACCOUNT: Final = 20
REPEATS: Final = 2
"""Rounds of which the faster one counts."""
ACCOUNTS, ADS = sized(75, 2), 20
STORED_DAYS, SCORED_DAYS = 120, sized(60, 2)
LAST_DAY: Final = date(2026, 3, 31)
NOW: Final = datetime(2026, 7, 1, tzinfo=UTC)
SECONDS, MEGABYTES, GROWTH, AS_OF_SECONDS = 5.0, 150.0, 1.1, 1.8


def main() -> int:
    """Run; return 0 when every target is met, and 1 when one is missed."""
    results = TargetResults("fatigue-cost", "CPU seconds of scores and alarms")
    costs, as_of = measure_costs(), measure_as_of()
    print_table("Scores as of a day, from stored rows to stored scores", [as_of])
    results.check_at_most("seconds for a million ad-days", costs[-1]["seconds"], SECONDS)
    results.check_at_most("megabytes over imports", costs[-1]["MB over imports"], MEGABYTES)
    results.check_at_most("power of ad-days that time grows with", measure_growth(costs), GROWTH)
    results.check_at_most("CPU seconds of 90,000 scores as of a day", as_of["CPU s"], AS_OF_SECONDS)
    return results.finish(costs, as_of=[as_of])


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

    imports, settings = peak_mb(), FatigueSettings()
    impressions, clicks, spend, frequency = np.load(path, mmap_mode=None)
    ads = len(impressions)
    panel = AdPanel(
        account_ids=tuple(f"act_{ad // ADS_PER_ACCOUNT:06d}" for ad in range(ads)),
        ad_ids=tuple(f"{ad:09d}" for ad in range(ads)),
        first_day=LAST_DAY,
        impressions=impressions,
        clicks=clicks,
        spend=spend,
        results=empty_figures(ads, DAYS),
        is_stored=np.ones((ads, DAYS), bool),
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
    with TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/adwarm.db")
        upgrade(engine)
        context = Context(engine, ObjectStore(f"{folder}/data"), Settings())
        ids = fill(context)
        seconds = []
        for _ in range(REPEATS + 1):
            empty(engine)
            seconds.append(_time_scores(context, ids))
        path = Path(folder) / "ads.npy"
        _write_inputs(path, ACCOUNTS * ADS, STORED_DAYS)
        impressions, clicks, spend, _ = np.load(path)
        plain = min(_run_plain(impressions, clicks, spend) for _ in range(10))
        engine.dispose()
    return {
        "what": f"{ACCOUNTS * ADS * SCORED_DAYS:,} scores as of a day, from rows to rows",
        "CPU s": min(seconds),
        "plain numpy s": plain,
        "times plain": min(seconds) / plain,
    }


def _time_scores(context: Context, ids: list[str]) -> float:
    """Score all accounts as of all days, and return the CPU seconds."""
    from adwarm.fatigue.account_scores import score_accounts

    days = [LAST_DAY - timedelta(days=number) for number in range(SCORED_DAYS)]
    started = time.process_time()
    result = score_accounts(context, [(account_id, day) for account_id in ids for day in days], NOW)
    if result.errors:
        raise SystemExit(f"scoring failed: {result.errors[0]}")
    return time.process_time() - started


def make_rows(account_id: str, days: list[date], draw: np.random.Generator) -> dict[date, list[Row]]:
    """Return rows as the platform sends them, by day."""
    impressions = draw.lognormal(9.0, 0.5, (len(days), ADS)).astype(int)
    clicks = draw.binomial(impressions, 0.012)
    spend = impressions * draw.lognormal(-5.0, 0.1, impressions.shape)
    return {
        day: [
            {
                "account_id": account_id.removeprefix("act_"),
                "ad_id": f"{1_000 + ad}",
                "ad_name": f"Spring sale, video {ad}",
                "adset_id": f"{500 + ad // 4}",
                "campaign_id": "77",
                "date_start": day.isoformat(),
                "date_stop": day.isoformat(),
                "impressions": str(impressions[number, ad]),
                "reach": str(impressions[number, ad] // 2),
                "clicks": str(clicks[number, ad]),
                "inline_link_clicks": str(clicks[number, ad] // 2),
                "spend": f"{spend[number, ad]:.2f}",
                "actions": [
                    {"action_type": "link_click", "value": str(clicks[number, ad] // 2)},
                    {"action_type": "video_view", "value": str(clicks[number, ad])},
                    {"action_type": "purchase", "value": str(clicks[number, ad] // 20)},
                ],
            }
            for ad in range(ADS)
        ]
        for number, day in enumerate(days)
    }


def store_rows(context: Context, account_id: str, rows: dict[date, list[Row]], version: int = 1) -> None:
    """Store the rows of some days in one object, settled."""
    digest = context.objects.put(pack_rows([row for listed in rows.values() for row in listed]))
    states = [
        PartitionState(day, digest, len(listed), content_hash(listed), NOW, True, True, version, "v26.0")
        for day, listed in rows.items()
    ]
    with write_transaction(context.engine) as connection:
        partitions.publish(connection, account_id, context.settings.spec("default").hash, states, 1)


def fill(context: Context) -> list[str]:
    """Store the days of all accounts, and return the accounts."""
    draw = np.random.default_rng(16)
    ids = [f"act_{1_000 + number}" for number in range(ACCOUNTS)]
    for account_id in ids:
        for since in range(0, STORED_DAYS, 30):
            days = [LAST_DAY - timedelta(days=STORED_DAYS - 1 - since - number) for number in range(30)]
            rows = make_rows(account_id, days, draw)
            store_rows(context, account_id, rows)
    return ids


def empty(engine: Engine) -> None:
    """Delete all scores."""
    with write_transaction(engine) as connection:
        for table in (fatigue_score, fatigue_day, fatigue_prior):
            connection.execute(table.delete())


def measure_growth(rows: list[dict[str, Any]]) -> float:
    """Return the exponent of seconds over ad-days, by least squares of the logarithms; 1 is linear."""
    sizes = np.log([float(row["what"].split()[0].replace(",", "")) for row in rows])
    return float(np.polyfit(sizes, np.log([row["seconds"] for row in rows]), 1)[0])


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(main())
    print(json.dumps(_run(Path(sys.argv[1]))))
