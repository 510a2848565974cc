from adwarm import Runtime, load_patterns

hours = load_patterns(Runtime().context, "all")
print(hours.loc[hours["is_peak"], ["weekday_name", "hour", "opens_per_hour", "time_zone"]])
