"""Replays a made-up log of 60 dashboards: adwarm's forecasts beside the warm-up that Superset ships, its hourly top N.

`python -m tests.superset.replay` writes the log and prints the figures; it takes some minutes.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adwarm.cli.app import app

LOG = Path(".adwarm/superset-replay/opens.csv")
START, DAYS = datetime(2026, 8, 3, tzinfo=UTC), 12 * 7
DAILY, WEEKLY, ABROAD = 25, 15, 8
DASHBOARDS = 60


def list_opens() -> Iterator[tuple[datetime, int]]:
    """Yield opens of dashboards that people open daily, weekly, from abroad at night, and now and then."""
    chance = random.Random(20)
    weekdays = [day for number in range(DAYS) if (day := START + timedelta(days=number)).weekday() < 5]
    for dashboard in range(1, DASHBOARDS + 1):
        hour, weekday = chance.choice((7, 7, 8, 8, 8, 9, 9, 10, 13)), chance.randrange(5)
        if DAILY + WEEKLY < dashboard <= DAILY + WEEKLY + ABROAD:
            hour = chance.choice((22, 23, 1, 2, 3))
        at, spread = timedelta(hours=hour, minutes=chance.randrange(60)), chance.choice((4, 10, 20))
        for day in weekdays:
            usual = day + at + timedelta(minutes=chance.gauss(0, spread))
            if dashboard > DAILY + WEEKLY + ABROAD:
                usual, likely = day + timedelta(hours=chance.uniform(7, 18)), 0.3
            elif DAILY < dashboard <= DAILY + WEEKLY:
                likely = 0.9 * (day.weekday() == weekday)
            else:
                likely = 0.88
            if chance.random() < likely:
                yield usual, dashboard
            if likely == 0.88 and chance.random() < 0.3:
                yield usual + timedelta(hours=chance.uniform(4, 7)), dashboard


def count_forced(opens: list[tuple[datetime, int]], top: int, life: timedelta, weeks: int) -> tuple[float, float]:
    """Return the share of first opens of the last weeks that Superset's own task serves fresh, and its calls.

    Each full hour it fetches the `top` dashboards of the seven days before again, fresh or not; a miss fills the cache.
    Calls are multiples of those without warming.
    """
    since = START + timedelta(days=DAYS) - timedelta(weeks=weeks)
    filled = [dict.fromkeys(range(DASHBOARDS + 1), START - life) for _ in range(2)]
    hits, first, calls, hour = 0, 0, [0, 0], since
    last: dict[int, datetime] = {}
    for at, dashboard in opens:
        while hour <= at:
            recent = [item for moment, item in opens if hour - timedelta(days=7) <= moment < hour]
            for item in sorted(set(recent), key=recent.count, reverse=True)[:top]:
                filled[1][item] = hour
                calls[1] += 1
            hour += timedelta(hours=1)
        is_first = at - last.get(dashboard, START - life) > timedelta(minutes=30)
        last[dashboard] = at
        for which in (0, 1):
            is_hit = at < filled[which][dashboard] + life
            if not is_hit:
                filled[which][dashboard] = at
            if at >= since:
                calls[which] += not is_hit
                hits += is_hit and is_first and which == 1
        first += is_first and at >= since
    return hits / first, calls[1] / calls[0]


def main() -> None:
    """Write the log, and print the figures."""
    opens = sorted(list_opens())
    LOG.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{at:%Y-%m-%d %H:%M:%S},{dashboard},today" for at, dashboard in opens]
    LOG.write_text("\n".join(["ts,account_id,date_range", *lines, ""]))
    for top in (5, 10, 20, 40):
        hits, calls = count_forced(opens, top, timedelta(hours=3), 3)
        print(f"Superset's top {top} each hour, forced: {hits:.2f} of first opens fresh at {calls:.1f} times the calls")
    policies = "top-each-hour,forecast-adwarm,forecast-hour-of-week,popularity"
    app(["replay", str(LOG), "--policy", policies, "--ttl", "3h", "--min-opens", "5", "--weeks", "3"])


if __name__ == "__main__":
    main()
