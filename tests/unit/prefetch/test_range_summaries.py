"""A summary is asked for once per day of the account, and again when a day in it was restated."""

from datetime import UTC, date, datetime, timedelta

import pytest

from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.foundation.errors import Transient
from adwarm.model import Priority, ReportKey, Window
from adwarm.prefetch import KeyRequest, KeyStatus
from adwarm.prefetch.range_summaries import RangeSummary, find_due_summaries, version_sum
from adwarm.sources.protocol import FetchUnit, Increment, ResultPage
from adwarm.store import entries
from adwarm.store.partition_rows import check_not_emptied
from adwarm.store.partitions import PartitionState
from tests.unit.conftest import PrefetchHarness, one_ad_page

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))
CALENDAR = RefetchSchedule("UTC")
KEYS = [KeyRequest(ReportKey("act_1", name)) for name in ("yesterday", "last_7d", "last_30d")]


def _states(version: int = 1) -> dict[date, PartitionState]:
    return {day: PartitionState(day, "h", 1, "c", NOW, True, False, version, "v26.0") for day in WEEK.days()}


def _asked(bench: PrefetchHarness) -> list[Increment]:
    return [unit.increment for unit in bench.source.submitted]


def _restated(unit: FetchUnit) -> ResultPage:
    page = one_ad_page(unit)
    for row in page.rows:
        row["spend"] = "6.00"
    return page


@pytest.mark.parametrize(
    ("kept", "version", "later", "due"),
    [
        (False, 1, timedelta(0), True),
        (True, 1, timedelta(hours=11), False),
        (True, 1, timedelta(hours=13), True),
        (True, 2, timedelta(0), True),
    ],
)
def test_when_a_summary_is_due(kept: bool, version: int, later: timedelta, due: bool) -> None:
    """Never fetched, restated since, or fetched before the account's midnight; else it is kept."""
    found = {WEEK: RangeSummary([], NOW, version_sum(_states(), WEEK))} if kept else {}
    assert find_due_summaries([WEEK], found, _states(version), CALENDAR, NOW + later) == ([WEEK] if due else [])


def test_a_second_warm_of_the_day_asks_for_days_alone(bench: PrefetchHarness) -> None:
    """Six hours later yesterday is read again; nothing was restated, so the summaries are kept."""
    bench.prefetch.run(KEYS, Priority.LOW)
    bench.clock.sleep(6 * 3600 + 1)
    again = bench.prefetch.run(KEYS, Priority.LOW)

    assert _asked(bench) == [Increment.DAY, Increment.RANGE, Increment.DAY]
    assert [outcome.status for outcome in again.outcomes] == [KeyStatus.FETCHED] * 3
    assert again.calls == 1


def test_a_restatement_brings_a_new_summary(bench: PrefetchHarness) -> None:
    """When yesterday's figures have changed, the summaries that hold yesterday are asked for again."""
    bench.prefetch.run(KEYS, Priority.LOW)
    bench.clock.sleep(6 * 3600 + 1)
    bench.source.script = {"act_1": _restated}
    bench.prefetch.run(KEYS, Priority.LOW)

    assert _asked(bench) == [Increment.DAY, Increment.RANGE] * 2


def test_a_restatement_that_another_key_found_is_not_missed(bench: PrefetchHarness) -> None:
    """A day restated by a warm of `yesterday` alone makes the week's summary due at the week's next warm."""
    bench.prefetch.run(KEYS[:2], Priority.LOW)
    bench.clock.sleep(6 * 3600 + 1)
    bench.source.script = {"act_1": _restated}
    bench.prefetch.run(KEYS[:1], Priority.LOW)
    bench.prefetch.run(KEYS[1:2], Priority.LOW)

    assert _asked(bench) == [Increment.RANGE, Increment.DAY, Increment.RANGE]
    assert [len(unit.windows) for unit in bench.source.submitted] == [7 + 1, 1, 1]


def test_a_damaged_entry_has_no_summary_to_keep(bench: PrefetchHarness) -> None:
    """A degraded entry is made anew from the platform's words, its summary included."""
    bench.prefetch.run(KEYS[1:2], Priority.LOW)
    entries.mark_degraded(bench.engine, entries.list_entries(bench.engine)[0], "damaged")
    bench.prefetch.run(KEYS[1:2], Priority.LOW)

    assert [len(unit.windows) for unit in bench.source.submitted] == [7 + 1, 1]


def test_an_empty_answer_never_replaces_rows(bench: PrefetchHarness) -> None:
    """The older answer stays, and the outcome says why."""
    bench.prefetch.run(KEYS[:1], Priority.LOW)
    bench.clock.sleep(7 * 3600)
    bench.source.script = {"act_1": lambda unit: ResultPage([])}
    report = bench.prefetch.run(KEYS[:1], Priority.LOW)

    assert report.outcomes[0].status == KeyStatus.STALE
    assert "1 rows are stored" in str(report.outcomes[0].reason)


def test_no_rows_where_there_were_none_is_an_answer() -> None:
    """An account without delivery has no rows, today as before."""
    check_not_emptied("act_1", 0, 0)
    with pytest.raises(Transient, match="act_1"):
        check_not_emptied("act_1", 3, 0)
