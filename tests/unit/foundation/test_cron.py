"""Cron expressions in a zone: validation, and occurrences around clock changes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.cron import check_cron, describe_cron, find_latest, list_next
from adwarm.foundation.errors import BadRequest

BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_invalid_expressions_are_refused(subtests: pytest.Subtests) -> None:
    """Also what croniter accepts and would give another schedule to each process, or one without any occurrence."""
    for expression in [
        "",
        "hello",
        "0 7 * *",
        "* * * * * *",
        "61 * * * *",
        "0 0 30 2 *",
        "@reboot",
        "H 7 * * *",
        "0 R * * *",
        "0 r(1-5) * * *",
    ]:
        with subtests.test(expression=expression), pytest.raises(BadRequest, match="five fields"):
            check_cron(expression)


def test_usual_expressions_are_accepted(subtests: pytest.Subtests) -> None:
    """Aliases, names, ranges and the last day of a month."""
    for expression in ["@daily", "0 7 * * mon-fri", "*/15 6-9 * jan,mar 1#2", "0 0 l * *"]:
        with subtests.test(expression=expression):
            check_cron(expression)


def test_next_occurrences(subtests: pytest.Subtests) -> None:
    """A skipped time runs later the same day, a repeated one once, an hourly one every hour."""
    for expression, zone, after, expected in [
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["03-29 01:30", "03-30 00:30"]),  # 02:30 is skipped: at 03:30
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30"]),  # 02:30 twice: the first one
        ("0 * * * *", BERLIN, "2026-10-24T23:30", ["10-25 00:00", "10-25 01:00", "10-25 02:00"]),  # both 02:00
        ("0 * * * *", BERLIN, "2026-03-28T23:30", ["03-29 00:00", "03-29 01:00", "03-29 02:00"]),
        ("0 * * * *", LORD_HOWE, "2019-10-05T14:50", ["10-05 15:30", "10-05 16:00"]),  # 02:00 is skipped: at 02:30
        ("0 7 * * mon-fri", BERLIN, "2026-11-27T12:00", ["11-30 06:00", "12-01 06:00"]),
    ]:
        with subtests.test(expression=expression):
            assert [
                f"{moment:%m-%d %H:%M}" for moment in list_next(expression, zone, _at(after), len(expected))
            ] == expected


@given(
    st.sampled_from(["0 7 * * mon-fri", "30 2 * * *", "0 * * * *", "*/15 * * * *", "0 */6 * * *"]),
    st.sampled_from(["UTC", BERLIN, LORD_HOWE, "America/New_York"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
)
def test_latest_and_next_agree(expression: str, zone: str, moment: datetime) -> None:
    """The latest occurrence at a moment is the last one before the next one."""
    at = moment.replace(tzinfo=UTC)
    first, second = list_next(expression, zone, at, 2)
    assert at < first < second
    assert find_latest(expression, zone, first) == first
    assert find_latest(expression, zone, second - timedelta(seconds=1)) == first
    assert find_latest(expression, zone, at) <= at


def test_usual_expressions_have_words(subtests: pytest.Subtests) -> None:
    """The usual schedules are described; one without short words is shown as it is."""
    for expression, words in [
        ("0 7 * * mon-fri", "Monday to Friday at 07:00"),
        ("30 6,18 * * *", "every day at 06:30, 18:30"),
        ("0 */6 * * *", "every 6 hours from midnight"),
        ("15 */6 * * *", "every 6 hours from midnight, 15 minutes past the hour"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0 * * * 0,7", "Sunday, Sunday every hour"),
        ("@hourly", "every hour"),
        ("@weekly", "Sunday at 00:00"),
        ("0 3 1 * *", "on day 1 of each month at 03:00"),
        ("0 9-17 * * *", "the cron times `0 9-17 * * *`"),
        ("*/7 * * * *", "the cron times `*/7 * * * *`"),
        ("0 */5 * * *", "the cron times `0 */5 * * *`"),
        ("0 7 1 * mon", "the cron times `0 7 1 * mon`"),
        ("0 7 * 6 *", "the cron times `0 7 * 6 *`"),
        ("0 7 * * mon#2", "the cron times `0 7 * * mon#2`"),
    ]:
        with subtests.test(expression=expression, words=words):
            assert describe_cron(expression) == words


@given(st.text(alphabet="0123456789*/,-@#monfri ", max_size=30))
def test_any_text_is_described(expression: str) -> None:
    """A text that is no valid expression gets words, too, because stored rows may hold anything."""
    assert describe_cron(expression)
