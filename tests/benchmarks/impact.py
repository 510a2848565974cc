"""Live impact against a planted effect: does the 95 % interval hold the truth as often as it says?

Accounts differ a thousandfold in opens and differ in how often a report is fresh anyway; weeks move together, for all
accounts and for each. Each account and week has two outcomes, warmed and not warmed, of which the draw shows one, so
the truth is known: the gain over all accounts and weeks, per call that warming all of them takes. The draw and the
estimate are the product's. The baseline is the textbook one: opens pooled, a normal interval for the difference of two
shares, as if each open were drawn by itself.

    python -m tests.benchmarks.impact [--seeds 200]
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from adwarm.model import ImpactDesign, ImpactUnit
from adwarm.planning.impact import ImpactRules, estimate_impact
from adwarm.planning.impact_measurement import is_held_out
from tests.benchmarks.measure import exit_code, save_results, sized

FIRST_WEEK = date(2026, 1, 5)
NORMAL_95 = 1.959964
LEAST_COVERAGE = 0.90


@dataclass(frozen=True)
class Scenario:
    """An installation with a planted effect.

    Attributes:
        name: in the table.
        accounts: its accounts.
        weeks: whole weeks that were measured.
        share: share of the units that is held out.
        effect: of first opens that would not find a fresh report, the share that finds one when warmed.
    """

    name: str
    accounts: int
    weeks: int
    share: float
    effect: float


SCENARIOS = (
    Scenario("no effect, 60 accounts, 8 weeks", 60, 8, 0.1, 0.0),
    Scenario("small effect, 60 accounts, 8 weeks", 60, 8, 0.1, 0.1),
    Scenario("large effect, 60 accounts, 8 weeks", 60, 8, 0.1, 0.7),
    Scenario("no effect, 60 accounts, 26 weeks", 60, 26, 0.1, 0.0),
    Scenario("small effect, 60 accounts, 26 weeks", 60, 26, 0.1, 0.1),
    Scenario("large effect, 60 accounts, 26 weeks", 60, 26, 0.1, 0.7),
    Scenario("large effect, 300 accounts, 8 weeks", 300, 8, 0.05, 0.7),
    Scenario("large effect, 25 accounts, 12 weeks", 25, 12, 0.2, 0.7),
)


@dataclass(frozen=True)
class Planted:
    """Units with one outcome each, and the true gain per call."""

    units: list[ImpactUnit]
    truth: float


def plant(scenario: Scenario, seed: int) -> Planted:
    """Return the units of one simulated installation."""
    rng = np.random.default_rng(seed)
    shape = scenario.accounts, scenario.weeks
    volume = np.exp(rng.normal(3.0, 1.3, scenario.accounts))[:, None] * np.exp(_drifting(rng, *shape, 0.4))
    opens = rng.poisson(np.maximum(volume, 1.0))
    base = rng.beta(2.0, 3.0, scenario.accounts)[:, None]
    logit = np.log(base / (1 - base)) + _drifting(rng, *shape, 0.5)
    share_without = 1 / (1 + np.exp(-logit))
    strength = np.clip(scenario.effect * rng.gamma(8.0, 1 / 8.0, shape), 0.0, 1.0)
    without = rng.binomial(opens, share_without)
    gained = rng.binomial(opens - without, strength)
    calls = rng.poisson(opens * 0.6 + 1.0)
    design = ImpactDesign(1, datetime(2026, 1, 1, tzinfo=UTC), scenario.share, f"seed {seed}")
    units = []
    for account, week in np.ndindex(*shape):
        name, monday = f"act_{account}", FIRST_WEEK + timedelta(days=7 * week)
        is_out = is_held_out(name, monday, design)
        hits = int(without[account, week]) + (0 if is_out else int(gained[account, week]))
        counts = {"first_opens": int(opens[account, week]), "calls": 0 if is_out else int(calls[account, week])}
        units.append(ImpactUnit(account_id=name, week=monday, is_held_out=is_out, first_hits=hits, **counts))
    return Planted(units, float(gained.sum() / calls.sum()))


def _drifting(rng: np.random.Generator, accounts: int, weeks: int, size: float) -> Any:
    """Return a random walk that returns to 0: one common to all accounts, and one of each."""
    noise = rng.normal(0.0, size, (accounts + 1, weeks))
    for week in range(1, weeks):
        noise[:, week] = 0.7 * noise[:, week - 1] + 0.714 * noise[:, week]
    return 0.7 * noise[0] + 0.7 * noise[1:]


def estimate_naively(units: Sequence[ImpactUnit]) -> tuple[float, float]:
    """Return the interval of two pooled shares with a normal approximation, divided by the calls."""
    treated, held = (
        np.array([(u.first_hits, u.first_opens, u.calls) for u in units if u.is_held_out is out]).sum(0)
        for out in (False, True)
    )
    shares = treated[0] / treated[1], held[0] / held[1]
    variance = shares[0] * (1 - shares[0]) / treated[1] + shares[1] * (1 - shares[1]) / held[1]
    scale = treated[1] / treated[2]
    gain, half = (shares[0] - shares[1]) * scale, NORMAL_95 * variance**0.5 * scale
    return gain - half, gain + half


def run_scenario(scenario: Scenario, seeds: int, samples: int = 2000) -> dict[str, Any]:
    """Return how often each interval held the truth, and how wide it was."""
    hits: list[bool] = []
    naive_hits: list[bool] = []
    widths: list[float] = []
    truths: list[float] = []
    errors: list[float] = []
    for seed in range(seeds):
        planted = plant(scenario, seed)
        result = estimate_impact(planted.units, ImpactRules(samples=samples, seed=seed))
        if result.gain_per_call is None or result.low is None or result.high is None:
            continue
        low, high = estimate_naively(planted.units)
        hits.append(result.low <= planted.truth <= result.high)
        naive_hits.append(low <= planted.truth <= high)
        widths.append((result.high - result.low) / 2)
        truths.append(planted.truth)
        errors.append(result.gain_per_call - planted.truth)
    return {
        "what": scenario.name,
        "intervals": len(hits),
        "true gain": float(np.mean(truths)),
        "bias": float(np.mean(errors)),
        "coverage": float(np.mean(hits)),
        "naive coverage": float(np.mean(naive_hits)),
        "half width": float(np.median(widths)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every scenario; fails when an interval holds the truth less often than `LEAST_COVERAGE`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=sized(200, 2))
    seeds = parser.parse_args(arguments).seeds
    rows = [run_scenario(scenario, seeds) for scenario in SCENARIOS]
    save_results("impact", f"Coverage of the 95 % interval over {seeds} seeds", rows, seeds=seeds)
    short = [row["what"] for row in rows if row["coverage"] < LEAST_COVERAGE]
    for name in short:
        print(f"too seldom: {name}", file=sys.stderr)
    return exit_code(not short)


if __name__ == "__main__":
    sys.exit(main())
