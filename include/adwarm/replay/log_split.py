"""Chooses which part of a log a replay learns from and which it replays, and says what fits when the log is short."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from adwarm.access_log.timestamps import to_micros
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.replay import MIN_REPLAY_TEST, MIN_REPLAY_TRAINING, MIN_TRAINING, WEEK

DAY = timedelta(days=1)
DEFAULT_TRAINING_WEEKS, DEFAULT_WEEKS = 8, 4


@dataclass(frozen=True, slots=True)
class TrainTestSplit:
    """Start of training, start of the test, and its end; UTC. Each moment belongs to the part that it begins.

    Raises:
        BadRequest: training is shorter than 14 days, or the test shorter than a day.
    """

    train_from: datetime
    test_from: datetime
    test_to: datetime

    def __post_init__(self) -> None:
        if self.test_from - self.train_from < MIN_REPLAY_TRAINING:
            raise BadRequest("training needs 14 days or more; move --train-from back or --test-from on")
        if self.test_to - self.test_from < MIN_REPLAY_TEST:
            raise BadRequest("the scored part is shorter than a day; move --test-to on")

    def micros(self) -> tuple[int, int, int]:
        """Return the three moments in microseconds since 1970."""
        return to_micros(utc(self.train_from)), to_micros(utc(self.test_from)), to_micros(utc(self.test_to))


def split_weeks(
    first: datetime, end: datetime, training_weeks: int | None = None, weeks: int | None = None
) -> tuple[TrainTestSplit, str | None]:
    """Return the split of a log, and a note when it is shorter than the default needs.

    Weeks that are asked for must fit. What is not asked for is 8 weeks of training and the 4 after them, or what fits:
    up to a third of the log is replayed, in whole weeks, or else the days after two weeks of training.

    Args:
        first: the log's first moment, UTC.
        training_weeks: weeks to learn from; None: up to 8.
        weeks: weeks to replay; None: up to 4.

    Raises:
        BadRequest: the log is too short; the message says how much it needs, and what would fit.
    """
    span = end - first
    learned, replayed = (training_weeks or DEFAULT_TRAINING_WEEKS) * WEEK, (weeks or DEFAULT_WEEKS) * WEEK
    needed = learned + replayed
    if span < MIN_TRAINING + DAY:
        raise BadRequest(
            f"a replay needs 15 days of log, two weeks to learn from and a day to replay; the log holds {_days(span)}: "
            f"wait until it holds more, or name more of its files"
        )
    least = (training_weeks or 2) * WEEK + (weeks * WEEK if weeks else DAY)
    if (training_weeks or weeks) and span < least:
        raise BadRequest(
            f"--train-weeks {learned // WEEK} and --weeks {replayed // WEEK} need {_days(needed)}; "
            f"the log holds {_days(span)}: {_offer(span)}"
        )
    if span >= needed:
        return TrainTestSplit(end - needed, end - replayed, end), None
    fitting = weeks * WEEK if weeks else _fitting(span, training_weeks)
    split = TrainTestSplit(max(first, end - fitting - learned), end - fitting, end)
    note = (
        f"the log holds {_days(span)}, and {learned // WEEK} weeks to learn from with {replayed // WEEK} to replay "
        f"need {_days(needed)}: replaying the last {_days(fitting)}, learning from the "
        f"{_days(split.test_from - split.train_from)} before them"
    )
    return split, note


def _fitting(span: timedelta, training_weeks: int | None) -> timedelta:
    """Return how much of a short log is replayed."""
    training = (training_weeks or 2) * WEEK
    whole = min(DEFAULT_WEEKS, max(span // 3 // WEEK, 1), (span - training) // WEEK)
    return whole * WEEK if whole else (span - training) // DAY * DAY


def _offer(span: timedelta) -> str:
    if span < MIN_TRAINING + WEEK:
        return "leave both out to replay the days that fit"
    weeks = _fitting(span, None) // WEEK
    return f"this fits: --train-weeks {min((span - weeks * WEEK) // WEEK, DEFAULT_TRAINING_WEEKS)} --weeks {weeks}"


def _days(span: timedelta) -> str:
    days = max(span // DAY, 0)
    return "1 day" if days == 1 else f"{days} days"
