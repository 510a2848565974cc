"""Simulated parts of the fatigue benchmark: detectors against each other, calibration, and decoys."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from tests.benchmarks.fatigue_ads import DECOYS, SimulationSettings, permute_days, simulate_ads
from tests.benchmarks.fatigue_detectors import (
    CUSUM_GRID,
    CusumSettings,
    Detector,
    Runner,
    bayesian_change_point,
    cusum,
    glr,
)
from tests.benchmarks.fatigue_metrics import (
    MONTH,
    AlarmMetrics,
    alarms_at_rate,
    alarms_at_recall,
    matched_auc,
    measure_alarms,
    measure_delays,
    recall_interval,
)
from tests.benchmarks.fatigue_oracle import oracle
from tests.benchmarks.fatigue_product import alarm_detector, score_totals
from tests.benchmarks.fatigue_rules import ctr_rule, drop_rule, frequency_rule, score_rule
from tests.benchmarks.fatigue_signals import AdSeries, from_simulation

ALARM: Final = "adwarm alarm"
ALARM_UNLIMITED: Final = "adwarm alarm at 1/180"
BEST_CUSUM: Final = "best CUSUM"
ORACLE: Final = "oracle"
ORACLE_MEASURED: Final = "oracle at 1/180"

SCORE_LIMIT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Simulated ads to compare detectors on.

    Attributes:
        name: in tables.
        simulation: what is simulated.
        cusum: the tuning of CUSUM with the fewest false alarms there, chosen on development seeds by `--tune`.
    """

    name: str
    simulation: SimulationSettings
    cusum: CusumSettings


SCENARIOS: Final = (
    Scenario("exponent -0.20", SimulationSettings(), CusumSettings("log", 0.5)),
    Scenario("exponent -0.20, half the growth", SimulationSettings(growth=(0.2, 0.4)), CusumSettings("log", 0.5)),
    Scenario("exponent -0.43", SimulationSettings(exponent=-0.43), CusumSettings("count", 0.5)),
)


def list_detectors(scenario: Scenario) -> list[Detector]:
    """Return all detectors that a scenario compares."""
    return [
        drop_rule(),
        ctr_rule(),
        frequency_rule(),
        score_rule("adwarm score", score_totals, SCORE_LIMIT),
        score_rule("score, no frequency", _score_without_frequency, SCORE_LIMIT),
        cusum(CusumSettings("log", 0.5, "first"), "CUSUM, first 3 weeks"),
        cusum(scenario.cusum, BEST_CUSUM),
        cusum(replace(scenario.cusum, noise_sd=scenario.simulation.noise_sd), "best CUSUM, known noise"),
        glr(),
        bayesian_change_point(),
        alarm_detector(ALARM),
        replace(alarm_detector(ALARM_UNLIMITED, limited=False), nominal=None),
        oracle("maximum"),
        replace(oracle("sum"), name=ORACLE),
        replace(oracle("sum"), name=ORACLE_MEASURED, nominal=None),
    ]


def _score_without_frequency(series: AdSeries) -> Any:
    return score_totals(replace(series, frequency=np.full_like(series.frequency, np.nan)))


def simulate(simulation: SimulationSettings, seed: int) -> AdSeries:
    """Return simulated ads as a series."""
    return from_simulation(simulate_ads(seed, simulation))


def compare(scenario: Scenario, seed: int, ads: int) -> list[dict[str, Any]]:
    """Return a row per detector: at the threshold in use, and at a recall of .8 within 14 days of the onset.

    A detector without a threshold in use takes the one at which false alarms come once in 180 ad-days here.
    """
    series = simulate(replace(scenario.simulation, ads=ads), seed)
    groups = np.array(series.panel.account_ids)
    return [_compare_one(detector, series, groups) for detector in list_detectors(scenario)]


def _compare_one(detector: Detector, series: AdSeries, groups: np.ndarray) -> dict[str, Any]:
    run = detector.start(series)
    if detector.nominal is None:
        threshold, metrics = alarms_at_rate(detector, run, series.onset, groups)
    else:
        threshold, metrics = detector.nominal, measure_alarms(run(detector.nominal).alarms, series.onset, groups)
    row = {"what": detector.name, "threshold": threshold, **describe(metrics)}
    if detector.name != ALARM:  # its limit per account does not move with the threshold
        _, at_recall = alarms_at_recall(detector, run, series.onset, groups)
        row |= _describe_at_recall(at_recall)
    row["ROC-AUC"] = matched_auc(run(math.inf).statistic, series.onset)
    row["threshold is"] = "measured" if detector.nominal is None else "in use"
    return row


def describe(metrics: AlarmMetrics) -> dict[str, Any]:
    """Return the cells of a table for metrics at one threshold."""
    return {
        "recall 7": metrics.recall_7,
        "recall 14": metrics.recall_14,
        "delay": metrics.median_delay,
        "false/180": metrics.false_alarms.per_run_length,
        "95 %": f"{metrics.false_alarms.low:.2f}-{metrics.false_alarms.high:.2f}",
        "false/month": metrics.false_alarms.per_month,
        "precision": metrics.precision,
    }


def _describe_at_recall(metrics: AlarmMetrics) -> dict[str, Any]:
    is_reached = metrics.recall_14 >= 0.79
    return {
        "false/month at .8": metrics.false_alarms.per_month if is_reached else None,
        "false at .8": metrics.false_alarms.alarms if is_reached else None,
    }


def tune_cusum(scenario: Scenario, seed: int, ads: int) -> list[dict[str, Any]]:
    """Return a row per tuning of CUSUM, the one with the fewest false alarms at recall .8 first."""
    series = simulate(replace(scenario.simulation, ads=ads), seed)
    groups = np.array(series.panel.account_ids)
    rows = []
    for settings in CUSUM_GRID:
        detector = cusum(settings)
        run = detector.start(series)
        _, at_recall = alarms_at_recall(detector, run, series.onset, groups)
        _, at_rate = alarms_at_rate(detector, run, series.onset, groups)
        rows.append({
            "what": str(settings),
            "false/month at .8": at_recall.false_alarms.per_month,
            "recall 14 at 1/180": at_rate.recall_14,
            "delay": at_rate.median_delay,
        })  # fmt: skip
    return sorted(rows, key=lambda row: (row["false/month at .8"], -row["recall 14 at 1/180"], row["delay"]))


def calibrate(seed: int, ads: int) -> list[dict[str, Any]]:
    """Return how the alarm holds its promise as the world changes: on half fatigued ads, and on healthy ones."""
    base = SimulationSettings(ads=ads)
    cases = {
        "as above": base,
        "noise .06": replace(base, noise_sd=0.06),
        "noise .166": replace(base, noise_sd=0.166),
        "exponent -0.43": replace(base, exponent=-0.43),
        "exponent -0.43, noise .06": replace(base, exponent=-0.43, noise_sd=0.06),
        "no market moves": replace(base, market_sd=0.0),
        "market moves .10": replace(base, market_sd=0.10),
        "1 ad per account": replace(base, ads_per_account=1),
        "5 ads per account": replace(base, ads_per_account=5),
        "100 ads per account": replace(base, ads_per_account=100),
    }
    return [_calibrate_one(name, simulation, seed) for name, simulation in cases.items()]


def _calibrate_one(name: str, simulation: SimulationSettings, seed: int) -> dict[str, Any]:
    detector = alarm_detector()
    threshold = detector.nominal or 0.0
    series = simulate(simulation, seed)
    groups = np.array(series.panel.account_ids)
    alarms = detector.start(series)(threshold).alarms
    metrics = measure_alarms(alarms, series.onset, groups)
    low, high = recall_interval(measure_delays(alarms, series.onset) <= 14, groups[series.onset >= 0])
    healthy = measure_healthy(simulation, seed + 1)
    return {
        "what": name,
        "recall 14": metrics.recall_14,
        "95 %": f"{low:.3f}-{high:.3f}",
        "delay": metrics.median_delay,
        "false/180": metrics.false_alarms.per_run_length,
        "healthy false/180": healthy.per_run_length,
        "healthy 95 %": f"{healthy.low:.2f}-{healthy.high:.2f}",
    }


def measure_healthy(simulation: SimulationSettings, seed: int, permute: bool = False) -> Any:
    """Return the rate of false alarms on healthy ads alone; `permute` puts the days of each ad in random order."""
    series = simulate(replace(simulation, fatigued=0.0), seed)
    if permute:
        series = replace(series, panel=permute_days(series.panel, seed))
    detector = alarm_detector()
    alarms = detector.start(series)(detector.nominal or 0.0).alarms
    return measure_alarms(alarms, series.onset, np.array(series.panel.account_ids)).false_alarms


def measure_decoys(seed: int, ads: int, kinds: Sequence[str] = DECOYS) -> list[dict[str, Any]]:
    """Return a row per decoy and detector: half of the ads fatigued, every other one with the decoy."""
    return [row for kind in kinds for row in _measure_decoy(kind, seed, ads)]


def _measure_decoy(kind: str, seed: int, ads: int) -> Iterable[dict[str, Any]]:
    series = simulate(SimulationSettings(ads=ads, decoy=kind), seed)
    groups = np.array(series.panel.account_ids)
    healthy = series.onset < 0
    for detector in (
        drop_rule(),
        score_rule("adwarm score", score_totals, SCORE_LIMIT),
        cusum(SCENARIOS[0].cusum, BEST_CUSUM),
        alarm_detector(ALARM),
    ):
        run = detector.start(series)
        threshold = detector.nominal
        if threshold is None:
            threshold = _usual_threshold(detector, seed, ads)
        alarms = run(threshold).alarms
        metrics = measure_alarms(alarms, series.onset, groups)
        yield {
            "what": f"{kind}: {detector.name}",
            "precision": metrics.precision,
            "recall 14": metrics.recall_14,
            "alarmed decoys": float(alarms[healthy].any(axis=1).mean()),
            "false/month": MONTH * metrics.false_alarms.alarms / max(metrics.false_alarms.ad_days, 1),
        }


def _usual_threshold(detector: Detector, seed: int, ads: int) -> float:
    """Return the threshold of one false alarm in 180 ad-days without decoys."""
    series = simulate(SimulationSettings(ads=ads), seed)
    run: Runner = detector.start(series)
    threshold, _ = alarms_at_rate(detector, run, series.onset, np.array(series.panel.account_ids))
    return threshold


def compare_all(seed: int, ads: int) -> list[Any]:
    """Return calls that compare the detectors on each scenario, to be run in any order and process."""
    return [partial(compare, scenario, seed + number, ads) for number, scenario in enumerate(SCENARIOS)]
