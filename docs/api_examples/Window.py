from datetime import date

from adwarm import Window

window = Window(date(2026, 11, 1), date(2026, 11, 7))
assert (len(window), str(window)) == (7, "2026-11-01..2026-11-07")
