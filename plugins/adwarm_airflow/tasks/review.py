"""Tasks of `adwarm_policy_review`: review, check for a proposal, promote, record the decision, send the digest."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from adwarm.model import PolicyReview
from adwarm.queries.digest import send_digest as send_weekly_digest
from adwarm.replay.review import EVERY_KIND, ReviewScope, reject, review_policies
from adwarm.replay.review import promote as promote_review
from adwarm.replay.review_rules import ReviewResult, summarize_review
from adwarm_airflow.page_links import get_review_url
from adwarm_airflow.params import get_lines_param
from adwarm_airflow.run_window import RunWindow, resolve_run_window
from adwarm_airflow.task_context import open_runtime
from adwarm_airflow.tasks.skipping import skip_task

WEEK = timedelta(weeks=1)
ANSWERED_BY = "answered_by"
"""XCom key of the responder's name; its value is None when nobody responded in time."""
NO_RESPONDER = "nobody in time"
log = logging.getLogger(__name__)


def review(context: Mapping[str, Any]) -> dict[str, Any]:
    """Review the live policy, and return the result, the path of the page, and the text of the approval request.

    A backfill writes the page and changes nothing.

    Raises:
        BadRequest: the form names a policy that does not exist.
    """
    run = resolve_run_window(context, WEEK)
    runtime = open_runtime(run.clock)
    scope = _scope_from_form(context.get("params") or {})
    now = run.window[1] if run.is_backfill else run.clock.now()
    made = review_policies(runtime.context, now, run.run_id, apply_result=not run.is_backfill, scope=scope)
    _log_review(made)
    return {
        "run_id": made.run_id,
        "verdict": made.result,
        "live_kind": made.live_kind,
        "proposed_kind": made.proposed_kind,
        "report": made.page,
        "page": None if made.page is None else get_review_url(made.run_id),
        "headline": made.headline,
        "why": made.figures["why"],
        "body": summarize_review(made),
    }


def send_digest(context: Mapping[str, Any]) -> bool:
    """Send the digest of the week; False when this week had one.

    Raises:
        AirflowSkipException: digests or alerts are switched off, or the run belongs to a backfill.
    """
    run = resolve_run_window(context, WEEK)
    runtime = open_runtime(run.clock)
    settings = runtime.settings.alerts
    if run.is_backfill or not (settings.enabled and settings.weekly_digest):
        skip_task("a backfill sends no digest" if run.is_backfill else "ADWARM_ALERTS__WEEKLY_DIGEST is not true")
    sent = send_weekly_digest(runtime.context, runtime.alerts, run.clock.now())
    log.info("the digest was sent" if sent else "this week had its digest; nothing was sent")
    return sent


def _log_review(made: PolicyReview) -> None:
    """Log what the live forecast achieved, the result, and where the page is."""
    if headline := made.headline:
        log.info("%s: %s. %s.", made.live_kind, headline, made.figures["source"])
    log.info("%s: %s", made.result, made.figures["why"])
    if made.page is not None:
        log.info("page: %s, stored as %s", get_review_url(made.run_id), made.page)


def is_proposed(context: Mapping[str, Any]) -> bool:
    """Whether the run's review proposes a promotion that a human has to approve."""
    return bool(context["ti"].xcom_pull(task_ids="review")["verdict"] == ReviewResult.PROPOSED)


def promote(context: Mapping[str, Any]) -> dict[str, Any]:
    """Promote the approved forecast."""
    run = resolve_run_window(context, WEEK)
    runtime = open_runtime(run.clock)
    return _log_decision(promote_review(runtime.engine, run.run_id, by=_responder(context), at=run.clock.now()))


def conclude(context: Mapping[str, Any]) -> dict[str, Any]:
    """Record a rejection when the proposal was not approved; a promotion stays."""
    run: RunWindow = resolve_run_window(context, WEEK)
    runtime = open_runtime(run.clock)
    return _log_decision(reject(runtime.engine, run.run_id, by=_responder(context), at=run.clock.now()))


def _log_decision(decided: PolicyReview) -> dict[str, Any]:
    figures = {
        "verdict": decided.result,
        "live_kind": decided.live_kind,
        "proposed_kind": decided.proposed_kind,
        "decided_by": decided.decided_by,
    }
    proposed = f", proposed {decided.proposed_kind}" if decided.proposed_kind else ""
    by = f", decided by {decided.decided_by}" if decided.decided_by else ""
    log.info("%s: live %s%s%s", decided.result.replace("_", " "), decided.live_kind, proposed, by)
    return figures


def _responder(context: Mapping[str, Any]) -> str:
    """Return the name of the responder."""
    return str(context["ti"].xcom_pull(task_ids="approve", key=ANSWERED_BY) or NO_RESPONDER)


def _scope_from_form(params: Mapping[str, Any]) -> ReviewScope:
    return ReviewScope(
        training_weeks=params.get("training_weeks") or EVERY_KIND.training_weeks,
        scored_weeks=params.get("scored_weeks") or EVERY_KIND.scored_weeks,
        policies=tuple(get_lines_param(params, "policies")) or EVERY_KIND.policies,
    )
