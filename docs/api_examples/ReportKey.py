from adwarm import ReportKey

key = ReportKey.parse(" act_1234567890", "last_30d")
assert key == ReportKey("act_1234567890", "last_30d", "default")
