"""What to warm, when, why and within which budget.

`adwarm.planning.plan` turns probabilities into recommendations; it needs numpy and pandas and is therefore not
imported here. The rest is light.
"""

from adwarm.planning.call_budget import get_calls_left, split_by_budget
from adwarm.planning.day_close import find_closing_accounts, get_close_time
from adwarm.planning.expiry import useful_until
from adwarm.planning.recommendation import Recommendation, WarmPlan
from adwarm.planning.strategies import DEFAULT_STRATEGIES, batch_by_account, expand_keys, split_into_batches

__all__ = [
    "DEFAULT_STRATEGIES",
    "Recommendation",
    "WarmPlan",
    "batch_by_account",
    "expand_keys",
    "find_closing_accounts",
    "get_calls_left",
    "get_close_time",
    "split_by_budget",
    "split_into_batches",
    "useful_until",
]
