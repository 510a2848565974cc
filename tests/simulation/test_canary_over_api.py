"""The key that is warmed is the key that the read API serves, around midnight and daylight saving changes.

The expected days are computed here from `zoneinfo` alone, so that they share no code with the product.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.errors import NotFound
from adwarm.model import Priority, ReportKey, TokenScope
from adwarm.prefetch import KeyRequest
from adwarm.store import write_transaction
from adwarm.store.tables import metadata
from adwarm_client.exchange import NotReady
from adwarm_client.http_clients import AsyncClient
from tests.simulation.served import ServedHome

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
RANGES = ("today", "yesterday", "last_7d", "this_month")
DAYS = {
    "Pacific/Auckland": (date(2026, 4, 5), date(2026, 9, 27), date(2026, 11, 25)),
    "Asia/Kolkata": (date(2026, 3, 29), date(2026, 11, 25), date(2026, 12, 31)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25), date(2026, 11, 30)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1), date(2026, 11, 25)),
    "America/St_Johns": (date(2026, 3, 8), date(2026, 11, 1), date(2026, 2, 28)),
}
"""By zone: days on which the clocks change, and ordinary ones."""
ZONES_AND_DAYS = [(zone, day) for zone, days in DAYS.items() for day in days]


def midnight(day: date, zone: str) -> datetime:
    """Return the first moment of a local day, UTC. None of these zones changes its clocks at midnight."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def expected_days(date_range: str, today: date) -> tuple[date, date]:
    """Return the first and the last day that a preset means on a local day."""
    yesterday = today - DAY
    return {
        "today": (today, today),
        "yesterday": (yesterday, yesterday),
        "last_7d": (today - 7 * DAY, yesterday),
        "this_month": (today.replace(day=1), today),
    }[date_range]


class Canary:
    """Warms keys of one account and reads them over HTTP.

    Args:
        home: a home.
        account_id: an account that nothing is stored for.
    """

    def __init__(self, home: ServedHome, account_id: str) -> None:
        self.home = home
        self.keys = [ReportKey(account_id, name) for name in RANGES]
        self.headers = home.make_headers(TokenScope.READ)

    def warm(self, at: datetime) -> None:
        """Fetch the keys at a moment."""
        self.home.clock.set(at)
        result = self.home.runtime.prefetch_engine().run([KeyRequest(key) for key in self.keys], Priority.LOW)
        assert all(outcome.status.is_served for outcome in result.outcomes)

    def read(self, moments: Sequence[datetime]) -> list[dict[str, tuple[str, tuple[date, date] | None]]]:
        """Return at each moment, by date range, what the API answers and the days of the document."""

        async def read() -> list[dict[str, tuple[str, tuple[date, date] | None]]]:
            async with self.home.serve(self.headers) as http:
                token = self.headers["Authorization"].removeprefix("Bearer ")
                client = AsyncClient("http://localhost", token, False, http=http)
                answers = []
                for moment in moments:
                    self.home.clock.set(moment)
                    answers.append({key.date_range: await _read(client, key) for key in self.keys})
                return answers

        return asyncio.run(read())


async def _read(client: AsyncClient, key: ReportKey) -> tuple[str, tuple[date, date] | None]:
    try:
        answer = await client.report(key.account_id, key.date_range, wait=0)
    except (NotFound, NotReady):
        return "missing", None
    header = answer.document.header
    return answer.status, (header.since, header.until)


def _check(canary: Canary, zone: str, day: date, before: timedelta, after: timedelta) -> None:
    """Warm before the midnight that begins `day`, read up to and beyond it, warm again, and read once more."""
    start = midnight(day, zone)
    yesterday = {name: ("hit", expected_days(name, day - DAY)) for name in RANGES}
    today = {name: expected_days(name, day) for name in RANGES}
    canary.warm(start - before)
    late, last, first, later = canary.read([start - before, start - SECOND, start, start + after])

    assert late == last == yesterday
    for answers in (first, later):
        assert answers["today"] == ("missing", None)
        assert all(days in {None, today[name]} for name, (_, days) in answers.items())
    canary.warm(start + after)
    assert canary.read([start + after]) == [{name: ("hit", days) for name, days in today.items()}]


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Pacific/Auckland", date(2026, 4, 5)),  # back, and the first zone to see a day
        ("Pacific/Auckland", date(2026, 9, 27)),
        ("Asia/Kolkata", date(2026, 12, 31)),  # never changes; the end of a year
        ("Europe/Berlin", date(2026, 3, 29)),
        ("America/New_York", date(2026, 11, 1)),
        ("America/St_Johns", date(2026, 2, 28)),  # an ordinary night, half an hour beside the others
    ],
)
def test_what_was_warmed_is_served_until_midnight(tmp_path: Path, sqlite_engine: Engine, zone: str, day: date) -> None:
    """Into and out of days on which the clocks change, each key is a hit of its own days, and then of the next ones."""
    for start in (day, day + DAY):
        home = _make_home(tmp_path, sqlite_engine, zone, midnight(start, zone) - DAY)
        _check(Canary(home, f"act_{start:%Y%m%d}"), zone, start, timedelta(hours=2), timedelta(hours=1))


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone_and_day=st.sampled_from(ZONES_AND_DAYS),
    before=st.integers(2, 3 * 3_600 - 2),
    after=st.integers(1, 6 * 3_600),
    number=st.integers(1, 10**12),
)
def test_no_moment_serves_the_days_of_another(
    tmp_path: Path, sqlite_engine: Engine, zone_and_day: tuple[str, date], before: int, after: int, number: int
) -> None:
    """The same for any seconds before and after the midnight, as long as today's data is fresh."""
    zone, day = zone_and_day
    with write_transaction(sqlite_engine) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    home = _make_home(tmp_path, sqlite_engine, zone, midnight(day, zone) - DAY)
    _check(Canary(home, f"act_{number}"), zone, day, timedelta(seconds=before), timedelta(seconds=after))


def _make_home(folder: Path, engine: Engine, zone: str, now: datetime) -> ServedHome:
    home = ServedHome(folder / "home", zone, now, pointer_seconds=1)
    home.runtime.engine = home.server.engine = engine
    return home
