"""A backfill fetches what is missing, newest block first, continues where it was stopped, and estimates its cost."""

from datetime import date, datetime, timedelta

import pytest

from adwarm.fetch_plan import TYPICAL_OBJECTS, aligned_block
from adwarm.foundation.errors import BadRequest, Denied, Throttled, TokenDead, Transient
from adwarm.model import Account, CauseKind, Window
from adwarm.prefetch.backfill import (
    BackfillResult,
    estimate,
    find_missing_spans,
    get_account_missing_spans,
    run_backfill,
    validate_range,
)
from adwarm.sources.protocol import Capabilities, FetchUnit, Increment, ResultPage
from adwarm.store import jobs, partitions
from adwarm.store.read_traffic import get_day_calls
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness, one_ad_page

RANGE = Window(date(2026, 6, 1), date(2026, 8, 29))
ACCOUNTS = [Account(f"act_{number}", "UTC", "UTC", "EUR") for number in (1, 2, 3)]


def _run(
    harness: PrefetchHarness, accounts: list[Account] = ACCOUNTS, window: Window = RANGE, **options: int
) -> BackfillResult:
    return run_backfill(harness.prefetch, accounts, window, **options)


def _days(harness: PrefetchHarness, account: str) -> set[date]:
    return set(partitions.list_states(harness.engine, account, harness.settings.spec("default").hash, RANGE))


def test_every_day_is_fetched_once_in_blocks(harness: PrefetchHarness) -> None:
    """Each account's days are fetched once, a block at a time, newest first, and without range summaries."""
    report = _run(harness)

    asked = [unit.windows[0] for unit in harness.source.submitted if unit.account_id == "act_1"]
    assert {unit.increment for unit in harness.source.submitted} == {Increment.DAY}
    assert sorted(day for window in asked for day in window.days()) == list(RANGE.days())
    assert asked == sorted(asked, reverse=True)
    assert all(aligned_block(window.since) == aligned_block(window.until) for window in asked)
    assert (report.ended, report.reasons) == ({"fetched": report.blocks}, {})
    assert _days(harness, "act_3") == set(RANGE.days())
    (cause,) = get_day_calls(harness.engine, harness.clock.now()).causes
    assert (cause.cause.kind, cause.calls) == (CauseKind.BACKFILL, report.requests)


@SQLITE_ONLY
def test_a_rerun_of_settled_days_makes_no_call(harness: PrefetchHarness) -> None:
    """Days that are stored and settled are not even planned."""
    _run(harness)
    asked = len(harness.source.submitted)

    again = _run(harness)

    assert (again.blocks, again.requests, len(harness.source.submitted)) == (0, 0, asked)


def test_a_stopped_backfill_continues(harness: PrefetchHarness) -> None:
    """After a stop in the middle only missing days are fetched, and no day twice."""
    stop_after = 5

    def stopping(unit: FetchUnit) -> ResultPage:
        if len(harness.source.submitted) > stop_after:
            raise KeyboardInterrupt
        return one_ad_page(unit)

    harness.source.script = {account.id: stopping for account in ACCOUNTS}
    with pytest.raises(KeyboardInterrupt):
        _run(harness)
    harness.source.script = {}
    before = {account.id: _days(harness, account.id) for account in ACCOUNTS}
    asked = len(harness.source.submitted)

    _run(harness)

    later = [(unit.account_id, day) for unit in harness.source.submitted[asked:] for day in unit.windows[0].days()]
    assert any(before.values())
    assert not any(day in before[account] for account, day in later)
    assert len(later) == len(set(later))
    assert all(_days(harness, account.id) == set(RANGE.days()) for account in ACCOUNTS)


@SQLITE_ONLY
def test_a_denied_account_does_not_stop_the_others(harness: PrefetchHarness) -> None:
    """It is tried once, left out of later blocks, and named in the result."""

    def deny(unit: FetchUnit) -> ResultPage:
        raise Denied("no access", account_id="act_2")

    harness.source.script = {"act_2": deny}
    report = _run(harness)

    assert [unit.account_id for unit in harness.source.submitted].count("act_2") == 1
    assert list(report.reasons.values()) == ["no access"]
    assert _days(harness, "act_1") == set(RANGE.days())


@SQLITE_ONLY
def test_a_parked_account_is_tried_again(harness: PrefetchHarness) -> None:
    """The backfill waits for a throttled account by the run's clock, and its days are fetched in the end."""
    throttles = [Throttled("slow down", scope="account:act_1", until=NOW + timedelta(milliseconds=20))]

    def throttled(unit: FetchUnit) -> ResultPage:
        if throttles:
            raise throttles.pop()
        return one_ad_page(unit)

    harness.source.script = {"act_1": throttled}
    report = _run(harness, ACCOUNTS[:1], Window(date(2026, 8, 1), date(2026, 8, 5)))

    assert (report.ended, report.reasons, throttles) == ({"fetched": 1}, {}, [])
    assert harness.clock.now() >= NOW + timedelta(seconds=1)


@SQLITE_ONLY
def test_a_batch_that_fails_whole_stops_the_backfill(harness: PrefetchHarness) -> None:
    """When a whole batch fails, continuing would only cause more errors; the error holds the reasons."""

    def down(unit: FetchUnit) -> ResultPage:
        raise Transient("the platform is down")

    harness.source.script = {account.id: down for account in ACCOUNTS}
    with pytest.raises(Transient, match="the platform is down"):
        _run(harness)


@SQLITE_ONLY
def test_progress_can_be_read_while_it_runs(harness: PrefetchHarness) -> None:
    """The job counts account-blocks and requests."""
    report = _run(harness, batch_size=2)

    [job] = jobs.list_latest(harness.engine)
    assert (job.dag_id, job.status, job.total, job.done) == ("backfill", "completed", 12, 12)
    assert job.requests == report.requests == len(harness.source.submitted) + len(harness.source.account_lookups)


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        (date(2023, 10, 1), date(2023, 11, 1), "37 months"),
        (date(2026, 11, 25), date(2026, 11, 30), "has not ended"),
    ],
)
def test_an_invalid_range_is_refused(since: date, until: date, words: str) -> None:
    """Older than the platform keeps, or not yet begun: the message says what to write."""
    with pytest.raises(BadRequest, match=words):
        validate_range(Window(since, until), NOW)
    validate_range(Window(date(2023, 11, 1), date(2026, 12, 31)), NOW)


@SQLITE_ONLY
def test_a_source_without_retention_has_old_days(harness: PrefetchHarness) -> None:
    """Where the source has no limit, such as a table, days older than 37 months are fetched like others."""
    old = Window(date(2019, 3, 1), date(2019, 3, 2))
    with pytest.raises(BadRequest, match="37 months"):
        run_backfill(harness.prefetch, ACCOUNTS[:1], old)
    harness.source.capabilities = Capabilities(retention_days=None)
    report = run_backfill(harness.prefetch, ACCOUNTS[:1], old)
    assert (report.reasons, sum(report.ended.values())) == ({}, 1)
    assert get_account_missing_spans(harness.prefetch.context, ACCOUNTS[0], old, NOW, "default") == ()


@SQLITE_ONLY
def test_days_that_are_still_open_are_left_out(harness: PrefetchHarness) -> None:
    """A range beyond an account's yesterday is fetched up to yesterday."""
    ahead = Account("act_9", "Pacific/Auckland", "Pacific/Auckland", "NZD")
    gaps = find_missing_spans(
        harness.prefetch.context,
        [ACCOUNTS[0], ahead],
        Window(date(2026, 11, 20), date(2026, 11, 30)),
        datetime(2026, 11, 25, 12, tzinfo=NOW.tzinfo),
        "default",
    )

    assert {gap.account.id: gap.spans[-1].until for gap in gaps} == {
        "act_1": date(2026, 11, 24),
        "act_9": date(2026, 11, 25),
    }


def _estimate(harness: PrefetchHarness, accounts: list[Account] = ACCOUNTS):
    gaps = find_missing_spans(harness.prefetch.context, accounts, RANGE, NOW, "default")
    return estimate(harness.prefetch.context, ((gap.account, gap.spans) for gap in gaps), "default")


@SQLITE_ONLY
def test_an_estimate_without_history_says_what_it_assumes(harness: PrefetchHarness) -> None:
    """Nothing stored: every day of the range, pages by the assumed rows, and a look-up of each new account."""
    unknown = [*ACCOUNTS, Account("act_4", currency="")]
    result = _estimate(harness, unknown)

    assert (result.accounts, result.days, result.rows_from, result.rows_per_day) == (
        4,
        360,
        "assumed",
        TYPICAL_OBJECTS["ad"],
    )
    assert result.requests == sum(-(-len(span) * 50 // 500) for span in _spans()) * 4 + 1
    assert 0 < result.hours_alone < result.hours_shared


def _spans() -> list[Window]:
    result: dict[date, list[date]] = {}
    for day in RANGE.days():
        result.setdefault(aligned_block(day).since, []).append(day)
    return [Window(days[0], days[-1]) for days in result.values()]


@SQLITE_ONLY
def test_an_estimate_matches_the_backfill(harness: PrefetchHarness) -> None:
    """With the rows of stored days measured, requests and days are those of the run; then nothing is left."""
    _run(harness, window=Window(RANGE.until - timedelta(days=2), RANGE.until))
    result, asked = _estimate(harness), len(harness.source.submitted)
    _run(harness)

    assert (result.rows_from, result.rows_per_day) == ("stored days", 1.0)
    assert result.requests == len(harness.source.submitted) - asked
    assert (_estimate(harness).days, _estimate(harness).requests) == (0, 0)


@SQLITE_ONLY
@pytest.mark.parametrize(
    "error",
    [
        TokenDead("the token is dead"),
        Transient("down"),
        BadRequest("no such field"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_stopped_backfill_raises_the_class_of_its_reason(harness: PrefetchHarness, error: Exception) -> None:
    """When a whole batch fails, the error has the class of the source's error."""

    def failing(unit: FetchUnit) -> ResultPage:
        raise error

    harness.source.script = {account.id: failing for account in ACCOUNTS}
    with pytest.raises(type(error), match=f"whole batch of 3 accounts failed.*{error}"):
        _run(harness)
