from adwarm import Runtime, load_access_profiles

profiles = load_access_profiles(Runtime().context)
print(profiles[["account_id", "first_opens", "peak_hours", "quiet_hours", "evidence"]])
