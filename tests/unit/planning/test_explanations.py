"""Sentences that explain a plan to users."""

import pytest

from adwarm.planning.explanations import Evidence, explain_cut, explain_opens, explain_price
from adwarm.planning.price import WarmCost


@pytest.mark.parametrize(
    ("evidence", "sentence"),
    [
        (Evidence(7, 8, 9, "Europe/Rome"), "opened in 7 of the last 8 Mondays between 09:00 and 10:00 (Europe/Rome)"),
        (Evidence(1, 1, 167, "UTC"), "opened on the one Sunday in the log, between 23:00 and 00:00 (UTC)"),
        (Evidence(0, 1, 30, "UTC"), "not yet opened in 1 Tuesday between 06:00 and 07:00 (UTC), but"),
        (Evidence(0, 5, 30, "UTC"), "not yet opened in 5 Tuesdays between 06:00 and 07:00 (UTC), but"),
        (
            Evidence(0, 0, 100, "UTC"),
            "too new to have a history on Fridays; similar reports are opened between 04:00 and 05:00",
        ),
    ],
)
def test_each_amount_of_evidence_has_its_sentence(evidence: Evidence, sentence: str) -> None:
    """Many, few and no opens each have their own sentence."""
    assert explain_opens(evidence).startswith(sentence)


@pytest.mark.parametrize(
    ("cost", "sentence"),
    [
        (WarmCost(0.0, 1.0, 1, 0, False), "no further call: the days it needs are stored"),
        (WarmCost(1.0, 1.25, 1, 9, False), "1 call at 1.25 each"),
        (WarmCost(0.4, 2.0, 3, 9, True), "0.4 calls at 2.00 each, its share of the requests of 3 reports"),
    ],
)
def test_the_price_has_its_reason(cost: WarmCost, sentence: str) -> None:
    """No request, a request of its own, or a share of one."""
    assert explain_price(cost) == sentence


def test_a_cut_names_the_price_or_the_calls() -> None:
    """Too expensive at that usage, or worth it but behind warms that gain more."""
    dear, late = WarmCost(1.0, 5.0, 1, 50, True), WarmCost(2.0, 1.5, 1, 59, True)
    assert explain_cut(dear, 4.0, "60 calls of its account") == (
        "cut by the budget: 50 of the 60 calls of its account in this hour are used or promised, so it would cost "
        "5.00, more than the 4.00 it is worth"
    )
    assert explain_cut(late, 4.0, "60 calls of its account").endswith(
        "and the rest go to warms that gain more per call"
    )
