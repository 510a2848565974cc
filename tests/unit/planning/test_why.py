"""Sentences for people."""

import pytest

from adwarm.planning.why import Evidence, why_opened


@pytest.mark.parametrize(
    ("evidence", "sentence"),
    [
        (Evidence(7, 8, 9, "Europe/Rome"), "opened in 7 of the last 8 Mondays between 09:00 and 10:00 (Europe/Rome)"),
        (Evidence(1, 1, 167, "UTC"), "opened on the one Sunday it is known for, between 23:00 and 00:00 (UTC)"),
        (Evidence(0, 1, 30, "UTC"), "not yet opened in 1 Tuesday between 06:00 and 07:00 (UTC), but"),
        (Evidence(0, 5, 30, "UTC"), "not yet opened in 5 Tuesdays between 06:00 and 07:00 (UTC), but"),
        (Evidence(0, 0, 100, "UTC"), "too new to have a record on Fridays; opens like it come between 04:00 and 05:00"),
    ],
)  # fmt: skip
def test_the_evidence_is_told_as_it_is(evidence: Evidence, sentence: str) -> None:
    """Much, little and no evidence each have their own words."""
    assert why_opened(evidence).startswith(sentence)
