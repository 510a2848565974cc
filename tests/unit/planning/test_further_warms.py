"""Arrived data and changed queries: planned within the budget, fetched once, and switched when enough is warm."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import Account, Mode, Priority, ReportKey, WarmReason
from adwarm.patterns.opens import opens_from_frame
from adwarm.planning.arrival_notice import Reporter, notify_data, parse_days
from adwarm.planning.decide import PlanScope, PlanSummary, decide
from adwarm.planning.further_warms import CLOSE_AFTER_MINUTES, SPREAD_MINUTES, find_closing_accounts, get_close_time
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.serving import Reader, ReadStatus
from adwarm.settings import Settings
from adwarm.store import Context, accounts, data_arrivals, report_versions, warms
from tests.unit.conftest import NOW, PrefetchHarness

YESTERDAY = "2026-11-24"
LIKELY, UNLIKELY = ReportKey("act_1", "last_7d"), ReportKey("act_1", "last_14d")


@dataclass
class Home:
    """A trained forecast, an engine, and a plan at a time."""

    harness: PrefetchHarness
    context: Context
    runs: int = 0

    def plan(self, mode: Mode = Mode.LIVE, *, hours: float = 0) -> PlanSummary:
        """Plan the further warms of a new run."""
        self.runs += 1
        at = NOW + timedelta(hours=hours)
        return decide(self.context, at, f"adwarm_intelligent_warming/{self.runs}", mode, scope=PlanScope.ONLY_FURTHER)

    def warm(self) -> None:
        """Carry the last plan out."""
        engine = replace(self.harness.prefetch, context=self.context)
        warm_batch(engine, f"adwarm_intelligent_warming/{self.runs}", 0)

    def read(self, key: ReportKey = LIKELY) -> ReadStatus:
        """Read a key as a reader does."""
        return Reader(self.context, self.harness.clock).read(key, record_traffic=False).status

    def list_planned(self) -> list[tuple[str, str, str]]:
        """Return account, range and report of the last plan."""
        rows = warms.list_by_run(self.context.engine, f"adwarm_intelligent_warming/{self.runs}")
        return [(row.key.account_id, row.key.date_range, str(row.reason)) for row in rows if row.status != "cut"]


@pytest.fixture
def home(harness: PrefetchHarness) -> Home:
    """Two accounts whose last week is opened every day at one; other ranges are never opened."""
    days = range(1, 57)
    rows = [
        {
            "account_id": f"act_{number}",
            "date_range": "last_7d",
            "report": "default",
            "time_zone": "UTC",
            "ts": NOW - timedelta(days=day) + timedelta(minutes=65),
        }
        for day in days
        for number in (1, 2)
    ]
    opens = pd.DataFrame(rows)
    opens["ts"] = pd.to_datetime(opens["ts"], utc=True)
    context = harness.prefetch.context
    forecast = train_seasonal(opens_from_frame(opens), context.settings, NOW)
    promote_snapshot(harness.engine, save_snapshot(context, forecast, metrics={}, at=NOW).id, NOW)
    accounts.save(harness.engine, [Account(f"act_{number}", "UTC", "UTC", "EUR") for number in (1, 2)], NOW)
    return Home(harness, context)


def _notify(home: Home, days: str = YESTERDAY, account: str = "act_1", minutes: float = 0) -> Any:
    at = NOW + timedelta(minutes=minutes)
    return notify_data(home.context, account, days, at, Reporter("test")).result


def test_arrived_data_is_warmed_where_an_open_is_expected(home: Home) -> None:
    """The report that is likely to be opened is fetched once more; the other one waits for its reader."""
    home.harness.prefetch.run([KeyRequest(LIKELY), KeyRequest(UNLIKELY)], Priority.LOW)
    home.harness.clock.sleep(60)
    assert _notify(home, minutes=1).entries == 2
    assert [home.read(LIKELY), home.read(UNLIKELY)] == [ReadStatus.STALE, ReadStatus.STALE]
    home.harness.source.submitted.clear()

    summary = home.plan()
    planned = home.list_planned()
    home.harness.clock.sleep(60)
    home.warm()

    assert (summary.arrived, summary.warms, planned) == (1, 1, [("act_1", "last_7d", "data_arrival")])
    assert [home.read(LIKELY), home.read(UNLIKELY)] == [ReadStatus.HIT, ReadStatus.STALE]
    assert len(home.harness.source.submitted) <= 2
    assert home.plan().warms == 0


def test_a_shadow_plan_settles_nothing(home: Home) -> None:
    """A plan that is not carried out leaves the arrival to the next one; a carried out one ends it."""
    _notify(home)
    home.plan(Mode.SHADOW)
    pending = data_arrivals.list_pending(home.context.engine, NOW - timedelta(hours=1))
    home.plan()
    assert len(pending) == 1
    assert data_arrivals.list_pending(home.context.engine, NOW - timedelta(hours=1)) == []


def test_without_calls_the_arrival_waits(home: Home) -> None:
    """What the budget cuts is recorded with its reason and planned again by a later run, for a day."""
    _notify(home)
    poor = home.context.settings.planning.model_copy(update={"max_calls_per_hour": 1})
    rich, home.context = (
        home.context,
        replace(home.context, settings=home.context.settings.model_copy(update={"planning": poor})),
    )
    assert home.plan().arrived == 0
    home.context = rich
    assert home.plan(hours=1).arrived == 1
    _notify(home, account="act_2")
    assert home.plan(hours=30).arrived == 0


def test_a_bad_notice_says_what_to_write(home: Home, subtests: pytest.Subtests) -> None:
    """Unknown accounts, other words, the future and too many days are refused, and nothing is recorded."""
    for account, days, kind, message in [
        ("act_9", YESTERDAY, NotFound, "act_9 is not stored"),
        ("x y", YESTERDAY, BadRequest, "account id"),
        ("act_1", "soon", BadRequest, "2026-11-24"),
        ("act_1", "2026-11-26", BadRequest, "in the future"),
        ("act_1", "2026-01-01..2026-11-01", BadRequest, "at most 90"),
        ("act_1", "2026-11-24..2026-11-01", BadRequest, "swap the two days"),
    ]:
        with subtests.test(account=account):
            with pytest.raises(kind, match=message):
                _notify(home, days, account)
            assert data_arrivals.list_pending(home.context.engine, NOW - timedelta(days=1)) == []


def test_one_day_and_two_are_days() -> None:
    """A single day is a window of one day."""
    assert str(parse_days("2026-11-24")) == "2026-11-24..2026-11-24"
    assert len(parse_days("2026-11-01..2026-11-24")) == 24


def _change(home: Home, hours: float = 0) -> Settings:
    """Return settings with a changed query, registered as a new process does it."""
    settings = Settings(workers=2, reports={"default": {"level": "campaign"}})
    return _register(home, settings, hours)


def _register(home: Home, settings: Settings, hours: float = 0) -> Settings:
    configured = {name: settings.configured_spec(name) for name in settings.reports}
    settings.use_specs(report_versions.register(home.context.engine, configured, NOW + timedelta(hours=hours)))
    return settings


def test_a_changed_query_is_warm_before_readers_get_it(home: Home) -> None:
    """Readers hit at every moment: the old query until the new one is warm, and then the new one, in one step."""
    keys = [ReportKey(f"act_{number}", "last_7d") for number in (1, 2)]
    _register(home, home.context.settings)
    home.harness.prefetch.run([KeyRequest(key) for key in keys], Priority.LOW)
    old = home.context.settings
    home.context = replace(home.context, settings=_change(home))
    assert [home.read(key) for key in keys] == [ReadStatus.HIT] * 2
    assert home.context.settings.spec("default") == old.spec("default")

    summary = home.plan()
    planned = home.list_planned()
    assert (summary.prepared, {reason for *_, reason in planned}) == (2, {str(WarmReason.SPEC_CHANGED)})
    assert [home.read(key) for key in keys] == [ReadStatus.HIT] * 2
    home.warm()
    assert home.context.settings.spec("default") == old.spec("default")

    home.plan()

    assert home.context.settings.spec("default").level == "campaign"
    assert [home.read(key) for key in keys] == [ReadStatus.HIT] * 2
    old.use_specs(report_versions.load_specs(home.context.engine, old.reports))
    assert old.spec("default").level == "campaign"


def test_a_query_that_is_half_warm_waits(home: Home) -> None:
    """Below the share of the settings readers keep the old query, and the share is stored for whoever looks."""
    _register(home, home.context.settings)
    home.context = replace(home.context, settings=_change(home))
    home.plan()
    [version] = [v for v in report_versions.list_versions(home.context.engine) if v.state == "preparing"]

    assert version.coverage == 0
    assert home.context.settings.spec("default").level == "ad"


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "Africa/Cairo"]


@given(st.sampled_from(ZONES), st.dates(date(2024, 1, 1), date(2027, 12, 31)), st.integers(1, 10**15))
def test_days_close_soon_after_their_own_midnight(zone: str, day: date, number: int) -> None:
    """Every day closes 30 to 180 minutes after the account's midnight, clock changes included."""
    moment = get_close_time(Account(f"act_{number}", zone), day)
    wait = timedelta(minutes=CLOSE_AFTER_MINUTES)
    assert (moment - wait - timedelta(minutes=SPREAD_MINUTES)).astimezone(ZoneInfo(zone)).date() <= day
    assert (moment - wait).astimezone(ZoneInfo(zone)).date() == day + timedelta(days=1)


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
    st.integers(5, 240),
)
@example("Europe/Berlin", datetime(2026, 3, 27, tzinfo=UTC), 15)
@example("America/New_York", datetime(2026, 10, 30, tzinfo=UTC), 15)
@example("Pacific/Auckland", datetime(2026, 4, 3, tzinfo=UTC), 15)
@example("Africa/Cairo", datetime(2026, 4, 22, tzinfo=UTC), 15)  # its clocks change at midnight
def test_each_day_closes_exactly_once(zone: str, start: datetime, minutes: int) -> None:
    """Runs of any length over five days, clock changes included, close each of the account's days once, in order."""
    account, step = Account("act_7", zone), timedelta(minutes=minutes)
    runs = (start + run * step for run in range(timedelta(days=5) // step))
    days = [day for run in runs for _, day in find_closing_accounts([account], run, run + step)]
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))]
    assert 4 <= len(days) <= 6


def test_accounts_are_spread() -> None:
    """Accounts of one zone close at many different times, each at the same one every day."""
    accounts = [Account(f"act_{n}") for n in range(200)]
    moments = {get_close_time(account, date(2026, 3, 1)) for account in accounts}
    assert len(moments) > 150
    shifts = {
        get_close_time(account, date(2026, 3, 2)) - get_close_time(account, date(2026, 3, 1)) for account in accounts
    }
    assert shifts == {timedelta(days=1)}


def test_only_active_accounts_are_closed() -> None:
    """Denied and closed accounts cost no call; the others are ordered by closing time."""
    accounts = [Account(f"act_{n}", status=status) for n, status in enumerate(("active", "denied", "closed", "active"))]
    since = datetime(2026, 3, 2, tzinfo=UTC)
    result = find_closing_accounts(accounts, since, since + timedelta(days=1))
    assert {account.id for account, _ in result} == {"act_0", "act_3"}
    moments = [get_close_time(account, day) for account, day in result]
    assert moments == sorted(moments)
