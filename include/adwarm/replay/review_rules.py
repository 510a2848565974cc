"""The rules of a policy review: keep the live kind, fall back when its probabilities are off, or propose a better one.

The rules are few, so that whoever approves can follow them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from adwarm.forecast.models import boosted, population, seasonal
from adwarm.foundation.errors import NotFound
from adwarm.model import PolicyReview
from adwarm.replay.policies import get_policy_name
from adwarm.store import Context, read_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.snapshots import find_newest_review, find_review

COMPARED_AT = 2.0
"""The multiple of the calls without warming at which policies are compared."""
POLICY_BY_KIND = {kind: get_policy_name(kind) for kind in (seasonal.KIND, boosted.KIND, population.KIND)}
"""The policy that replays each kind of forecast."""
FALLBACK_KIND = population.KIND
MAX_ECE = 0.1
"""Overstatement above which the review falls back: a plan that pays for one open in ten more than come true."""
MIN_CASES = 2_000
"""Predictions of 10 % and more that calibration needs: chance alone then moves it by about a tenth of `MAX_ECE`."""
MIN_GAIN = 0.005
"""Gain in the first-open hit ratio that a policy needs to be proposed: less is not worth a human's decision."""
MIN_FIRST_OPENS = 100
"""First opens in the test weeks that calling a policy better needs, whatever the interval is."""
NEWEST = "newest"
"""Stands for the run of the newest review."""


class ReviewResult(StrEnum):
    """The result of a review, and the decision on its proposal."""

    TOO_LITTLE_LOG = "too_little_log"
    NOTHING_LIVE = "nothing_live"
    KEPT = "kept"
    FELL_BACK = "fell_back"
    PROPOSED = "proposed"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """The result of applying the rules.

    Attributes:
        new_kind: the kind of forecast to fall back to, or to propose.
        figures: by policy, as JSON values: hits and calls at `COMPARED_AT`, calibration, and gain over the live policy.
    """

    result: ReviewResult
    reason: str
    new_kind: str | None
    figures: dict[str, dict[str, Any]]


def evaluate_policies(document: Mapping[str, Any], live_kind: str) -> PolicyEvaluation:
    """Apply the rules to the document of a replay (see `adwarm.replay.replay_run.ReplayResult`)."""
    live = POLICY_BY_KIND[live_kind]
    figures = {policy["name"]: _figures(policy, document["compared"]) for policy in document["policies"]}
    if is_miscalibrated(figures[live]):
        over = f"{figures[live]['overstated']:.3f}"
        gap = f"the probabilities of {live} promise {over} more on average than comes true, above {MAX_ECE:g}"
        if live_kind != FALLBACK_KIND:
            return PolicyEvaluation(ReviewResult.FELL_BACK, gap, FALLBACK_KIND, figures)
        return PolicyEvaluation(
            ReviewResult.KEPT, f"{gap}, and there is nothing plainer to fall back to", None, figures
        )
    if (first_opens := document["log"]["scored_first_opens"]) < MIN_FIRST_OPENS:
        reason = (
            f"too few first opens were replayed to tell policies apart: {first_opens:,}, and it takes "
            f"{MIN_FIRST_OPENS}; more scored weeks hold more"
        )
        return PolicyEvaluation(ReviewResult.KEPT, reason, None, figures)
    better = [kind for kind, name in POLICY_BY_KIND.items() if name in figures and _is_better(figures[name])]
    if not better:
        return PolicyEvaluation(ReviewResult.KEPT, f"no policy is surely better than {live}", None, figures)
    best = max(better, key=lambda kind: figures[POLICY_BY_KIND[kind]]["gain"])
    best_figures = figures[POLICY_BY_KIND[best]]
    low, high = best_figures["gain_interval"]
    reason = (
        f"{POLICY_BY_KIND[best]} serves {best_figures['gain']:+.3f} of first opens more than {live} for the same calls "
        f"(95 % interval {low:+.3f} to {high:+.3f})"
    )
    return PolicyEvaluation(ReviewResult.PROPOSED, reason, best, figures)


def is_miscalibrated(figures: Mapping[str, Any]) -> bool:
    """Return whether the probabilities are clearly too high, over enough cases.

    Only probabilities that are too high count, because they spend the budget. Probabilities that are too low, as those
    learned from few weeks are on purpose, cost warms that are not made; the hit ratio shows that, and the fallback's
    are lower still.
    """
    return bool(figures["cases"] >= MIN_CASES and figures["overstated"] > MAX_ECE)


def _is_better(figures: Mapping[str, Any]) -> bool:
    surely = figures["gain"] is not None and figures["gain_interval"][0] > 0
    return surely and figures["gain"] >= MIN_GAIN and not is_miscalibrated(figures)


def _figures(policy: Mapping[str, Any], compared: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures of one policy; the gain is over the live policy."""
    reading = next(row for row in policy["read_off_curve"] if row["multiple"] == COMPARED_AT)
    target = next(row for row in policy["targets"] if row["target"] == COMPARED_AT)
    quality = policy["probability"] or {"cases": 0, "ece": None, "ece_share_of_cases": 0.0, "bins": ()}
    cases = sum(row["cases"] for row in quality["bins"])
    over = sum(row["cases"] * max(row["stated"] - row["came_true"], 0.0) for row in quality["bins"])
    against = (compared or {"against": {}})["against"].get(policy["name"], ())
    gap = next((row for row in against if row["multiple"] == COMPARED_AT), None)
    return {
        "hit_ratio": reading["first_open_hit_ratio"],
        "hit_ratio_interval": reading["interval"],
        "calls": target["calls"],
        "multiple": target["multiple"],
        "ece": quality["ece"],
        "overstated": over / max(cases, 1),
        "cases": cases,
        "gain": None if gap is None else -gap["difference"],
        "gain_interval": None if gap is None else [-gap["interval"][1], -gap["interval"][0]],
    }


def summarize_review(review: PolicyReview) -> str:
    """Return the review as Markdown for whoever approves it; one sentence when it proposes nothing."""
    reason = str(review.figures["why"])
    headline = review.headline
    if review.result != ReviewResult.PROPOSED:
        return f"{headline}. {reason}" if headline else reason
    log, drift = review.figures["log"], review.figures["drift"]
    names = [POLICY_BY_KIND[kind] for kind in (review.live_kind, review.proposed_kind) if kind]
    columns = [review.figures["policies"][name] for name in names]
    lines = [
        f"**{reason}.**",
        "",
        *([f"Live: {headline[0].lower()}{headline[1:]}.", ""] if headline else []),
        f"Replayed {log['test_from'][:10]} to {log['test_to'][:10]}: {log['scored_first_opens']:,} first opens.",
        "",
        f"| | live: {names[0]} | proposed: {names[1]} |",
        "|---|---|---|",
        _line(f"first-open hit ratio at {COMPARED_AT:g}x the calls of no warming", columns, _ratio),
        _line("calls when aiming at that", columns, lambda row: f"{row['calls']:,} ({row['multiple']:.2f}x)"),
        _line("mean gap of probabilities (ECE)", columns, lambda row: _number(row["ece"])),
        _line("of it overstated", columns, lambda row: _number(row["overstated"])),
        "",
        f"{drift['moved']:,} of {drift['accounts']:,} accounts have drifted. Full report: `{review.page}`",
        "",
        "Approve: the proposed kind goes live, and training keeps it. Reject, or no answer: nothing changes.",
    ]
    return "\n".join(lines)


def _line(title: str, columns: list[Mapping[str, Any]], format_column: Callable[[Mapping[str, Any]], str]) -> str:
    return f"| {title} | " + " | ".join(format_column(column) for column in columns) + " |"


def _ratio(row: Mapping[str, Any]) -> str:
    low, high = row["hit_ratio_interval"]
    return f"{row['hit_ratio']:.3f} ({low:.3f} to {high:.3f})"


def _number(value: float | None) -> str:
    return "too few cases" if value is None else f"{value:.3f}"


def get_review(context: Context, run_id: str) -> PolicyReview:
    """Return the stored review of a run, or the newest one for `NEWEST`.

    Raises:
        NotFound: there is no such review.
    """
    with read_transaction(context.engine) as connection:
        review = find_newest_review(connection) if run_id == NEWEST else find_review(connection, run_id)
    if review is None and run_id == NEWEST:
        raise NotFound("there is no review yet; the DAG adwarm_policy_review makes one every Monday, or when triggered")
    if review is None:
        raise NotFound(f"there is no review of the run {run_id[:250]!r}; adwarm review shows the runs")
    return review


def read_page(context: Context, run_id: str) -> bytes:
    """Return the HTML page of a review.

    Raises:
        NotFound: there is no such review, it replayed nothing, or its file is gone.
    """
    review = get_review(context, run_id)
    if review.page is None:
        raise NotFound(f"the review of the run {review.run_id!r} has no page: {review.figures['why']}")
    try:
        return PageFolder(context.settings.data).read(review.page.replace("\\", "/").rpartition("/")[2])
    except FileNotFoundError:
        raise NotFound(f"the page of the review of the run {review.run_id!r} is gone: {review.page}") from None


def describe_review(review: PolicyReview) -> dict[str, str | datetime | None]:
    """Return what a review came to, as names and values for people and programs."""
    figures: dict[str, Any] = dict(review.figures)
    return {
        "run_id": review.run_id,
        "at": review.at,
        "verdict": review.result,
        "headline": review.headline,
        "why": str(figures["why"]),
        "live_kind": review.live_kind,
        "source": figures.get("source"),
        "proposed_kind": review.proposed_kind,
        "decided_by": review.decided_by,
        "decided_at": review.decided_at,
        "report": review.page,
    }
