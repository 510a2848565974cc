from adwarm import QuerySpec

spec = QuerySpec(level="campaign", fields=("impressions", "spend"))
assert len(spec.hash) == 12
