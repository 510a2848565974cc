from datetime import timedelta

from adwarm import FreshnessRules

rules = FreshnessRules()
assert rules.today == timedelta(hours=3)
