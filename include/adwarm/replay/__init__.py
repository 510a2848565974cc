"""Replays an access log: what a warming policy would have fetched, served and wasted, without look-ahead.

How much log a replay and a review need stands here, apart from both, so that a check need not load them.
"""

from datetime import timedelta

MIN_REPLAY_TRAINING, MIN_REPLAY_TEST = timedelta(days=14), timedelta(days=1)
"""How long the parts of a log must be at least that a replay learns from and scores."""
WEEK = timedelta(weeks=1)
MIN_TRAINING = 2 * WEEK
"""What a review learns from at least; it scores whole weeks after it."""
