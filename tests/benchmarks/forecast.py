"""First-open hit ratio of the policy adwarm at 1.5, 2 and 3 times the calls without warming, beside every baseline.

    python -m tests.benchmarks.forecast FOLDER

`FOLDER` holds access logs under the names below; without it, or where one is missing, the example log of the
repository is replayed. Each log is replayed twice: with no lag and no latency, and with a lag of 5 minutes and a
latency of 30 seconds. Where a log has several windows their hits are pooled, weighted by first opens.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from adwarm.replay.policies import BOUNDS, BUILT_IN, FORECASTS
from adwarm.replay.replay_run import ReplayConfig, TrainTestSplit, read_opens, replay
from adwarm.settings import load_settings
from tests.benchmarks.measure import save_results, sized, train_fast_if_tiny

TARGETS = (1.5, 2.0, 3.0)
WEEK = timedelta(weeks=1)
TRAINING, TEST = sized((8 * WEEK, 4 * WEEK), (3 * WEEK, timedelta(days=2)))
EXAMPLE_OPENS = sized(0, 15)
"""Keys of the example log with fewer opens in training are left out."""
EXAMPLE = Path(__file__).resolve().parents[2] / "examples"
SETTINGS = {"no lag": (timedelta(0), timedelta(0)), "lag 5 min": (timedelta(minutes=5), timedelta(seconds=30))}
POLICIES = sized([name for name in BUILT_IN if name not in FORECASTS], ["none", "popularity", "adwarm"])


@dataclass(frozen=True)
class Case:
    """A log and the windows of twelve weeks to replay, eight of training and four of test.

    Attributes:
        log: its name.
        windows: first days; empty: the four densest that do not overlap.
        min_opens: keys with fewer opens in training are left out.
    """

    log: str
    windows: tuple[str, ...] = ()
    min_opens: int = 20


CASES = (
    Case("loan_desk", ("2011-12-08",)),
    Case("helpdesk"),
    Case("page_opens", ("2018-01-18",)),
    Case("scheduled_flights", ("2013-01-17",)),
    Case("sparse_customers", ("2011-09-15",), min_opens=0),
)


@dataclass(frozen=True)
class Job:
    """One replay."""

    log: str
    path: str
    start: datetime
    min_opens: int
    setting: str
    policy: str


def densest(path: Path, count: int = 4, weeks: int = 12) -> list[datetime]:
    """Return the starts of the windows with the most events that do not overlap; weeks begin on Thursdays."""
    seconds = pq.read_table(path, columns=["ts"])["ts"].to_numpy()
    week = seconds.astype("datetime64[s]").astype(np.int64) // int(WEEK.total_seconds())
    per_week = np.bincount(week - week.min())
    sums = np.convolve(per_week, np.ones(weeks, np.int64), "valid")
    chosen: list[int] = []
    for at in np.argsort(-sums, kind="stable").tolist():
        if len(chosen) < count and all(abs(at - other) >= weeks for other in chosen):
            chosen.append(at)
    origin = datetime.fromtimestamp(int(week.min()) * WEEK.total_seconds(), UTC)
    return [origin + at * WEEK for at in sorted(chosen)]


def run_job(job: Job) -> dict[str, Any]:
    """Run a replay, and return its job, document and duration."""
    lag, latency = SETTINGS[job.setting]
    settings = load_settings()
    train_fast_if_tiny()
    split = TrainTestSplit(job.start, job.start + TRAINING, job.start + TRAINING + TEST)
    opens = read_opens(job.path, settings, split, job.min_opens)
    started = time.perf_counter()
    result = replay(
        opens, split, ReplayConfig(lag=lag, latency=latency, targets=TARGETS), [*job.policy.split(",")], settings
    )
    return {"job": job, "seconds": time.perf_counter() - started, "document": result.document}


def jobs_of(folder: Path | None, names: Sequence[str], policy: str) -> list[Job]:
    """Return the replays to run."""
    jobs = []
    for case in CASES:
        path = folder / f"{case.log}.parquet" if folder else None
        if path is None or not path.is_file() or (names and case.log not in names):
            continue
        starts = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in case.windows] or densest(path)
        jobs += [Job(case.log, str(path), at, case.min_opens, name, policy) for name in SETTINGS for at in starts]
    if not jobs:
        path = next(EXAMPLE.rglob("*.parquet"))
        jobs = [
            Job("example", str(path), _example_start(path), EXAMPLE_OPENS, name, policy)
            for name in list(SETTINGS)[: sized(2, 1)]
        ]
    return jobs


def _example_start(path: Path) -> datetime:
    last = pq.read_table(path, columns=["ts"])["ts"].to_pandas().max()
    return datetime(last.year, last.month, last.day, tzinfo=UTC) - TRAINING - TEST + timedelta(days=1)


def pool_rows(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per policy: hit ratios at the targets over all windows, weighted by first opens."""
    weights = [item["document"]["log"]["scored_first_opens"] for item in results]
    rows = []
    for index, policy in enumerate(results[0]["document"]["policies"]):
        windows = [item["document"]["policies"][index] for item in results]
        row: dict[str, Any] = {"what": policy["name"]}
        for target in TARGETS:
            ratios = [_ratio_at(each, target) for each in windows]
            row[f"{target:g}x"] = float(np.average(ratios, weights=weights))
        row["most calls"] = max(point["multiple"] for each in windows for point in each["curve"])
        eces = [each["probability"]["ece"] or 0.0 for each in windows if each["probability"]]
        row["ECE"] = float(np.mean(eces)) if eces else "-"
        rows.append(row)
    return rows


def _ratio_at(policy: dict[str, Any], target: float) -> float:
    return float(next(row["first_open_hit_ratio"] for row in policy["read_off_curve"] if row["multiple"] == target))


def half_width(results: Sequence[dict[str, Any]], baseline: str, target: float) -> float:
    """Return half the width of the paired 95 % interval of the difference to `baseline`, of the widest window."""
    widths = []
    for item in results:
        table = item["document"]["compared"]
        rows = table["against"].get(baseline, []) if table else []
        widths += [(row["interval"][1] - row["interval"][0]) / 2 for row in rows if row["multiple"] == target]
    return max(widths, default=0.0)


def check_targets(
    log: str, rows: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]
) -> list[tuple[str, bool]]:
    """Return each target of this log, and whether it was met."""
    by_name = {row["what"]: row for row in rows}
    ours = by_name.get("adwarm")
    baselines = {name: row for name, row in by_name.items() if name not in BOUNDS and name != "adwarm"}
    if ours is None:
        return []
    if log == "loan_desk":
        return [(f"{at} {ours[at]:.3f} >= {aim}", ours[at] >= aim) for at, aim in (("2x", 0.92), ("3x", 0.975))]
    if log == "helpdesk":
        best = max(row["2x"] for row in baselines.values())
        return [(f"2x {ours['2x']:.3f} >= best baseline {best:.3f} + 0.03", ours["2x"] >= best + 0.03)]
    if log == "sparse_customers":
        return [(f"most calls {ours['most calls']:.3f} <= 1.05", ours["most calls"] <= 1.05)]
    lines = []
    for target in TARGETS:
        at = f"{target:g}x"
        name, row = max(baselines.items(), key=lambda item: item[1][at])
        slack = half_width(results, name, target)
        text = f"{at} {ours[at]:.3f} >= {name} {row[at]:.3f} - {slack:.3f}"
        lines.append((text, ours[at] >= row[at] - slack))
    return lines


def main(arguments: Sequence[str]) -> int:
    """Run the replays, print the tables, and check the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--logs", default="", help="names with commas between; all by default")
    parser.add_argument("--policy", default=",".join(POLICIES))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    jobs = jobs_of(options.folder, [name for name in options.logs.split(",") if name], options.policy)
    with ProcessPoolExecutor(options.processes) as pool:
        results = list(pool.map(run_job, jobs))
    lines = []
    for log, setting in dict.fromkeys((job.log, job.setting) for job in jobs):
        of_setting = [item for item in results if (item["job"].log, item["job"].setting) == (log, setting)]
        rows = pool_rows(of_setting)
        seconds = sum(item["seconds"] for item in of_setting)
        windows = ", ".join(f"{item['job'].start + TRAINING:%Y-%m-%d}" for item in of_setting)
        slug = f"forecast-{log}-{setting.replace(' ', '-')}"
        save_results(slug, f"{log}, {setting}, scored {TEST.days} days from {windows}; {seconds:.0f} s", rows)
        lines += [(f"{log}, {setting}: {text}", met) for text, met in check_targets(log, rows, of_setting)]
    for text, met in lines:
        print("PASS" if met else "FAIL", text)
    save_results("forecast", "Targets", [{"what": text, "met": met} for text, met in lines])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
