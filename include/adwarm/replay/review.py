"""Reviews the live policy: replays the last weeks, judges it, and writes the report.

It changes what is live in one case only: when the live kind's probabilities are off, the population profile takes over
at once. A better kind is trained and proposed; `adwarm.replay.promotion` makes it live when somebody has approved.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Engine

from adwarm.access_log.timestamps import to_micros
from adwarm.forecast.snapshot import get_live_snapshot
from adwarm.forecast.training.train import train_candidates
from adwarm.foundation.clock import floor_to, utc
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import PolicyReview, Snapshot
from adwarm.patterns.open_history import load_opens
from adwarm.patterns.opens import FIRST_OPEN_QUIET, Opens
from adwarm.replay.drift import MonitoredPolicy, measure_drift
from adwarm.replay.entry_lifetimes import FixedLifetime
from adwarm.replay.policies import load_policies
from adwarm.replay.policy import Policy
from adwarm.replay.promotion import fall_back
from adwarm.replay.replay_log import TrainTestSplit
from adwarm.replay.replay_page import render_page
from adwarm.replay.review_rules import POLICY_BY_KIND, PolicyEvaluation, ReviewResult, evaluate_policies
from adwarm.replay.run import ReplayConfig, replay
from adwarm.settings import ReviewSettings, Settings
from adwarm.store import ObjectStore, aggregates, read_transaction, write_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.reviews import find_review, save_review

WEEK, HOUR = timedelta(weeks=1), timedelta(hours=1)
MIN_TRAINING = 2 * WEEK
TARGETS = (1.5, 2.0, 3.0)


@dataclass(frozen=True)
class _ReviewDraft:
    """A review before it is stored."""

    verdict: ReviewResult
    why: str
    live_kind: str | None = None
    evaluation: PolicyEvaluation | None = None
    document: dict[str, Any] | None = None


def review_policies(
    engine: Engine, objects: ObjectStore, settings: Settings, now: datetime, run_id: str, *, apply_result: bool = True
) -> PolicyReview:
    """Review the live policy as of `now`, and return the review.

    The review of a run is made once: asked again, its row comes back.

    Args:
        act: whether to fall back and to propose; without it the review only reports, in words what it would have done.

    Raises:
        BadRequest: there is no such policy.
    """
    now = utc(now)
    with read_transaction(engine) as connection:
        if found := find_review(connection, run_id):
            return found
    made = _draft_review(engine, objects, settings, now)
    if not apply_result and made.evaluation is not None:
        made = replace(made, verdict=ReviewResult.REPORTED)
    report = None if made.document is None else _write_pages(PageFolder(settings.data), made.document, now)
    chosen = _train_new_kind(engine, objects, settings, made, now) if apply_result else None
    review = _to_review(made, run_id, now, report, chosen)
    with write_transaction(engine) as connection:
        if chosen is not None and made.verdict is ReviewResult.FELL_BACK:
            fall_back(connection, chosen, reason=made.why, at=now)
        save_review(connection, review)
    return review


def review_log(
    opens: Opens, split: TrainTestSplit, live_kind: str, settings: Settings
) -> tuple[PolicyEvaluation, dict[str, Any]]:
    """Replay the live kind's policy and the others over `opens`; return the judgement and the report's document."""
    rules, (start, test, end) = settings.review, split.micros()
    live = POLICY_BY_KIND[live_kind]
    watched = MonitoredPolicy(load_policies([live], opens, FixedLifetime(0))[0], opens, test, end)
    names: list[str | Policy] = [watched, *(name for name in rules.policies if name != live)]
    terms = ReplayConfig(ttl=None, step=settings.step, targets=TARGETS)
    document = replay(opens, split, terms, names, settings, reference=live).document
    judgement = evaluate_policies(document, live_kind, rules)
    document["review"] = {
        "verdict": str(judgement.result),
        "why": judgement.reason,
        "live_kind": live_kind,
        "proposed_kind": judgement.new_kind,
        "max_ece": rules.max_ece,
        "min_cases": rules.min_cases,
        "figures": judgement.figures,
        "drift": measure_drift(opens, start, test, end, watched),
    }
    return judgement, document


def choose_split(first: datetime, until: datetime, rules: ReviewSettings) -> TrainTestSplit:
    """Return which weeks of a log from `first` to `until` are learned from, and which are scored.

    Raises:
        BadRequest: the log is too short.
    """
    weeks = min(rules.scored_weeks, (until - first - MIN_TRAINING) // WEEK)
    if weeks < 1:
        raise BadRequest(
            f"the log that was read covers {max((until - first).days, 0)} days; a review needs "
            f"{(MIN_TRAINING + WEEK).days}, two weeks to learn from and one to score"
        )
    test = until - weeks * WEEK
    return TrainTestSplit(max(first, test - rules.training_weeks * WEEK), test, until)


def sample_accounts(opens: Opens, max_keys: int) -> Opens:
    """Return the opens of at most `most` keys, or of one account's: whole accounts, drawn without looking at them."""
    if opens.key_count <= max_keys:
        return opens
    _, at, account = np.unique(opens.account, return_index=True, return_inverse=True)
    drawn = [hashlib.sha256(str(opens.account_id[place]).encode()).hexdigest() for place in at]
    order = np.argsort(np.array(drawn))
    fitting = np.cumsum(np.bincount(account)[order]) <= max_keys
    kept = order[: max(int(fitting.sum()), 1)]
    return opens.select_keys(np.flatnonzero(np.isin(account, kept)))


def _draft_review(engine: Engine, objects: ObjectStore, settings: Settings, now: datetime) -> _ReviewDraft:
    try:
        live = get_live_snapshot(engine)
    except NotFound as error:
        return _ReviewDraft(ReviewResult.NOTHING_LIVE, str(error))
    with read_transaction(engine) as connection:
        hours = aggregates.list_hours(connection)
        until = floor_to(min(now, aggregates.get_watermark(connection) or now), HOUR)
    hours = [row for row in hours if row.hour < until]
    end = min(until, hours[-1].hour + HOUR) if hours else until
    try:
        split = choose_split(hours[0].hour if hours else end, end, settings.review)
    except BadRequest as error:
        return _ReviewDraft(ReviewResult.TOO_LITTLE_LOG, str(error), live.kind)
    opens = _load_opens(engine, objects, settings, split)
    judgement, document = review_log(opens, split, live.kind, settings)
    return _ReviewDraft(judgement.result, judgement.reason, live.kind, judgement, document)


def _load_opens(engine: Engine, objects: ObjectStore, settings: Settings, split: TrainTestSplit) -> Opens:
    since = split.train_from - FIRST_OPEN_QUIET
    known = load_opens(engine, objects, since, split.test_to, default_zone=settings.default_zone)
    known = known.since(to_micros(split.train_from))
    return sample_accounts(known.select_keys(known.opened_keys()), settings.review.max_keys)


def _train_new_kind(
    engine: Engine, objects: ObjectStore, settings: Settings, draft: _ReviewDraft, now: datetime
) -> Snapshot | None:
    """Train and store the forecast that is fallen back to or proposed; it is not live yet."""
    if draft.evaluation is None or draft.evaluation.new_kind is None:
        return None
    kind = draft.evaluation.new_kind
    only = settings.model_copy(update={"forecast": settings.forecast.model_copy(update={"model": kind})})
    with read_transaction(engine) as connection:
        until = min(now, aggregates.get_watermark(connection) or now)
    return train_candidates(engine, objects, only, until, now).snapshots[kind]


def _write_pages(folder: PageFolder, document: dict[str, Any], now: datetime) -> str:
    """Write the report as JSON and as a page; return where the page is."""
    name = f"review-{now:%Y%m%dt%H%M%Sz}"
    folder.write(f"{name}.json", orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return folder.write(f"{name}.html", render_page(document).encode())


def _to_review(
    draft: _ReviewDraft, run_id: str, now: datetime, page: str | None, chosen: Snapshot | None
) -> PolicyReview:
    figures: dict[str, Any] = {"why": draft.why}
    if draft.document is not None:
        review = draft.document["review"]
        drifted = {name: review["drift"][name] for name in ("stability", "accounts", "judged", "moved")}
        figures |= {"policies": review["figures"], "drift": drifted, "log": draft.document["log"]}
    proposed = chosen if draft.verdict is ReviewResult.PROPOSED else None
    return PolicyReview(
        run_id=run_id,
        at=now,
        result=str(draft.verdict),
        live_kind=draft.live_kind,
        proposed_kind=proposed.kind if proposed else None,
        proposed_snapshot=proposed.id if proposed else None,
        page=page,
        figures=figures,
    )
