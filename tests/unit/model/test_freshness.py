"""Freshness by age in the account's zone, and when data is final."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import FreshnessRules, Window, expires_at, is_settled

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TODAY = date(2026, 11, 25)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_freshness_follows_the_newest_day(subtests: pytest.Subtests) -> None:
    """3 h today, 6 h yesterday, a day up to a week, a week up to 28 days, then forever, whatever the first day is."""
    for age, life in [
        (-1, 3 * HOUR),
        (0, 3 * HOUR),
        (1, 6 * HOUR),
        (2, DAY),
        (7, DAY),
        (8, 7 * DAY),
        (28, 7 * DAY),
        (29, None),
    ]:
        with subtests.test(age=age, life=life):
            until = TODAY - age * DAY
            expected = None if life is None else NOON + life
            assert expires_at(Window(until, until), "UTC", NOON) == expected
            assert expires_at(Window(until - 90 * DAY, until), "UTC", NOON) == expected


def test_the_age_is_counted_in_the_accounts_zone() -> None:
    """At noon UTC it is already tomorrow in Auckland, which is 13 hours ahead in summer."""
    window = Window(TODAY, TODAY)
    assert expires_at(window, "UTC", NOON) == NOON + 3 * HOUR
    assert expires_at(window, "Pacific/Auckland", NOON) == NOON + 6 * HOUR


def test_the_rules_can_be_changed() -> None:
    """Every duration is a parameter."""
    rules = FreshnessRules(today=HOUR, yesterday=2 * HOUR, week=3 * HOUR, settling=4 * HOUR, settle_days=10)
    found = [expires_at(Window(TODAY - age * DAY, TODAY - age * DAY), "UTC", NOON, rules) for age in (0, 1, 5, 10, 11)]
    assert found == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR, NOON + 4 * HOUR, None]


@given(age=st.integers(0, 60), older=st.integers(0, 30))
def test_older_data_is_never_fresh_for_less(age: int, older: int) -> None:
    """The duration never decreases with age, and final data stays final."""
    rules = FreshnessRules()
    young, old = rules.max_age(age), rules.max_age(age + older)
    assert old is None or (young is not None and young <= old)


@given(age=st.integers(-2, 60), zone_name=st.sampled_from(["UTC", "Asia/Tokyo", "America/Los_Angeles"]))
def test_settled_data_never_expires(age: int, zone_name: str) -> None:
    """A day is settled exactly when its entry never expires."""
    day = TODAY - age * DAY
    assert is_settled(day, zone_name, NOON) is (expires_at(Window(day, day), zone_name, NOON) is None)


def test_a_day_settles_after_28_days_by_the_fetch() -> None:
    """The time of the fetch decides, at the account's midnight."""
    day = date(2026, 10, 27)
    midnight = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
    assert not is_settled(day, "America/Los_Angeles", midnight - timedelta(seconds=1))
    assert is_settled(day, "America/Los_Angeles", midnight)
