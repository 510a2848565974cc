from adwarm import AdwarmError, ReportKey

try:
    ReportKey.parse("not an account", "last_7d")
except AdwarmError as error:  # the base of every error adwarm raises
    print(type(error).__name__, error)
