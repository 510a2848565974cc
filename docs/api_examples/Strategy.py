from adwarm import Strategy

strategy = Strategy("board meeting", ("last_30d", "this_month"), priority="high", max_calls_per_hour=50)
assert strategy.enabled
