from adwarm import Runtime, load_popular_ranges

ranges = load_popular_ranges(Runtime().context)
print(ranges.loc[ranges["position"] == 1, ["account_id", "date_range", "share"]])
