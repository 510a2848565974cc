"""The rules of a review, applied to small documents."""

from datetime import UTC, datetime
from typing import Any

import pytest

from adwarm.model import PolicyReview
from adwarm.replay.review_rules import MIN_CASES, ReviewResult, evaluate_policies, summarize_review


def policy(name: str, ratio: float, stated: float = 0.5, true: float = 0.5, cases: int = 50_000) -> dict[str, Any]:
    """The part of a replay's document about one policy that a review reads."""
    return {
        "name": name,
        "read_off_curve": [{"multiple": 2.0, "first_open_hit_ratio": ratio, "interval": [ratio - 0.01, ratio + 0.01]}],
        "targets": [{"target": 2.0, "calls": 4321, "multiple": 1.98}],
        "probability": {
            "ece": abs(stated - true),
            "bins": [{"cases": cases, "stated": stated, "came_true": true}],
        },
    }


def document(live: dict[str, Any], *others: tuple[dict[str, Any], float, float]) -> dict[str, Any]:
    """A replay's document of the live policy and others, each with the interval of live minus other."""
    against = {
        other["name"]: [{"multiple": 2.0, "difference": (low + high) / 2, "interval": [low, high]}]
        for other, low, high in others
    }
    return {
        "log": {"scored_first_opens": 1234},
        "policies": [live, *(other for other, _, _ in others)],
        "compared": {"policy": live["name"], "against": against},
    }


def test_without_a_clearly_better_kind_the_live_one_stays() -> None:
    """A gain whose interval reaches zero, or that is tiny, proposes nothing."""
    live = policy("forecast-hour-of-week", 0.9)
    unsure, tiny = (policy("forecast-adwarm", 0.91), -0.03, 0.001), (policy("forecast-population", 0.9), -0.004, -0.001)
    evaluation = evaluate_policies(document(live, unsure, tiny), "hour_of_week")
    assert (evaluation.result, evaluation.new_kind) == (ReviewResult.KEPT, None)


def test_the_best_of_the_clearly_better_kinds_is_proposed() -> None:
    """The kind with the largest gain over the live one is proposed."""
    live = policy("forecast-population", 0.7)
    good, best = (policy("forecast-hour-of-week", 0.8), -0.12, -0.08), (policy("forecast-adwarm", 0.9), -0.22, -0.18)
    evaluation = evaluate_policies(document(live, good, best), "population")
    assert (evaluation.result, evaluation.new_kind) == (ReviewResult.PROPOSED, "adwarm")
    assert evaluation.figures["forecast-adwarm"]["gain"] == pytest.approx(0.2)
    assert evaluation.figures["forecast-adwarm"]["gain_interval"] == pytest.approx([0.18, 0.22])
    assert "+0.200" in evaluation.reason


def test_few_opens_propose_nothing() -> None:
    """Too few first opens propose nothing, whatever the interval is."""
    made = document(policy("forecast-hour-of-week", 0.8), (policy("forecast-adwarm", 0.9), -0.12, -0.08))
    made["log"]["scored_first_opens"] = 99
    assert "too few" in evaluate_policies(made, "hour_of_week").reason


def test_an_overconfident_kind_is_never_proposed() -> None:
    """A better hit ratio does not make up for broken calibration."""
    live = policy("forecast-hour-of-week", 0.8)
    evaluation = evaluate_policies(
        document(live, (policy("forecast-adwarm", 0.95, stated=0.9, true=0.6), -0.2, -0.1)), "hour_of_week"
    )
    assert evaluation.result is ReviewResult.KEPT


def test_broken_calibration_falls_back(subtests: pytest.Subtests) -> None:
    """Probabilities that are too high over enough cases fall back to the population profile; too low ones do not."""
    for stated, true, cases, result in [
        (0.8, 0.6, 50_000, ReviewResult.FELL_BACK),
        (0.8, 0.6, MIN_CASES - 1, ReviewResult.KEPT),
        (0.6, 0.9, 50_000, ReviewResult.KEPT),
        (0.65, 0.6, 50_000, ReviewResult.KEPT),
    ]:
        with subtests.test(stated=stated):
            evaluation = evaluate_policies(document(policy("forecast-adwarm", 0.9, stated, true, cases)), "adwarm")
            assert evaluation.result is result
            assert evaluation.new_kind == ("population" if result is ReviewResult.FELL_BACK else None)


def test_the_population_profile_has_no_fallback() -> None:
    """When it is off itself, it stays, and the reason says so."""
    evaluation = evaluate_policies(document(policy("forecast-population", 0.5, 0.8, 0.3)), "population")
    assert evaluation.result is ReviewResult.KEPT
    assert "nothing plainer" in evaluation.reason


def test_a_policy_without_probabilities_is_compared_by_hits_alone() -> None:
    """A policy without probabilities cannot be miscalibrated."""
    other = policy("forecast-adwarm", 0.95) | {"probability": None}
    evaluation = evaluate_policies(document(policy("forecast-hour-of-week", 0.8), (other, -0.2, -0.1)), "hour_of_week")
    assert evaluation.new_kind == "adwarm"


def test_the_summary_of_a_proposal_shows_both_kinds() -> None:
    """Whoever approves sees both kinds with hits, calls and calibration, and where the page is."""
    evaluation = evaluate_policies(
        document(policy("forecast-hour-of-week", 0.8), (policy("forecast-adwarm", 0.9), -0.12, -0.08)),
        "hour_of_week",
    )
    drift = {"stability": 0.01, "accounts": 9, "moved": 1, "judged": 9}
    log = {"test_from": "2026-03-02T00:00", "test_to": "2026-03-16T00:00", "scored_first_opens": 1234}
    figures = {"why": evaluation.reason, "policies": evaluation.figures, "drift": drift, "log": log}
    review = PolicyReview(
        run_id="r",
        at=datetime(2026, 3, 16, tzinfo=UTC),
        result="proposed",
        live_kind="hour_of_week",
        proposed_kind="adwarm",
        proposed_snapshot="a" * 64,
        page="/r.html",
        figures=figures,
    )
    body = summarize_review(review)
    for words in ("hour-of-week", "adwarm", "0.900", "4,321", "ECE", "/r.html", "2026-03-02", "1 of 9", "+0.100"):
        assert words in body
