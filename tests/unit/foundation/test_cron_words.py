"""Cron expressions in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.cron import describe_cron


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
