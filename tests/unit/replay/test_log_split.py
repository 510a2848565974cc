"""Which part of a log is replayed, and what is said about a log that is short."""

from datetime import UTC, datetime, timedelta

import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.replay.replay_run import split_weeks

END = datetime(2026, 3, 2, tzinfo=UTC)


def test_weeks_follow_the_log(subtests: pytest.Subtests) -> None:
    """A long log gives the default, a short one what fits, and what is asked for is kept where it fits."""
    for days, asked, trained, replayed in [
        (200, (None, None), 56, 28),
        (84, (None, None), 56, 28),
        (83, (None, None), 56, 21),
        (56, (None, None), 42, 14),
        (23, (None, None), 16, 7),
        (18, (None, None), 14, 4),
        (40, (2, None), 14, 7),
        (40, (None, 2), 26, 14),
        (30, (3, 1), 21, 7),
    ]:
        with subtests.test(days=days):
            split, note = split_weeks(END - timedelta(days=days), END, *asked)

            assert ((split.test_from - split.train_from).days, (END - split.test_from).days) == (trained, replayed)
            needed = 7 * ((asked[0] or 8) + (asked[1] or 4))
            assert (note is None) == (days >= needed)
            if note:
                assert f"holds {days} days" in note
                assert f"need {needed} days" in note


def test_a_log_that_is_too_short_says_what_fits(subtests: pytest.Subtests) -> None:
    """The error states what is needed, what there is, and what would fit."""
    for days, asked, words in [
        (10, (None, None), "needs 15 days of log.*holds 10 days"),
        (1, (None, None), "holds 1 day:"),
        (23, (8, 4), "need 84 days.*holds 23 days: this fits: --train-weeks 2 --weeks 1"),
        (60, (None, 12), "this fits: --train-weeks 6 --weeks 2"),
        (18, (None, 1), "leave both out"),
    ]:
        with subtests.test(days=days), pytest.raises(BadRequest, match=words):
            split_weeks(END - timedelta(days=days), END, *asked)
