"""Says in Markdown what a review proposes, for the person who is asked to approve it."""

from collections.abc import Mapping
from typing import Any

from adwarm.model import PolicyReview
from adwarm.replay.review_rules import COMPARED_AT, POLICY_BY_KIND, ReviewResult


def summarize_review(review: PolicyReview) -> str:
    """Return the text of a review; a sentence when nothing is proposed."""
    why = str(review.figures["why"])
    if review.result != ReviewResult.PROPOSED:
        return why
    log, drift = review.figures["log"], review.figures["drift"]
    names = [POLICY_BY_KIND[kind] for kind in (review.live_kind, review.proposed_kind) if kind]
    columns = [review.figures["policies"][name] for name in names]
    lines = [
        f"**{why}.**",
        "",
        f"Replayed {log['test_from'][:10]} to {log['test_to'][:10]}: {log['scored_first_opens']:,} first opens.",
        "",
        f"| | live: {names[0]} | proposed: {names[1]} |",
        "|---|---|---|",
        _line(f"first-open hit ratio at {COMPARED_AT:g}x the calls of no warming", columns, _ratio),
        _line("calls when aiming at that", columns, lambda found: f"{found['calls']:,} ({found['multiple']:.2f}x)"),
        _line("mean gap of probabilities (ECE)", columns, lambda found: _number(found["ece"])),
        _line("of it overstated", columns, lambda found: _number(found["overstated"])),
        "",
        f"Habits of {drift['moved']:,} of {drift['accounts']:,} accounts have moved. Whole report: `{review.page}`",
        "",
        "Approve: the proposed kind goes live, and training keeps it. Reject, or no answer: nothing changes.",
    ]
    return "\n".join(lines)


def _line(title: str, columns: list[Mapping[str, Any]], shown: Any) -> str:
    return f"| {title} | " + " | ".join(shown(found) for found in columns) + " |"


def _ratio(found: Mapping[str, Any]) -> str:
    low, high = found["hit_ratio_interval"]
    return f"{found['hit_ratio']:.3f} ({low:.3f} to {high:.3f})"


def _number(value: float | None) -> str:
    return "too few cases" if value is None else f"{value:.3f}"
