"""Reviews the live policy: replays the last weeks, evaluates the policies, and writes the pages; applies the decision.

A review changes what is live in one case only: when the live kind's probabilities are off, the population profile
replaces it at once. A better kind is trained and proposed; `promote` makes it live after a human approved. Each change
is one transaction, and repeating it changes nothing.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, Engine

from adwarm.access_log.timestamps import to_micros
from adwarm.forecast.protocol import data_cutoff_at, find_unseen
from adwarm.forecast.snapshot import StoredForecasts
from adwarm.forecast.training.train import train_candidates
from adwarm.foundation.clock import floor_to, utc
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.foundation.wording import format_count, format_duration
from adwarm.model import FIRST_OPEN_QUIET, PolicyReview, Snapshot
from adwarm.patterns.open_history import load_opens
from adwarm.patterns.opens import Opens
from adwarm.replay import MIN_REPLAY_TEST, MIN_TRAINING, WEEK
from adwarm.replay.drift import MonitoredPolicy, measure_drift
from adwarm.replay.policies import ForecastPolicy
from adwarm.replay.policy import Policy
from adwarm.replay.replay_page import render_page
from adwarm.replay.replay_run import ReplayConfig, TrainTestSplit, get_lifetime, replay
from adwarm.replay.review_rules import (
    MAX_ECE,
    MIN_CASES,
    POLICY_BY_KIND,
    PolicyEvaluation,
    ReviewResult,
    evaluate_policies,
)
from adwarm.settings import Settings
from adwarm.store import Context, aggregates, read_transaction, write_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.snapshots import (
    find_deployed_snapshot,
    find_review,
    get_live_snapshot,
    record_choice,
    save_decision,
    save_review,
    set_policy,
)

HOUR = timedelta(hours=1)
TARGETS = (1.5, 2.0, 3.0)
MAX_KEYS = 5_000
"""A larger log is sampled by whole accounts: the replay then takes minutes, and the interval is narrow enough."""
REVIEW_ACTOR = "adwarm_policy_review"
"""Who chose a kind that no human chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewScope:
    """What a review replays.

    Attributes:
        training_weeks: weeks before the scored ones, at most: two months of habits.
        scored_weeks: weeks at the end of the log, at most: one alone may hold a holiday.
        policies: policies to replay beside the live kind; only forecasts can be proposed.
    """

    training_weeks: int = 8
    scored_weeks: int = 2
    policies: tuple[str, ...] = tuple(POLICY_BY_KIND.values())


EVERY_KIND = ReviewScope()


@dataclass(frozen=True)
class _ReviewDraft:
    """A review before it is stored."""

    result: ReviewResult
    reason: str
    live_kind: str | None = None
    evaluation: PolicyEvaluation | None = None
    document: dict[str, Any] | None = None


def review_policies(
    context: Context, now: datetime, run_id: str, *, apply_result: bool = True, scope: ReviewScope = EVERY_KIND
) -> PolicyReview:
    """Review the live policy as of `now`, and return the stored review; the review of a run is made only once.

    Args:
        apply_result: whether to fall back and to propose; if not, the review only reports what it would have done.

    Raises:
        BadRequest: a policy does not exist.
    """
    now = utc(now)
    with read_transaction(context.engine) as connection:
        if review := find_review(connection, run_id):
            return review
    draft = _draft_review(context, now, scope)
    if not apply_result and draft.evaluation is not None:
        draft = replace(draft, result=ReviewResult.REPORTED)
    page = None if draft.document is None else _write_pages(PageFolder(context.settings.data), draft.document, now)
    snapshot = _train_new_kind(context, draft, now) if apply_result else None
    review = _to_review(draft, run_id, now, page, snapshot)
    with write_transaction(context.engine) as connection:
        if snapshot is not None and draft.result is ReviewResult.FELL_BACK:
            fall_back(connection, snapshot, reason=draft.reason, at=now)
        save_review(connection, review)
    return review


def review_log(
    opens: Opens,
    split: TrainTestSplit,
    live_kind: str,
    settings: Settings,
    *,
    stored: StoredForecasts | None = None,
    scope: ReviewScope = EVERY_KIND,
) -> tuple[PolicyEvaluation, dict[str, Any]]:
    """Replay the live kind and the other policies over `opens`; return the evaluation and the page's document.

    The document is that of a replay with the key `review`.

    Args:
        live_kind: the kind of forecast that is live.
        stored: the stored forecasts, which are replayed as they are; without them each kind is trained in the replay.
        scope: the policies, and how many weeks were to be scored.
    """
    start, test, end = split.micros()
    live = POLICY_BY_KIND[live_kind]
    config = ReplayConfig(ttl=None, step=settings.step, targets=TARGETS, reference=live)
    lifetime = get_lifetime(opens, config, settings, split)
    forecasts = {name: ForecastPolicy(kind, settings, lifetime, stored=stored) for kind, name in POLICY_BY_KIND.items()}
    monitored = MonitoredPolicy(forecasts[live], opens, test, end)
    names: list[str | Policy] = [
        monitored,
        *(forecasts.get(name, name) for name in scope.policies if name != live),
    ]
    document = replay(opens, split, config, names, settings).document
    evaluation = evaluate_policies(document, live_kind)
    document["review"] = {
        "verdict": str(evaluation.result),
        "why": evaluation.reason,
        "live_kind": live_kind,
        "source": _describe_source(split, live_kind, settings, scope, stored),
        "proposed_kind": evaluation.new_kind,
        "max_ece": MAX_ECE,
        "min_cases": MIN_CASES,
        "figures": evaluation.figures,
        "drift": measure_drift(opens, start, test, end, monitored),
    }
    return evaluation, document


def _describe_source(
    split: TrainTestSplit, kind: str, settings: Settings, scope: ReviewScope, stored: StoredForecasts | None
) -> str:
    """Return what was replayed, and which of the weeks to score were left out."""
    if stored is None:
        return f"{kind} was trained as of {split.test_from:%Y-%m-%d}, and anew each week after it"
    used = [until for used_kind, until in stored.used.values() if used_kind == kind]
    first = max(until for until in used if until <= data_cutoff_at(split.test_from, settings))
    replayed = sorted(until for until in used if until >= first)
    text = (
        f"{format_count(len(replayed), 'snapshot')} of {kind} as stored, trained until {replayed[0]:%Y-%m-%d %H:%M} to "
        f"{replayed[-1]:%Y-%m-%d %H:%M} UTC, replayed on the days after"
    )
    left_out = split.test_from - (split.test_to - scope.scored_weeks * WEEK)
    if left_out <= timedelta(0):
        return text
    return (
        f"{text}; {format_duration(left_out.total_seconds())} before {split.test_from:%Y-%m-%d %H:%M} UTC were left "
        f"out, because each stored snapshot has seen them"
    )


def leave_out_seen(split: TrainTestSplit, oldest: Snapshot, settings: Settings) -> TrainTestSplit:
    """Return the split without the replayed time that the oldest stored snapshot of the live kind has seen.

    Raises:
        BadRequest: less than a day is left.
    """
    unseen_from = find_unseen(oldest.trained_until, settings)
    if split.test_to - unseen_from < MIN_REPLAY_TEST:
        raise BadRequest(
            f"the stored snapshots of {oldest.kind} have seen the log until {oldest.trained_until:%Y-%m-%d %H:%M} UTC; "
            f"a review scores them on a day or more after it, so the next is possible from "
            f"{unseen_from + MIN_REPLAY_TEST:%Y-%m-%d %H:%M} UTC on; adwarm replay replays kinds that it trains itself"
        )
    return replace(split, test_from=max(split.test_from, unseen_from))


def choose_split(first: datetime, until: datetime, scope: ReviewScope) -> TrainTestSplit:
    """Return which weeks of a log from `first` to `until` are for training, and which for the test.

    Raises:
        BadRequest: the log is too short.
    """
    weeks = min(scope.scored_weeks, (until - first - MIN_TRAINING) // WEEK)
    if weeks < 1:
        raise BadRequest(
            f"the log that was read covers {max((until - first).days, 0)} days; a review needs "
            f"{(MIN_TRAINING + WEEK).days}, two weeks to learn from and one to score; until then adwarm replay replays "
            f"the days that fit, from {(MIN_TRAINING + timedelta(days=1)).days} on"
        )
    test = until - weeks * WEEK
    return TrainTestSplit(max(first, test - scope.training_weeks * WEEK), test, until)


def sample_accounts(opens: Opens, max_keys: int) -> Opens:
    """Return the opens of whole accounts, drawn by a hash of their ids: at most `max_keys` keys, or one account."""
    if opens.key_count <= max_keys:
        return opens
    _, first_key, account = np.unique(opens.account, return_index=True, return_inverse=True)
    digests = [hashlib.sha256(str(opens.account_id[key]).encode()).hexdigest() for key in first_key]
    order = np.argsort(np.array(digests))
    fitting = np.cumsum(np.bincount(account)[order]) <= max_keys
    sampled = order[: max(int(fitting.sum()), 1)]
    return opens.select_keys(np.flatnonzero(np.isin(account, sampled)))


def _draft_review(context: Context, now: datetime, scope: ReviewScope) -> _ReviewDraft:
    try:
        live, stored = get_live_snapshot(context.engine), StoredForecasts(context)
        oldest = stored.get_oldest(live.kind)
    except NotFound as error:
        return _ReviewDraft(ReviewResult.NOTHING_LIVE, str(error))
    with read_transaction(context.engine) as connection:
        hours = aggregates.list_hours(connection)
        until = floor_to(min(now, aggregates.get_watermark(connection) or now), HOUR)
    hours = [row for row in hours if row.hour < until]
    end = min(until, hours[-1].hour + HOUR) if hours else until
    try:
        split = choose_split(hours[0].hour if hours else end, end, scope)
        split = leave_out_seen(split, oldest, context.settings)
    except BadRequest as error:
        return _ReviewDraft(ReviewResult.TOO_LITTLE_LOG, str(error), live.kind)
    opens = _load_opens(context, split)
    evaluation, document = review_log(opens, split, live.kind, context.settings, stored=stored, scope=scope)
    return _ReviewDraft(evaluation.result, evaluation.reason, live.kind, evaluation, document)


def _load_opens(context: Context, split: TrainTestSplit) -> Opens:
    since = split.train_from - FIRST_OPEN_QUIET
    opens = load_opens(context, since, split.test_to)
    opens = opens.since(to_micros(split.train_from))
    return sample_accounts(opens.select_keys(opens.opened_keys()), MAX_KEYS)


def _train_new_kind(context: Context, draft: _ReviewDraft, now: datetime) -> Snapshot | None:
    """Train and store the forecast to fall back to or to propose; it is not live yet."""
    if draft.evaluation is None or draft.evaluation.new_kind is None:
        return None
    kind = draft.evaluation.new_kind
    settings = context.settings
    only = settings.model_copy(update={"forecast": settings.forecast.model_copy(update={"model": kind})})
    with read_transaction(context.engine) as connection:
        until = min(now, aggregates.get_watermark(connection) or now)
    return train_candidates(replace(context, settings=only), until, now).snapshots[kind]


def _write_pages(folder: PageFolder, document: dict[str, Any], now: datetime) -> str:
    """Write the document as JSON and as HTML; return path or URL of the HTML page."""
    name = f"review-{now:%Y%m%dt%H%M%Sz}"
    folder.write(f"{name}.json", orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return folder.write(f"{name}.html", render_page(document).encode())


def _to_review(
    draft: _ReviewDraft, run_id: str, now: datetime, page: str | None, snapshot: Snapshot | None
) -> PolicyReview:
    figures: dict[str, Any] = {"why": draft.reason}
    if draft.document is not None:
        review = draft.document["review"]
        drifted = {name: review["drift"][name] for name in ("stability", "accounts", "judged", "moved")}
        figures |= {"policies": review["figures"], "drift": drifted, "log": draft.document["log"]}
        figures |= {"headline": draft.document["headline"], "source": review["source"]}
    proposed = snapshot if draft.result is ReviewResult.PROPOSED else None
    return PolicyReview(
        run_id=run_id,
        at=now,
        result=str(draft.result),
        live_kind=draft.live_kind,
        proposed_kind=proposed.kind if proposed else None,
        proposed_snapshot=proposed.id if proposed else None,
        page=page,
        figures=figures,
    )


def fall_back(connection: Connection, snapshot: Snapshot, *, reason: str, at: datetime) -> None:
    """Make the fallback live; training keeps its kind until somebody approves another."""
    _set_live(connection, snapshot.id, snapshot.kind, by=REVIEW_ACTOR, reason=reason, at=at)


def promote(engine: Engine, run_id: str, *, by: str, at: datetime) -> PolicyReview:
    """Make the forecast that a review proposed live, and return the review; repeating it changes nothing.

    Raises:
        NotFound: there is no such review.
        BadRequest: it proposed nothing, was rejected, or another kind has gone live since.
    """
    with write_transaction(engine) as connection:
        review = _get_review(connection, run_id)
        if review.result == ReviewResult.PROMOTED:
            return review
        if review.result != ReviewResult.PROPOSED:
            raise BadRequest(f"review {run_id} has nothing to promote: it is {review.result}")
        if (live := _live_kind(connection)) != review.live_kind:
            raise BadRequest(f"{live} has gone live since review {run_id} was made; wait for the next review")
        kind, snapshot_id = str(review.proposed_kind), str(review.proposed_snapshot)
        _set_live(connection, snapshot_id, kind, by=by, reason=str(review.figures["why"]), at=utc(at))
        save_decision(connection, run_id, ReviewResult.PROMOTED, by=by, at=utc(at))
        return _get_review(connection, run_id)


def reject(engine: Engine, run_id: str, *, by: str, at: datetime) -> PolicyReview:
    """Record that a proposal was not approved, and return the review; a review that is decided does not change.

    Raises:
        NotFound: there is no such review.
    """
    with write_transaction(engine) as connection:
        if _get_review(connection, run_id).result == ReviewResult.PROPOSED:
            save_decision(connection, run_id, ReviewResult.REJECTED, by=by, at=utc(at))
        return _get_review(connection, run_id)


def _set_live(connection: Connection, snapshot_id: str, kind: str, *, by: str, reason: str, at: datetime) -> None:
    set_policy(connection, snapshot_id, at)
    record_choice(connection, kind, by=by, why=reason, at=at)


def _get_review(connection: Connection, run_id: str) -> PolicyReview:
    review = find_review(connection, run_id)
    if review is None:
        raise NotFound(f"there is no review of the run {run_id!r}; run the DAG adwarm_policy_review")
    return review


def _live_kind(connection: Connection) -> str | None:
    snapshot = find_deployed_snapshot(connection)
    return None if snapshot is None else snapshot.kind
