"""The page of a review: one file that needs no network and explains its terms; and the headline of a replay."""

import re
from datetime import timedelta
from typing import Any

import pytest

from adwarm.patterns.opens import Opens
from adwarm.replay.replay_page import get_headline, render_page
from adwarm.replay.replay_run import ReplayConfig, TrainTestSplit, replay
from adwarm.replay.review import ReviewScope, review_log
from adwarm.settings import Settings

NAMES = ["none", "popularity", "hour-of-week", "oracle"]
CONFIG = ReplayConfig(step=timedelta(hours=2))


REVIEW = {
    "verdict": "kept",
    "why": "no policy is surely better",
    "figures": {},
    "drift": {"stability": 0.03, "moved": 0, "accounts": 2, "worst": []},
    **dict.fromkeys(("live_kind", "source"), "hour_of_week"),
    **dict.fromkeys(("max_ece", "min_cases"), 1),
}


def _replay(opens: Opens, split: TrainTestSplit, *names: str) -> dict[str, Any]:
    """The document of a small replay as one of a review."""
    return {**replay(opens, split, CONFIG, names, Settings()).document, "review": REVIEW}


@pytest.fixture(scope="module")
def page(opens: Opens, split: TrainTestSplit) -> str:
    """The page of a small replay."""
    return render_page(_replay(opens, split, *NAMES))


def test_the_page_needs_no_network(page: str) -> None:
    """No style or image comes from elsewhere, there is no script, and each policy has its curve."""
    assert not re.findall(r"<(?:link|img|iframe)[^>]*\s(?:src|href)=", page)
    assert "<script" not in page
    curves, savings, calibration = re.findall(r'<svg viewBox[^>]*class="chart [^>]*aria-label="([^"]*)"', page)
    assert ("First-open" in curves, "Calls made" in savings, "probability" in calibration) == (True, True, True)
    assert all(f"</span>{name}</li>" in page for name in NAMES)


def test_terms_are_explained(page: str) -> None:
    """The page explains its figures, and describes every policy."""
    for words in ("First open", "First-open hit ratio", "Cache efficiency", "multiples", "95 %", "How it was done"):
        assert words in page
    assert all(f"<dt>{name}</dt>" in page for name in NAMES)


def test_equal_replays_give_equal_pages(page: str, opens: Opens, split: TrainTestSplit) -> None:
    """Nothing in it depends on the moment it was made."""
    assert render_page(_replay(opens, split, *NAMES)) == page


def test_text_is_escaped(opens: Opens, split: TrainTestSplit) -> None:
    """Text from outside is escaped."""
    document = _replay(opens, split, "none")
    document["policies"][0]["about"] = "<script>alert(1)</script>"

    assert "<script>alert(1)" not in render_page(document)


@pytest.mark.slow
def test_a_review_adds_its_result_and_the_accounts_that_drifted(opens: Opens, split: TrainTestSplit) -> None:
    """The page of a review shows its result, its figures and the accounts whose habits changed, names escaped."""
    settings = Settings.model_validate({"planning": {"step_minutes": 480}})
    scope = ReviewScope(policies=("forecast-hour-of-week", "forecast-population"))
    evaluation, document = review_log(opens, split, "hour_of_week", settings, scope=scope)
    account = {"account_id": "<b>", "before": 30, "after": 40, "stability": None, "stated": 12.0, "came": 44}
    document["review"] |= {"verdict": "proposed"}
    document["review"]["drift"]["worst"] = [{**account, "why": "more opens than stated"}]

    page = render_page(document)

    assert "A better kind is proposed" in page
    assert evaluation.reason in page
    assert "<td>&lt;b&gt;</td><td>30</td><td>40</td>" in page


def _document(multiple: float, target: float = 2.0, plan: float | None = None) -> dict[str, Any]:
    row = {"target": target, "multiple": multiple, "calls": 210, "first_open_hit_ratio": 0.987}
    deployed = None if plan is None else {"multiple": plan, "calls": 152, "first_open_hit_ratio": 0.956}
    policy = {
        "name": "mine",
        "targets": [{**row, "target": 1.25, "multiple": 1.2}, row],
        "curve": [{"first_open_hit_ratio": 0.123}],
        "as_deployed": deployed,
    }
    return {"policies": [policy], "compared": None}


def test_the_achieved_multiple_is_stated() -> None:
    """When the multiple aimed at was met, it alone is named."""
    assert get_headline(_document(2.04))["text"] == (
        "With 2.04 x the calls of no warming, 98.7 % of first opens found a fresh report (no warming: 12.3 %)"
    )


def test_a_missed_multiple_is_said() -> None:
    """When other calls were made than aimed at, both are named."""
    text = get_headline(_document(1.22))["text"]
    assert "With 1.22 x the calls of no warming (aimed at 2 x), 98.7 %" in text


def test_a_forecast_has_the_point_of_its_plan() -> None:
    """The deployed plan aims at no multiple; its own one counts."""
    headline = get_headline(_document(2.0, plan=1.52))
    assert (headline["policy"], headline["multiple"], headline["target"]) == ("mine", 1.52, None)
    assert headline["text"].startswith("With 1.52 x the calls of no warming, 95.6 %")
