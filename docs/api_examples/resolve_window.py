from datetime import UTC, date, datetime

from adwarm import Window, resolve_window

now = datetime(2026, 11, 2, 3, tzinfo=UTC)  # still November 1 in New York
assert resolve_window("yesterday", "America/New_York", now) == Window(date(2026, 10, 31), date(2026, 10, 31))
