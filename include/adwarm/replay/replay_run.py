"""Replays warming policies over an access log: thresholds from the training part, then one pass over the test part.

No open after a decision's cutoff reaches a policy, no open of the test part reaches a threshold, and equal inputs give
equal results. Which part of a log is for training and which is replayed is chosen here too; a log that is too short
gets a message that says what fits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from adwarm.access_log import read_events
from adwarm.access_log.timestamps import to_micros
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.model import FIRST_OPEN_QUIET
from adwarm.patterns.opens import Opens, factorize, keep_human_events, opens_from_frame
from adwarm.patterns.reloads import drop_reloads_of_events
from adwarm.replay import MIN_REPLAY_TEST, MIN_REPLAY_TRAINING, MIN_TRAINING, WEEK
from adwarm.replay.cache_simulation import DAY, EvaluationPeriod, FetchDelays, SimulationCounts, SimulationInputs
from adwarm.replay.deployed_plan import DeployedPlan
from adwarm.replay.drift import MonitoredPolicy
from adwarm.replay.policies import ForecastPolicy, load_policies
from adwarm.replay.policy import EntryLifetime, FixedLifetime, FreshnessLifetime, Policy, ReplayTiming
from adwarm.replay.replay_page import get_headline
from adwarm.replay.results import (
    REFERENCE_POLICIES,
    PolicyResult,
    ProbabilityMetrics,
    compare_policies,
    policy_result,
)
from adwarm.replay.simulate import iter_rankings, learn_thresholds, simulate
from adwarm.settings import Settings

_ONE_DAY = timedelta(days=1)
DEFAULT_TRAINING_WEEKS, DEFAULT_WEEKS = 8, 4
TARGETS = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
THRESHOLD_PERIOD = 14 * DAY
"""The end of the training part, on which thresholds are learned, microseconds."""
_COLUMNS = ("account_id", "date_range", "report", "time_zone")
PolicyProgress = Callable[[str, float], None]
"""Called with a policy's name and the share of its work, 0 to 1, that was just done."""


@dataclass(frozen=True, slots=True)
class TrainTestSplit:
    """Start of training, start of the test, and its end; UTC. Each moment belongs to the part that it begins.

    Raises:
        BadRequest: training is shorter than 14 days, or the test shorter than a day.
    """

    train_from: datetime
    test_from: datetime
    test_to: datetime

    def __post_init__(self) -> None:
        if self.test_from - self.train_from < MIN_REPLAY_TRAINING:
            raise BadRequest("training needs 14 days or more")
        if self.test_to - self.test_from < MIN_REPLAY_TEST:
            raise BadRequest("the scored part is shorter than a day")

    def micros(self) -> tuple[int, int, int]:
        """Return the three moments in microseconds since 1970."""
        return to_micros(utc(self.train_from)), to_micros(utc(self.test_from)), to_micros(utc(self.test_to))


def split_weeks(
    first: datetime, end: datetime, training_weeks: int | None = None, weeks: int | None = None
) -> tuple[TrainTestSplit, str | None]:
    """Return the split of a log, and a note when it is shorter than the default needs.

    Weeks that are asked for must fit. What is not asked for is 8 weeks of training and the 4 after them, or what fits:
    up to a third of the log is replayed, in whole weeks, or else the days after two weeks of training.

    Args:
        training_weeks: weeks to learn from; None: up to 8.
        weeks: weeks to replay; None: up to 4.

    Raises:
        BadRequest: the log is too short; the message says how much it needs, and what would fit.
    """
    span = end - first
    learned, replayed = (training_weeks or DEFAULT_TRAINING_WEEKS) * WEEK, (weeks or DEFAULT_WEEKS) * WEEK
    needed = learned + replayed
    if span < MIN_TRAINING + _ONE_DAY:
        raise BadRequest(
            f"a replay needs 15 days of log, two weeks to learn from and a day to replay; the log holds {_days(span)}: "
            f"wait until it holds more, or name more of its files"
        )
    least = (training_weeks or 2) * WEEK + (weeks * WEEK if weeks else _ONE_DAY)
    if (training_weeks or weeks) and span < least:
        raise BadRequest(
            f"--train-weeks {learned // WEEK} and --weeks {replayed // WEEK} need {_days(needed)}; "
            f"the log holds {_days(span)}: {_offer(span)}"
        )
    if span >= needed:
        return TrainTestSplit(end - needed, end - replayed, end), None
    fitting = weeks * WEEK if weeks else _fitting(span, training_weeks)
    split = TrainTestSplit(max(first, end - fitting - learned), end - fitting, end)
    note = (
        f"the log holds {_days(span)}, and {learned // WEEK} weeks to learn from with {replayed // WEEK} to replay "
        f"need {_days(needed)}: replaying the last {_days(fitting)}, learning from the "
        f"{_days(split.test_from - split.train_from)} before them"
    )
    return split, note


def _fitting(span: timedelta, training_weeks: int | None) -> timedelta:
    """Return how much of a short log is replayed."""
    training = (training_weeks or 2) * WEEK
    whole = min(DEFAULT_WEEKS, max(span // 3 // WEEK, 1), (span - training) // WEEK)
    return whole * WEEK if whole else (span - training) // _ONE_DAY * _ONE_DAY


def _offer(span: timedelta) -> str:
    if span < MIN_TRAINING + WEEK:
        return "leave both out to replay the days that fit"
    weeks = _fitting(span, None) // WEEK
    return f"this fits: --train-weeks {min((span - weeks * WEEK) // WEEK, DEFAULT_TRAINING_WEEKS)} --weeks {weeks}"


def _days(span: timedelta) -> str:
    days = max(span // _ONE_DAY, 0)
    return "1 day" if days == 1 else f"{days} days"


@dataclass(frozen=True)
class ReplayConfig:
    """How a log is replayed.

    Attributes:
        ttl: how long an entry is fresh; None: by class of its date range, as the settings say.
        lag: how long an open takes to become known.
        latency: from a warm's start until its entry can be served.
        fetch: how long a reader waits at a miss.
        targets: multiples of the calls without warming to aim at.
        reference: the policy that the others are compared with; None: the first of `REFERENCE_POLICIES` among them.

    Raises:
        BadRequest: a value is out of range.
    """

    ttl: timedelta | None = timedelta(hours=3)
    step: timedelta = timedelta(minutes=15)
    lag: timedelta = timedelta(minutes=5)
    latency: timedelta = timedelta(seconds=30)
    fetch: timedelta = timedelta(seconds=5)
    targets: Sequence[float] = TARGETS
    reference: str | None = None

    def __post_init__(self) -> None:
        if not timedelta(minutes=1) <= self.step <= timedelta(days=1):
            raise BadRequest("the step must be between a minute and a day")
        if self.ttl is not None and self.ttl <= timedelta(0):
            raise BadRequest("--ttl must be longer than nothing, such as 3h")
        if not self.targets or min(self.targets) < 1:
            raise BadRequest("--at takes multiples of the calls of no warming, 1 or more, such as 1.5,2,3")

    def timing(self, settings: Settings) -> ReplayTiming:
        """Return the timing that policies get."""
        ttl = self.ttl or settings.freshness_rules.today
        return ReplayTiming(_micros(self.step), _micros(self.lag), _micros(self.latency), _micros(ttl))


@dataclass(frozen=True)
class ReplayResult:
    """The result of a replay.

    Attributes:
        document: all figures as JSON values; keys `log`, `rules`, `policies`, `compared` and `headline`.
        warms: policy, ts (UTC, when the fetch starts), account_id, date_range, report, at (the target multiple) and
            confidence (the probability if the policy states one, else its warm value), one row per warm.
    """

    document: dict[str, Any]
    warms: pd.DataFrame


def read_opens(url: str, settings: Settings, split: TrainTestSplit, min_opens: int) -> Opens:
    """Return the human opens of a log, without reloads, from the start of training to the end of the test.

    Args:
        url: file, folder, glob or URL of the log.
        min_opens: keys with fewer opens in training are left out; with 0 all keys stay, also those that first appear
            in the test.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: no key has enough opens.
    """
    start, test, _ = split.micros()
    # The quiet time before the start tells which opens of the first half hour are first opens.
    since = split.train_from - FIRST_OPEN_QUIET
    tables = [
        pa.Table.from_batches([keep_human_events(batch)]).select(["ts", *_COLUMNS])
        for batch in read_events(url, settings, since=since, until=split.test_to)
    ]
    if not tables:
        raise BadRequest(f"the log has no opens between {split.train_from} and {split.test_to}; check the dates")
    frame = drop_reloads_of_events(pa.concat_tables(tables)).to_pandas()
    whole = opens_from_frame(frame, settings.default_zone)
    opens = select_keys(whole, start, test, min_opens)
    if not len(opens.since(test)):
        raise BadRequest(_describe_too_few_opens(whole.since(start), test, min_opens))
    return opens


def _describe_too_few_opens(opens: Opens, test: int, min_opens: int) -> str:
    """Return what the log has instead of a key with `min_opens` opens in training and one after, and what would fit."""
    training = np.bincount(opens.before(test).key, minlength=opens.key_count)
    opened_later = np.bincount(opens.since(test).key, minlength=opens.key_count) > 0
    text = f"no key has {min_opens} opens in training and one after"
    if not opened_later.any():
        return f"{text}: the log has {len(opens):,} opens, and none in the part that is replayed; give more --weeks"
    most = int(training[opened_later].max())
    most_opened = int((opened_later & (training >= most)).sum())
    if not most:
        return f"{text}: those opened later were never opened in training; give fewer --weeks, or use --min-opens 0"
    return f"{text}; the most is {most:,}: --min-opens {most} keeps {most_opened:,} of {opens.key_count:,} keys"


def select_keys(opens: Opens, start: int, test: int, min_opens: int) -> Opens:
    """Return the opens from `start` on of keys with at least `min_opens` opens before `test`, renumbered from 0."""
    opens_in_time = opens.since(start)
    counts = np.bincount(opens_in_time.before(test).key, minlength=opens_in_time.key_count)
    selected = counts[opens_in_time.key] >= min_opens
    ts, old_key, first = opens_in_time.ts[selected], opens_in_time.key[selected], opens_in_time.first[selected]
    keys, at = np.unique(old_key, return_index=True)
    order = np.argsort(at, kind="stable")
    keys, at = keys[order], at[order]
    key = np.full(opens.key_count, -1, np.int32)
    key[keys] = np.arange(len(keys), dtype=np.int32)
    names = {name: getattr(opens, name)[keys] for name in ("account_id", "date_range", "report", "zone")}
    account = factorize(opens.account[keys])
    return replace(opens, ts=ts, key=key[old_key], first=first, account=account, first_ts=ts[at], **names)


def replay(
    opens: Opens,
    split: TrainTestSplit,
    config: ReplayConfig,
    names: Sequence[str | Policy],
    settings: Settings,
    on_progress: PolicyProgress | None = None,
) -> ReplayResult:
    """Replay policies over `opens`.

    Args:
        opens: as `read_opens` returns them.
        settings: freshness rules, and the time zone of keys without one.

    Raises:
        BadRequest: there is no such policy.
    """
    start, test, end = split.micros()
    inputs = _simulation_inputs(opens, config, settings, split)
    periods = (
        EvaluationPeriod(max(test - THRESHOLD_PERIOD, start + (test - start) // 2), test),
        EvaluationPeriod(test, end),
    )
    results, warms = [], []
    for policy in load_policies(names, opens, inputs.lifetime, settings):
        result, counts = _replay_policy(
            policy, inputs, config, periods=periods, settings=settings, on_progress=on_progress or _ignore_progress
        )
        results.append(result)
        warms.append(_warms(policy.name, result, counts, opens))
    document: dict[str, Any] = {
        "log": _log_document(opens, split),
        "rules": _config_document(config),
        "policies": [result.document for result in results],
        "compared": compare_policies(results, (config.reference,) if config.reference else REFERENCE_POLICIES),
    }
    document["headline"] = get_headline(document)
    return ReplayResult(document, pd.concat(warms, ignore_index=True))


def get_lifetime(opens: Opens, config: ReplayConfig, settings: Settings, split: TrainTestSplit) -> EntryLifetime:
    """Return how long entries are fresh in the replay."""
    start, _, end = split.micros()
    if config.ttl is None:
        return FreshnessLifetime(opens, start, end, settings.freshness_rules)
    return FixedLifetime(_micros(config.ttl))


def _simulation_inputs(
    opens: Opens, config: ReplayConfig, settings: Settings, split: TrainTestSplit
) -> SimulationInputs:
    lifetime = get_lifetime(opens, config, settings, split)
    # Without latency fetches are ideal: a miss fills the cache at once, though its reader waits.
    delays = FetchDelays(_micros(config.latency), min(_micros(config.fetch), _micros(config.latency)))
    return SimulationInputs(opens, config.timing(settings), lifetime, delays)


def _replay_policy(
    policy: Policy,
    inputs: SimulationInputs,
    config: ReplayConfig,
    periods: tuple[EvaluationPeriod, EvaluationPeriod],
    settings: Settings,
    on_progress: PolicyProgress,
) -> tuple[PolicyResult, SimulationCounts]:
    """Learn thresholds on the first period, and evaluate the policy with them on the second."""
    threshold_period, test_period = periods
    share = (threshold_period.end - threshold_period.start) / (test_period.end - threshold_period.start)
    thresholds = learn_thresholds(
        policy, inputs, threshold_period, config.targets, lambda done: on_progress(policy.name, done * share)
    )
    opens, timing = inputs.opens, inputs.timing
    rankings = iter_rankings(
        policy, opens, test_period, timing, lambda done: on_progress(policy.name, done * (1 - share))
    )
    metrics = ProbabilityMetrics(policy, opens, timing, test_period.end)
    plan = _observe_plan(policy, inputs, test_period, settings)
    target_columns = np.unique(np.searchsorted(-thresholds.curve, -thresholds.target))
    counts = simulate(inputs, test_period, metrics.observe(rankings), thresholds.curve, target_columns)
    calls = inputs.calls(counts, test_period)
    result = policy_result(
        policy,
        thresholds,
        counts,
        calls=calls,
        fetch_seconds=config.fetch.total_seconds(),
        probability=metrics.compute(),
        as_deployed=plan.finish() if plan else None,
    )
    return result, counts


def _observe_plan(
    policy: Policy, inputs: SimulationInputs, period: EvaluationPeriod, settings: Settings
) -> DeployedPlan | None:
    """Return the simulation of a forecast's deployed plan, fed by the policy's rankings; None for other policies."""
    forecast = policy.wrapped if isinstance(policy, MonitoredPolicy) else policy
    if not isinstance(forecast, ForecastPolicy):
        return None
    plan = DeployedPlan(inputs, period, settings)
    forecast.observer = plan.decide
    return plan


def _warms(name: str, result: PolicyResult, counts: SimulationCounts, opens: Opens) -> pd.DataFrame:
    """Return the warms at each target's threshold."""
    batches = [batch for batch in counts.fetches if batch.is_warm]
    parts = [np.zeros(0, np.int64)] * 3 + [np.zeros(0)]
    if batches:
        names = ("column", "key", "at", "confidence")
        parts = [np.concatenate([getattr(batch, part) for batch in batches]) for part in names]
    column, key, at, confidence = parts
    frames = []
    for target, target_column in result.target_columns:
        rows = np.flatnonzero(column == target_column)
        rows = rows[np.lexsort((key[rows], at[rows]))]
        keys = {name: getattr(opens, name)[key[rows]] for name in ("account_id", "date_range", "report")}
        frame = pd.DataFrame({"policy": name, "ts": pd.to_datetime(at[rows], unit="us", utc=True), **keys})
        frames.append(frame.assign(at=float(target), confidence=confidence[rows]))
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
        "thresholds_learned_on_days": THRESHOLD_PERIOD // DAY,
    }


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _ignore_progress(_name: str, _share: float) -> None:
    return
