"""An entry is as old as the days in it: whatever was warmed, read, restated or refused before, in any order."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adwarm.compression import unpack_document
from adwarm.foundation.errors import AdwarmError, Transient
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, Priority, ReportKey
from adwarm.model.warm import PlannedWarm, WarmReason
from adwarm.planning.store_view import useful_until
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.serving import ReadStatus
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import accounts, data_arrivals, warms, write_transaction
from adwarm.store.columns import metadata
from adwarm.store.gates import table as gate
from tests.unit.conftest import SQLITE_ONLY, PrefetchHarness, ReaderHarness, one_ad_page

ZONE = "Europe/Berlin"
ACCOUNT = Account("act_1", ZONE, ZONE, "EUR")
RANGES = ("today", "yesterday", "last_3d", "last_7d", "last_30d", "last_week", "this_month", "2026-10-12..2026-10-16")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2026, 10, 21, tzinfo=UTC)
"""Four days before the clocks of the zone change."""
TICK, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("microseconds", "minutes", "hours", "days"))


@dataclass(repr=False)
class Dashboard:
    """One account over a source whose rows say in `spend` when they were read, in microseconds since `EPOCH`."""

    reading: ReaderHarness
    is_down: bool = False
    arrivals: dict[date, datetime] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        """The moment at which the clock stands."""
        return self.reading.harness.clock.now()

    def begin(self, at: datetime) -> None:
        """Begin with an empty store."""
        with write_transaction(self.reading.engine) as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        self.is_down, self.arrivals = False, {}
        self.reading.harness.clock.set(at)
        source = self.reading.harness.source
        source.script, source.zone = {"act_1": self._answer}, ZONE
        accounts.save(self.reading.engine, [ACCOUNT], at)

    def _answer(self, unit: FetchUnit) -> ResultPage:
        if self.is_down:
            raise Transient("the platform is down")
        page = one_ad_page(unit)
        for row in page.rows:
            row["spend"] = str((self.now - EPOCH) // TICK)
        return page

    def warm(self, ranges: tuple[str, ...], ahead: int | None) -> None:
        """Warm reports for an open in so many minutes, if one is expected, and check that they last until it."""
        until = None if ahead is None else self.now + ahead * MINUTE
        requests = [KeyRequest(ReportKey("act_1", name), fresh_until=until) for name in ranges]
        outcomes = self.reading.harness.prefetch.run(requests, Priority.LOW).outcomes
        for item in outcomes:
            longest = useful_until(item.request.key, ACCOUNT, self.now)
            if item.status.is_served and until is not None and until < longest:
                assert self.read(item.request.key, until).status is ReadStatus.HIT

    def read(self, key: ReportKey, at: datetime) -> Any:
        """Read a report at a moment; nothing is fetched for it."""
        before = self.now
        self.reading.harness.clock.set(at)
        result = self.reading.reader.read(key)
        self.reading.harness.clock.set(before)
        return result

    def wait(self, since: str, minutes: int) -> None:
        """Wait, or until so many minutes after the next midnight of the account; time passes between two events."""
        midnight = local_midnight(local_day(self.now, ZONE) + DAY, ZONE)
        start = midnight if since == "midnight" else self.now
        self.reading.harness.clock.set(max(self.now + TICK, start + minutes * MINUTE))

    def outage(self, name: str) -> None:
        """Let every call fail for a warm and a read of a report; afterwards nothing is refused because of it."""
        self.is_down = True
        self.warm((name,), None)
        with suppress(AdwarmError):  # nothing is stored
            self.reading.fetch(ReportKey("act_1", name))
        self.is_down = False
        with write_transaction(self.reading.engine) as connection:
            connection.execute(gate.delete())

    def restate(self, days_ago: int) -> None:
        """Report that data of a day has changed."""
        day = local_day(self.now, ZONE) - days_ago * DAY
        self.arrivals[day] = self.now
        hashes = [self.reading.harness.settings.spec("default").hash]
        with write_transaction(self.reading.engine) as connection:
            data_arrivals.save(connection, "act_1", [day], self.now, "test", hashes)

    def check(self) -> int:
        """Check every report that is a hit now, and return how many there are."""
        results = [self.reading.reader.read(ReportKey("act_1", name)) for name in RANGES]
        hits = [result for result in results if result.status is ReadStatus.HIT]
        for hit in hits:
            document = unpack_document(hit.blob, self.reading.harness.settings.compression)
            read_at = {
                date.fromisoformat(str(row["date_start"])): EPOCH + int(str(row["spend"])) * TICK
                for row in document.daily.to_rows()
            }
            assert sorted(read_at) == list(hit.entry.key.window.days())
            assert hit.entry.fetched_at == document.header.fetched_at == read_at[max(read_at)]
            assert hit.entry.expires_at is None or self.now < hit.entry.expires_at
            for day, moment in read_at.items():
                self._check_day(day, moment)
        return len(hits)

    def _check_day(self, day: date, read_at: datetime) -> None:
        """Check that a day is not beyond its class, as the table of the documentation has it."""
        assert self.arrivals.get(day, EPOCH) <= read_at
        if (local_day(read_at, ZONE) - day).days > 28:
            return  # final
        age = (local_day(self.now, ZONE) - day).days
        assert self.now - read_at < (3 * HOUR if age == 0 else 6 * HOUR if age == 1 else DAY if age <= 7 else 7 * DAY)
        assert read_at >= local_midnight(day + min(age, 2) * DAY, ZONE)


@pytest.fixture
def dashboard(reading: ReaderHarness) -> Iterator[Dashboard]:
    """A dashboard over the reader."""
    return Dashboard(reading)


WAITS = st.tuples(st.just("wait"), st.integers(1, 420)) | st.tuples(
    st.sampled_from(["wait", "midnight"]), st.sampled_from([-20, 5, 180, 360, 1440, 4000, 12000])
)
WARMS = st.tuples(
    st.just("warm"),
    st.lists(st.sampled_from(RANGES), min_size=1, max_size=2, unique=True).map(tuple),
    st.integers(-100, 400).map(lambda minutes: None if minutes < 0 else minutes),
)
OTHERS = st.tuples(st.just("restate"), st.integers(0, 9)) | st.tuples(st.just("outage"), st.sampled_from(RANGES))


@SQLITE_ONLY
@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, 9 * 24 * 60),
    steps=st.lists(st.tuples(WAITS, st.one_of(WARMS, WARMS, WARMS, OTHERS)), min_size=5, max_size=12),
)
def test_no_hit_has_a_day_beyond_its_class(dashboard: Dashboard, start: int, steps: list[Any]) -> None:
    """Whatever happens, a hit has no unfinished day that is too old, and it says when its newest day was read.

    A warm for an expected open lasts until it wherever a read of every day would.
    """
    dashboard.begin(START + start * MINUTE)
    for waiting, doing in steps:
        dashboard.wait(*waiting)
        dashboard.check()
        getattr(dashboard, doing[0])(*doing[1:])
        dashboard.check()


@SQLITE_ONLY
def test_a_report_of_stored_days_is_as_old_as_they_are(dashboard: Dashboard) -> None:
    """Days of 00:10 make a report at 06:00 that says 00:10 and ends at 06:10, whoever asks, also while calls fail."""
    midnight = local_midnight(date(2026, 10, 22), ZONE)
    dashboard.begin(midnight + 10 * MINUTE)
    dashboard.warm(("last_3d",), None)
    dashboard.reading.harness.clock.set(midnight + 6 * HOUR)
    dashboard.is_down = True
    result = dashboard.reading.fetch(ReportKey("act_1", "yesterday"))
    assert (result.status, result.age_seconds) == (ReadStatus.FETCHED, 350 * 60)
    assert result.entry is not None
    assert result.entry.expires_at == midnight + 370 * MINUTE
    dashboard.reading.harness.clock.set(midnight + 370 * MINUTE)
    late = dashboard.reading.fetch(ReportKey("act_1", "yesterday"))
    assert late.status is ReadStatus.STALE
    assert late.age_seconds == pytest.approx(360 * 60, abs=60)  # retries take a while


@SQLITE_ONLY
def test_a_warm_reads_the_days_that_would_be_old_at_the_open(harness: PrefetchHarness, dashboard: Dashboard) -> None:
    """A planned warm at 06:00 for an open at 06:05 reads yesterday again, which would be old in the session.

    The warm counts from when it was stored; an hour before nothing would have been read.
    """
    midnight = local_midnight(date(2026, 10, 22), ZONE)
    dashboard.begin(midnight + 10 * MINUTE)
    dashboard.warm(("last_3d",), None)
    for hour, calls in ((5, 0), (6, 1)):
        at, run = midnight + hour * HOUR, f"dag/{hour}"
        harness.clock.set(at)
        planned = {"reason": WarmReason.PREDICTED_OPEN, "decided_at": at, "warm_at": at}
        warm = PlannedWarm(key=ReportKey("act_1", "yesterday"), predicted_open=at + 5 * MINUTE, **planned)
        warms.replace_plan(harness.engine, run, [warm])
        assert warm_batch(harness.prefetch, run, 0).calls == calls
        (stored,) = warms.list_by_run(harness.engine, run)
        read_at = at if calls else midnight + 10 * MINUTE
        assert (stored.fetched_at, stored.expires_at) == (at, read_at + 6 * HOUR)
