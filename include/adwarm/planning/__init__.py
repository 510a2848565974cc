"""What to warm, when, why and within which budget.

`adwarm.planning.plan` turns probabilities into recommendations; it needs numpy and pandas and is therefore not
imported here. The rest is light.
"""

from adwarm.planning.call_budget import calls_left, within_budget
from adwarm.planning.day_close import closes_at, closing_accounts
from adwarm.planning.expiry import useful_until
from adwarm.planning.recommendation import Plan, Recommendation
from adwarm.planning.strategies import DEFAULT_STRATEGIES, Strategy, batches, expand, shard_by_account

__all__ = [
    "DEFAULT_STRATEGIES",
    "Plan",
    "Recommendation",
    "Strategy",
    "batches",
    "calls_left",
    "closes_at",
    "closing_accounts",
    "expand",
    "shard_by_account",
    "useful_until",
    "within_budget",
]
