"""Trains forecasts, evaluates them on held-out days, and promotes the best.

How much log training needs stands here, apart from the models, so that a check need not load them.
"""

from datetime import timedelta

HOLDOUT_PERIOD = timedelta(days=7)
MIN_LOG_BEFORE_HOLDOUT = timedelta(days=7)
"""Log before the held-out week that comparing kinds needs."""
MIN_WORKING_DAYS = 18
"""Working days that training needs; with fewer the adwarm model is the weekly profile alone."""
