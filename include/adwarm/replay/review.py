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
from adwarm.forecast.snapshot import Snapshot, get_live_snapshot
from adwarm.forecast.training.train import train_candidates
from adwarm.foundation.clock import floor_to, utc
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.patterns.open_history import load_opens
from adwarm.patterns.opens import QUIET_MICROS, Opens
from adwarm.replay.drift import Watched, drift
from adwarm.replay.entry_lifetimes import FixedLife
from adwarm.replay.policies import policies
from adwarm.replay.policy import Policy
from adwarm.replay.promotion import fall_back
from adwarm.replay.replay_log import Split
from adwarm.replay.replay_page import report_page
from adwarm.replay.review_rules import POLICIES, Judgement, Verdict, judge
from adwarm.replay.run import Rules, replay
from adwarm.settings import ReviewSettings, Settings
from adwarm.store import ObjectStore, aggregates, read_transaction, write_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.reviews import find_review, save_review

WEEK, HOUR = timedelta(weeks=1), timedelta(hours=1)
LEAST_TRAINING = 2 * WEEK
TARGETS = (1.5, 2.0, 3.0)


@dataclass(frozen=True)
class _Made:
    """A review before it is stored."""

    verdict: Verdict
    why: str
    live_kind: str | None = None
    judgement: Judgement | None = None
    document: dict[str, Any] | None = None


def review_policies(
    engine: Engine, objects: ObjectStore, settings: Settings, now: datetime, run_id: str, *, act: bool = True
) -> dict[str, Any]:
    """Review the live policy as of `now`, and return the row of the review (see the table `policy_review`).

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
    made = _made(engine, objects, settings, now)
    if not act and made.judgement is not None:
        made = replace(made, verdict=Verdict.REPORTED)
    report = None if made.document is None else _written(PageFolder(settings.data), made.document, now)
    chosen = _chosen(engine, objects, settings, made, now) if act else None
    row = _row(made, run_id, now, report, chosen)
    with write_transaction(engine) as connection:
        if chosen is not None and made.verdict is Verdict.FELL_BACK:
            fall_back(connection, chosen, why=made.why, at=now)
        save_review(connection, row)
    return row


def review_log(opens: Opens, split: Split, live_kind: str, settings: Settings) -> tuple[Judgement, dict[str, Any]]:
    """Replay the live kind's policy and the others over `opens`; return the judgement and the report's document."""
    rules, (start, test, end) = settings.review, split.micros()
    live = POLICIES[live_kind]
    watched = Watched(policies([live], opens, FixedLife(0))[0], opens, test, end)
    names: list[str | Policy] = [watched, *(name for name in rules.policies if name != live)]
    terms = Rules(ttl=None, step=settings.step, targets=TARGETS)
    document = replay(opens, split, terms, names, settings, ours=live).document
    judgement = judge(document, live_kind, rules)
    document["review"] = {
        "verdict": str(judgement.verdict),
        "why": judgement.why,
        "live_kind": live_kind,
        "proposed_kind": judgement.kind,
        "max_ece": rules.max_ece,
        "min_cases": rules.min_cases,
        "figures": judgement.figures,
        "drift": drift(opens, start, test, end, watched),
    }
    return judgement, document


def split_of(first: datetime, until: datetime, rules: ReviewSettings) -> Split:
    """Return which weeks of a log from `first` to `until` are learned from, and which are scored.

    Raises:
        BadRequest: the log is too short.
    """
    weeks = min(rules.scored_weeks, (until - first - LEAST_TRAINING) // WEEK)
    if weeks < 1:
        raise BadRequest(
            f"the log that was read covers {max((until - first).days, 0)} days; a review needs "
            f"{(LEAST_TRAINING + WEEK).days}, two weeks to learn from and one to score"
        )
    test = until - weeks * WEEK
    return Split(max(first, test - rules.training_weeks * WEEK), test, until)


def sample(opens: Opens, most: int) -> Opens:
    """Return the opens of at most `most` keys, or of one account's: whole accounts, drawn without looking at them."""
    if opens.key_count <= most:
        return opens
    _, at, account = np.unique(opens.account, return_index=True, return_inverse=True)
    drawn = [hashlib.sha256(str(opens.account_id[place]).encode()).hexdigest() for place in at]
    order = np.argsort(np.array(drawn))
    fitting = np.cumsum(np.bincount(account)[order]) <= most
    kept = order[: max(int(fitting.sum()), 1)]
    return opens.select_keys(np.flatnonzero(np.isin(account, kept)))


def _made(engine: Engine, objects: ObjectStore, settings: Settings, now: datetime) -> _Made:
    try:
        live = get_live_snapshot(engine)
    except NotFound as error:
        return _Made(Verdict.NOTHING_LIVE, str(error))
    with read_transaction(engine) as connection:
        hours = aggregates.list_hours(connection)
        until = floor_to(min(now, aggregates.get_watermark(connection) or now), HOUR)
    hours = [row for row in hours if row.hour < until]
    end = min(until, hours[-1].hour + HOUR) if hours else until
    try:
        split = split_of(hours[0].hour if hours else end, end, settings.review)
    except BadRequest as error:
        return _Made(Verdict.TOO_LITTLE_LOG, str(error), live.kind)
    opens = _loaded(engine, objects, settings, split)
    judgement, document = review_log(opens, split, live.kind, settings)
    return _Made(judgement.verdict, judgement.why, live.kind, judgement, document)


def _loaded(engine: Engine, objects: ObjectStore, settings: Settings, split: Split) -> Opens:
    since = split.train_from - timedelta(microseconds=QUIET_MICROS)
    known = load_opens(engine, objects, since, split.test_to, default_zone=settings.default_zone)
    known = known.since(to_micros(split.train_from))
    return sample(known.select_keys(known.opened_keys()), settings.review.max_keys)


def _chosen(engine: Engine, objects: ObjectStore, settings: Settings, made: _Made, now: datetime) -> Snapshot | None:
    """Train and store the forecast that is fallen back to or proposed; it is not live yet."""
    if made.judgement is None or made.judgement.kind is None:
        return None
    kind = made.judgement.kind
    only = settings.model_copy(update={"forecast": settings.forecast.model_copy(update={"model": kind})})
    with read_transaction(engine) as connection:
        until = min(now, aggregates.get_watermark(connection) or now)
    return train_candidates(engine, objects, only, until, now).snapshots[kind]


def _written(folder: PageFolder, document: dict[str, Any], now: datetime) -> str:
    """Write the report as JSON and as a page; return where the page is."""
    name = f"review-{now:%Y%m%dt%H%M%Sz}"
    folder.write(f"{name}.json", orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return folder.write(f"{name}.html", report_page(document).encode())


def _row(made: _Made, run_id: str, now: datetime, report: str | None, chosen: Snapshot | None) -> dict[str, Any]:
    figures: dict[str, Any] = {"why": made.why}
    if made.document is not None:
        review = made.document["review"]
        drifted = {name: review["drift"][name] for name in ("stability", "accounts", "judged", "moved")}
        figures |= {"policies": review["figures"], "drift": drifted, "log": made.document["log"]}
    proposed = chosen if made.verdict is Verdict.PROPOSED else None
    return {
        "run_id": run_id,
        "at": now,
        "verdict": str(made.verdict),
        "live_kind": made.live_kind,
        "proposed_kind": proposed.kind if proposed else None,
        "proposed_snapshot": proposed.id if proposed else None,
        "report": report,
        "figures": figures,
        "decided_by": None,
        "decided_at": None,
    }
