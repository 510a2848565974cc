"""Reads the part of a log that is played back: opens by persons, of the keys that are worth scoring."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from adwarm.access_log import read_events
from adwarm.access_log.timestamps import to_micros
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.patterns.opens import FIRST_OPEN_QUIET, Opens, factorize, keep_human_events, opens_from_frame
from adwarm.replay.cache_simulation import FetchDelays, SimulationCounts
from adwarm.replay.entry_lifetimes import EntryLifetime, FixedLifetime, FreshnessLifetime
from adwarm.replay.policies import load_policies
from adwarm.replay.policy import Policy, ReplayTiming
from adwarm.replay.request_count import PlannedRequestCounter
from adwarm.replay.results import REFERENCE_POLICIES, PolicyResult, ProbabilityMetrics, compare_policies, policy_result
from adwarm.replay.simulate import (
    DAY,
    EvaluationPeriod,
    SimulationInputs,
    Thresholds,
    iter_rankings,
    learn_thresholds,
    simulate,
)
from adwarm.settings import Settings

_WORDS = ("account_id", "date_range", "report", "time_zone")


@dataclass(frozen=True, slots=True)
class TrainTestSplit:
    """Where training begins, where scoring begins, and where it ends; UTC, each moment belongs to what follows it."""

    train_from: datetime
    test_from: datetime
    test_to: datetime

    def __post_init__(self) -> None:
        if self.test_from - self.train_from < timedelta(days=14):
            raise BadRequest("training needs 14 days or more; move --train-from back or --test-from on")
        if self.test_to - self.test_from < timedelta(days=1):
            raise BadRequest("the scored part is shorter than a day; move --test-to on")

    def micros(self) -> tuple[int, int, int]:
        """Return the three moments in microseconds since 1970."""
        return to_micros(utc(self.train_from)), to_micros(utc(self.test_from)), to_micros(utc(self.test_to))


def read_opens(url: str, settings: Settings, split: TrainTestSplit, min_opens: int) -> Opens:
    """Return the opens from the start of training to the end of scoring.

    Args:
        min_opens: keys with fewer opens in training are left out; with 0 all keys stay, also those that first appear
            while scoring.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: no key has enough opens.
    """
    start, test, _ = split.micros()
    since = split.train_from - FIRST_OPEN_QUIET
    tables = [
        pa.Table.from_batches([keep_human_events(batch)]).select(["ts", *_WORDS])
        for batch in read_events(url, settings, since=since, until=split.test_to)
    ]
    if not tables:
        raise BadRequest(f"the log has no opens between {split.train_from} and {split.test_to}; check the dates")
    frame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    opens = select_keys(opens_from_frame(frame, settings.default_zone), start, test, min_opens)
    if not len(opens.since(test)):
        raise BadRequest(f"no key has {min_opens} opens in training and one after; lower --min-opens")
    return opens


def select_keys(opens: Opens, start: int, test: int, min_opens: int) -> Opens:
    """Return the opens from `start` on of keys with at least `min_opens` opens before `test`, numbered anew."""
    kept = opens.since(start)
    counts = np.bincount(kept.before(test).key, minlength=kept.key_count)
    good = counts[kept.key] >= min_opens
    ts, old, first = kept.ts[good], kept.key[good], kept.first[good]
    numbers, at = np.unique(old, return_index=True)
    order = np.argsort(at, kind="stable")
    numbers, at = numbers[order], at[order]
    key = np.full(opens.key_count, -1, np.int32)
    key[numbers] = np.arange(len(numbers), dtype=np.int32)
    names = {name: getattr(opens, name)[numbers] for name in ("account_id", "date_range", "report", "zone")}
    account = factorize(opens.account[numbers])
    return replace(opens, ts=ts, key=key[old], first=first, account=account, first_ts=ts[at], **names)


TARGETS = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
THRESHOLD_PERIOD = 14 * DAY
"""The last part of training, on which thresholds are learned."""

PolicyProgress = Callable[[str, float], None]
"""Told the policy's name and which share of its work was just done."""


@dataclass(frozen=True)
class ReplayConfig:
    """How a log is replayed.

    Attributes:
        ttl: how long an entry is fresh; None: by class, as the settings say.
        step: time between two decisions.
        lag: how long an open takes to become known.
        latency: from a warm's start until its entry can be served.
        fetch: how long somebody waits for a miss.
        targets: multiples of the calls of no warming to aim at.
        cost: what a call is: a fetched `key`, or the upstream `requests` of all keys fetched together.
    """

    ttl: timedelta | None = timedelta(hours=3)
    step: timedelta = timedelta(minutes=15)
    lag: timedelta = timedelta(minutes=5)
    latency: timedelta = timedelta(seconds=30)
    fetch: timedelta = timedelta(seconds=5)
    targets: Sequence[float] = TARGETS
    cost: Literal["key", "requests"] = "key"

    def __post_init__(self) -> None:
        if not timedelta(minutes=1) <= self.step <= timedelta(days=1):
            raise BadRequest("--step must be between a minute and a day")
        if self.ttl is not None and self.ttl <= timedelta(0):
            raise BadRequest("--ttl must be longer than nothing, such as 3h")
        if not self.targets or min(self.targets) < 1:
            raise BadRequest("--at takes multiples of the calls of no warming, 1 or more, such as 1.5,2,3")

    def timing(self, settings: Settings) -> ReplayTiming:
        """Return what policies are told."""
        ttl = self.ttl or settings.freshness_rules.today
        return ReplayTiming(_micros(self.step), _micros(self.lag), _micros(self.latency), _micros(ttl))


@dataclass(frozen=True)
class ReplayResult:
    """What a replay found.

    Attributes:
        document: all of it, made of plain values.
        warms: policy, ts (UTC, when the fetch starts), account_id, date_range, report, at (the target multiple) and
            confidence (the probability if the policy states one, else its score), one row per warm.
    """

    document: dict[str, Any]
    warms: pd.DataFrame


def replay(
    opens: Opens,
    split: TrainTestSplit,
    config: ReplayConfig,
    names: Sequence[str | Policy],
    settings: Settings,
    on_progress: PolicyProgress | None = None,
    reference: str | None = None,
) -> ReplayResult:
    """Replay the policies that `names` mean (see `policies`) over `opens`.

    Args:
        ours: the policy that the others are compared with; by default the first of `OURS` that was replayed.

    Raises:
        BadRequest: there is no such policy.
    """
    start, test, end = split.micros()
    world = _simulation_inputs(opens, config, settings, start, end)
    tail, scoring = (
        EvaluationPeriod(max(test - THRESHOLD_PERIOD, start + (test - start) // 2), test),
        EvaluationPeriod(test, end),
    )
    findings, warms = [], []
    for policy in load_policies(names, opens, world.lifetime):
        finding, tally = _replay_policy(policy, world, config, tail, scoring, on_progress or _ignore_progress)
        findings.append(finding)
        warms.append(_warms(policy.name, finding, tally, opens))
    document = {
        "log": _log_document(opens, split),
        "rules": _config_document(config),
        "policies": [finding.document for finding in findings],
        "compared": compare_policies(findings, (reference,) if reference else REFERENCE_POLICIES),
    }
    return ReplayResult(document, pd.concat(warms, ignore_index=True))


def _simulation_inputs(
    opens: Opens, config: ReplayConfig, settings: Settings, start: int, end: int
) -> SimulationInputs:
    freshness = settings.freshness_rules
    life: EntryLifetime = (
        FreshnessLifetime(opens, start, end, freshness) if config.ttl is None else FixedLifetime(_micros(config.ttl))
    )
    # A replay without latency is one of ideal fetches: a miss fills the cache at once, though it is waited for.
    delays = FetchDelays(_micros(config.latency), min(_micros(config.fetch), _micros(config.latency)))
    counter = PlannedRequestCounter(opens, freshness) if config.cost == "requests" else None
    return SimulationInputs(opens, config.timing(settings), life, delays, counter)


def _replay_policy(
    policy: Policy,
    inputs: SimulationInputs,
    config: ReplayConfig,
    tail: EvaluationPeriod,
    scoring: EvaluationPeriod,
    on_progress: PolicyProgress,
) -> tuple[PolicyResult, SimulationCounts]:
    share = (tail.end - tail.start) / (scoring.end - tail.start)
    learned = learn_thresholds(
        policy, inputs, tail, config.targets, lambda done: on_progress(policy.name, done * share)
    )
    opens = inputs.opens
    policy_said = iter_rankings(
        policy, opens, scoring, inputs.timing, lambda done: on_progress(policy.name, done * (1 - share))
    )
    # The claim is read after the first fit, which happens when the first decision is asked for.
    quality = DeferredMetrics(policy, opens, inputs.timing, scoring.end)
    tally = simulate(inputs, scoring, quality.observe(policy_said), learned.curve, _columns(learned))
    calls = inputs.calls(tally, scoring)
    finding = policy_result(
        policy, learned, tally, calls, config.targets, config.fetch.total_seconds(), quality.compute()
    )
    return finding, tally


class DeferredMetrics:
    """Makes the `Quality` once the policy's claim is known."""

    def __init__(self, policy: Policy, opens: Opens, timing: ReplayTiming, end: int) -> None:
        self._policy, self._opens, self._terms, self._end = policy, opens, timing, end
        self._quality: ProbabilityMetrics | None = None

    def observe(self, rankings: Iterable[tuple[int, Any]]) -> Iterable[tuple[int, Any]]:
        """Pass decisions on, and count their probabilities."""
        for item in rankings:
            claim = self._policy.predicted_event
            if claim is not None:
                self._quality = self._quality or ProbabilityMetrics(self._opens, claim, self._terms, self._end)
                self._quality.update(*item)
            yield item

    def compute(self) -> dict[str, Any] | None:
        """Return the figures, if there are any."""
        return self._quality.compute() if self._quality else None


def _columns(learned: Thresholds) -> Any:
    return np.unique(np.searchsorted(-learned.curve, -learned.target))


def _warms(name: str, finding: PolicyResult, tally: SimulationCounts, opens: Opens) -> pd.DataFrame:
    """Return the warms of each target's threshold."""
    batches = [batch for batch in tally.fetches if batch.is_warm]
    parts = [np.zeros(0, np.int64)] * 3 + [np.zeros(0)]
    if batches:
        names = ("column", "key", "at", "confidence")
        parts = [np.concatenate([getattr(batch, part) for batch in batches]) for part in names]
    column, key, at, confidence = parts
    frames = []
    for target, place in finding.target_columns:
        mine = np.flatnonzero(column == place)
        mine = mine[np.lexsort((key[mine], at[mine]))]
        words = {n: getattr(opens, n)[key[mine]] for n in ("account_id", "date_range", "report")}
        frame = pd.DataFrame({"policy": name, "ts": pd.to_datetime(at[mine], unit="us", utc=True), **words})
        frames.append(frame.assign(at=float(target), confidence=confidence[mine]))
    return pd.concat(frames, ignore_index=True)


def _log_document(opens: Opens, split: TrainTestSplit) -> dict[str, Any]:
    _, test, end = split.micros()
    scored_opens = opens.since(test).before(end)
    return {
        "keys": opens.key_count,
        "accounts": len(np.unique(opens.account)),
        "train_from": split.train_from.isoformat(),
        "test_from": split.test_from.isoformat(),
        "test_to": split.test_to.isoformat(),
        "training_opens": len(opens.before(test)),
        "scored_opens": len(scored_opens),
        "scored_first_opens": int(scored_opens.first.sum()),
    }


def _config_document(config: ReplayConfig) -> dict[str, Any]:
    spans = {name: getattr(config, name).total_seconds() for name in ("step", "lag", "latency", "fetch")}
    return {
        **{f"{name}_seconds": value for name, value in spans.items()},
        "ttl_seconds": "class" if config.ttl is None else config.ttl.total_seconds(),
        "targets": list(config.targets),
        "cost": config.cost,
        "thresholds_learned_on_days": THRESHOLD_PERIOD // DAY,
    }


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _ignore_progress(_name: str, _share: float) -> None:
    return
