"""How many alarms change on the first of a month only because the scan changes, and how many when it begins later.

Each first of a month is scanned twice on equal data: as the month before would go on, and as the new month. The
baseline, in the same run, is a month whose scan begins a month later, with the priors of the month alone.

    python -m tests.benchmarks.fatigue_months
"""

import sys
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from adwarm.fatigue.alarm import detect
from adwarm.fatigue.as_of import month_before
from adwarm.fatigue.panel import AdPanel
from adwarm.fatigue.prior import AccountPrior, measure_priors
from adwarm.fatigue.score import SCAN_DAYS
from adwarm.settings import FatigueSettings
from tests.benchmarks.fatigue_ads import SimulationSettings, simulate_ads
from tests.benchmarks.fatigue_product import cut_days
from tests.benchmarks.measure import save_results, sized

SEEDS: Final = sized((7_101, 7_102, 7_103), (7_101,))
SIMULATED: Final = SimulationSettings(ads=sized(800, 40), days=330, fatigued=0.6)
SETTLE_DAYS: Final = 28
PRIOR_DAYS: Final = 90
LEAST_COLUMN: Final = 185
"""First day that counts: by then every scan has its full history."""
_ALARM: Final = 2


def compare(panel: AdPanel, *, takes_over: bool) -> Counter[str]:
    """Return the counts of alarms on each first of a month, by what becomes of them."""
    counts: Counter[str] = Counter()
    for month in _list_months(panel):
        old, old_start = _scan(panel, month_before(month), month, takes_over=takes_over)
        new, new_start = _scan(panel, month, month, takes_over=takes_over)
        before, after = old.level[:, -1] == _ALARM, new.level[:, -1] == _ALARM
        moved = old.alarm_since[:, -1] + old_start != new.alarm_since[:, -1] + new_start
        counts["alarms"] += int(before.sum())
        counts["end"] += int((before & ~after).sum())
        counts["begin"] += int((~before & after).sum())
        counts["go on"] += int((before & after).sum())
        counts["other first day"] += int((moved & before & after).sum())
    return counts


def _list_months(panel: AdPanel) -> list[date]:
    days = (panel.first_day + timedelta(days=number) for number in range(LEAST_COLUMN, panel.days))
    return [day for day in days if day.day == 1]


def _scan(panel: AdPanel, month: date, until: date, *, takes_over: bool) -> tuple[Any, int]:
    """Return the alarms of the month's scan up to a day, and the column in which it begins."""
    settings = FatigueSettings()
    first_of_scan = month - timedelta(days=SCAN_DAYS)
    start = month_before(month) - timedelta(days=SCAN_DAYS) if takes_over else first_of_scan
    first = panel.column(start)
    shown = cut_days(panel, first, panel.column(until) + 1)
    before = _measure(panel, month_before(month)) if takes_over else None
    return detect(shown, _measure(panel, month), settings, before, shown.column(month)), first


def _measure(panel: AdPanel, month: date) -> Mapping[str, AccountPrior]:
    until = panel.column(month) - SETTLE_DAYS
    return measure_priors(cut_days(panel, max(0, until - PRIOR_DAYS), until), panel.last_day)


def main() -> int:
    """Run, print the table and write it."""
    totals: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for seed in SEEDS:
        panel = simulate_ads(seed, SIMULATED).panel
        for takes_over, counts in totals.items():
            counts.update(compare(panel, takes_over=takes_over))
    rows = []
    for takes_over, counts in totals.items():
        rows.append({
            "scan of the month": "begins with the month before" if takes_over else "begins a month later (baseline)",
            "alarms": counts["alarms"],
            "end, %": 100 * counts["end"] / counts["alarms"],
            "begin, %": 100 * counts["begin"] / counts["alarms"],
            "other first day, %": 100 * counts["other first day"] / counts["go on"],
        })  # fmt: skip
    save_results("fatigue_months", "Alarms on the first of a month, equal data", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
