"""Sentences that explain a plan to users."""

import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.training.observations import build_observations
from adwarm.planning.explanations import (
    Chance,
    Evidence,
    WarmCost,
    explain_cut,
    explain_opens,
    explain_price,
    explain_warm,
    format_amount,
    format_percent,
)
from adwarm.settings import Settings

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
UNTIL = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
REASONS = ("the forecast also weighs", "by the record of other hours and reports")


def test_each_amount_of_evidence_has_its_sentence(subtests: pytest.Subtests) -> None:
    """Many, few and no opens each have their own sentence."""
    for evidence, sentence in [
        (Evidence(7, 8, 9, "Europe/Rome"), "opened in 7 of the last 8 Mondays between 09:00 and 10:00 (Europe/Rome)"),
        (Evidence(1, 1, 167, "UTC"), "opened on the one Sunday observed, between 23:00 and 00:00 (UTC)"),
        (Evidence(0, 1, 30, "UTC"), "not opened on the one Tuesday observed, between 06:00"),
        (Evidence(0, 5, 30, "UTC"), "not opened in the last 5 Tuesdays between 06:00 and"),
        (Evidence(0, 0, 100, "UTC"), "not yet observed on a Friday between 04:00 and 05:00 (UTC)"),
    ]:
        with subtests.test(evidence=evidence, sentence=sentence):
            assert explain_opens(evidence).startswith(sentence)


def test_the_price_has_its_reason(subtests: pytest.Subtests) -> None:
    """No request, a request of its own, or a share of one."""
    for cost, sentence in [
        (WarmCost(0.0, 1.0, 1, 0, False), "no further call: the days it needs are stored"),
        (WarmCost(1.0, 1.25, 1, 9, False), "1 call at 1.25 each"),
        (WarmCost(0.4, 2.0, 3, 9, True), "0.4 calls at 2.00 each, its share of the requests of 3 reports"),
    ]:
        with subtests.test(cost=cost, sentence=sentence):
            assert explain_price(cost) == sentence


def test_a_cut_names_the_price_or_the_calls() -> None:
    """Too expensive at that usage, or worth it but behind warms that gain more."""
    dear, late = WarmCost(1.0, 5.0, 1, 50, True), WarmCost(2.0, 1.5, 1, 59, True)
    assert explain_cut(dear, 4.0, "60 calls of its account") == (
        "50 of the 60 calls of its account in this hour are used or promised, so it would cost "
        "5.00, more than the 4.00 it is worth"
    )
    assert explain_cut(late, 4.0, "60 calls of its account").endswith(
        "and the rest go to warms that gain more per call"
    )


def test_a_cut_shows_enough_digits_to_compare() -> None:
    """Two prices that two decimals cannot tell apart get more; equal ones are called equal."""
    close = explain_cut(WarmCost(1.0, 1.0121, 1, 25, False), 1.0064, "600 calls of all accounts")
    assert close.endswith("it would cost 1.012, more than the 1.006 it is worth")
    assert explain_cut(WarmCost(1.0, 2.0, 1, 1, False), 2.0, "9 calls").endswith("cost 2.00, as much as it is worth")


def test_small_amounts_keep_their_digits(subtests: pytest.Subtests) -> None:
    """Two decimals, and more for a number that two decimals would reduce to 0.00 or one digit."""
    for value, text in [(0.0, "0.00"), (0.012, "0.012"), (0.00034, "0.00034"), (0.5, "0.50"), (1234.5, "1,234.50")]:
        with subtests.test(value=value, text=text):
            assert format_amount(value) == text


def test_a_probability_never_reads_as_certain(subtests: pytest.Subtests) -> None:
    """Only 0 is 0%, and only 1 is 100%."""
    for value, text in [
        (0.0, "0%"),
        (0.004, "under 1%"),
        (0.125, "12%"),
        (0.996, "99.6%"),
        (0.9999, "over 99.9%"),
        (1.0, "100%"),
    ]:
        with subtests.test(value=value, text=text):
            assert format_percent(value) == text


def test_a_sentence_tells_the_hour_from_the_lifetime() -> None:
    """The record and the probability of the hour come first; the higher one of the whole lifetime names its end."""
    four = Evidence(4, 7, 113, "UTC")
    assert explain_warm(four, Chance(0.51, 1.0, 0.78, UNTIL)) == (
        "opened in 4 of the last 7 Fridays between 17:00 and 18:00 (UTC); 51% likely in that hour, 78% before the "
        "fetched entry expires at 2026-03-02 12:30 UTC"
    )
    assert explain_warm(four._replace(opens=0), Chance(0.2, 1.0, 0.96, None)) == (
        "not opened in the last 7 Fridays between 17:00 and 18:00 (UTC); 20% likely in that hour (the forecast also "
        "weighs how recent its opens are, other hours and similar reports), 96% within a day; the fetched entry lasts "
        "longer"
    )
    assert "29% likely in the part of that hour that is left, 78% before" in explain_warm(
        four, Chance(0.29, 0.4, 0.78, UNTIL)
    )


def _check(sentence: str, evidence: Evidence, chance: Chance) -> None:
    """The record is stated whole, each probability names what it covers, and a gap between them has its reason."""
    rate = evidence.opens / evidence.weeks if evidence.weeks else None
    assert explain_opens(evidence) in sentence
    assert f"{format_percent(chance.in_hour)} likely in" in sentence
    assert f"{format_percent(chance.in_lifetime)} {'within a day' if chance.until is None else 'before'}" in sentence
    if chance.hour_share <= 0.99:
        assert "in the part of that hour that is left" in sentence
    is_far = rate is None or abs(rate - chance.in_whole_hour) > 0.1
    assert any(reason in sentence for reason in REASONS) == is_far


@given(
    st.integers(0, 60).flatmap(lambda weeks: st.tuples(st.integers(0, weeks), st.just(weeks))),
    st.integers(0, 167),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    st.sampled_from([None, UNTIL]),
)
def test_no_record_contradicts_its_probability(
    record: tuple[int, int], hour: int, in_hour: float, more: float, share: float, until: datetime | None
) -> None:
    """For any record and probabilities: whatever differs from the record says of which time it is, and why."""
    evidence = Evidence(*record, hour, "Europe/Rome")
    chance = Chance(in_hour, share, 1 - (1 - in_hour) * (1 - more), until)
    _check(explain_warm(evidence, chance), evidence, chance)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 55 * 24)), min_size=1, max_size=40))
def test_no_history_gives_a_contradiction(opens: list[tuple[int, int]]) -> None:
    """The same for the records and probabilities that a forecast learns from random histories."""
    frame = pd.DataFrame({
        "ts": pd.DatetimeIndex([MONDAY - timedelta(hours=hours, minutes=20) for _, hours in opens]).as_unit("us"),
        "account_id": [f"act_{number}" for number, _ in opens],
        "date_range": "today",
        "report": "default",
        "time_zone": "UTC",
    })
    forecast = SeasonalForecast(build_observations(frame, Settings(), MONDAY))
    for row in forecast.predict(MONDAY, timedelta(hours=3), floor=0.0).itertuples():
        evidence = Evidence(row.opens, row.weeks, row.hour_of_week, row.time_zone)
        chance = Chance(row.probability, 1.0, 1 - (1 - row.probability) ** 3, UNTIL)
        sentence = explain_warm(evidence, chance)
        _check(sentence, evidence, chance)
        assert re.search(r"\d+%", sentence)
