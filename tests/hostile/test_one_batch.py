"""One batch over 51 hostile accounts and 15 healthy ones: the healthy are served, the hostile fail in time."""

from collections.abc import Mapping

import pytest

from adwarm.sources.row_check import ROW_ERROR_CODE
from tests.faults.fault_results import FaultRow, save_rows
from tests.hostile.behaviors import HOSTILE, ODD
from tests.hostile.rows import ADS
from tests.hostile.trial import (
    PLAIN,
    AccountOutcome,
    BehaviorByAccount,
    TrialResult,
    assign_behaviors,
    date_range,
    expected_rows,
    run_trial,
    sort_rows,
)

BATCH_SECONDS = 240.0
FOREIGN_ROWS = (
    "foreign_account",
    "one_foreign_row",
    "days_before",
    "days_ahead",
    "foreign_summaries",
    "summaries_outside",
    "report_foreign_rows",
    "report_days_outside",
)
"""Behaviors whose answers hold rows that were not asked for."""
ACCOUNT_SECONDS = 60.0
PEAK_MB = 600.0
LONGEST_PARK_SECONDS = 86_400.0
DAYS = {"last_7d": 7, "last_90d": 90}

CAST: BehaviorByAccount = assign_behaviors()
BY_NAME = {behavior.name: account for account, behavior in CAST.items() if behavior is not None}
HEALTHY = [account for account, behavior in CAST.items() if behavior not in HOSTILE]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> TrialResult:
    """The result of the one batch; its row of the table of faults is saved."""
    ended = run_trial(tmp_path_factory.mktemp("home"), CAST, BATCH_SECONDS)
    lost = len([name for name in HEALTHY if name not in ended.entries])
    fault = f"upstream that misbehaves in {len(HOSTILE)} ways beside {len(HEALTHY)} healthy accounts"
    save_rows("hostile_batch", [FaultRow(fault, len(HOSTILE), lost, len(ended.false_records))])
    return ended


def _of(ended: Mapping[str, AccountOutcome], account: str) -> str:
    one = ended.get(account)
    return "no outcome" if one is None else f"{one.status}: {one.reason}"


def test_the_table_is_complete() -> None:
    """There are 51 hostile behaviors and 15 healthy accounts, each with a name and a description."""
    names = [behavior.name for behavior in (*HOSTILE, *ODD)]
    assert (len(HOSTILE), len(ODD) + PLAIN, len(CAST)) == (51, 15, 66)
    assert len(set(names)) == len(names)
    assert all(behavior.description for behavior in HOSTILE)


def test_the_batch_ends_by_itself(result: TrialResult) -> None:
    """No account keeps the batch from ending, or fails it as a whole; each has an outcome."""
    assert result.error == ""
    assert result.outcomes.keys() == CAST.keys()


def test_healthy_accounts_are_served(result: TrialResult) -> None:
    """An account whose upstream behaves is fetched, and its stored entry has all true rows."""
    ended = {account: _of(result.outcomes, account) for account in HEALTHY}
    assert {account: text for account, text in ended.items() if text not in {"fetched: ", "fresh: "}} == {}
    for account in HEALTHY:
        rows, behavior = result.entries[account], CAST[account]
        if behavior is not None and behavior.name == "no_delivery":
            assert rows == []
        else:
            assert len(rows) == ADS * (DAYS[date_range(CAST, account)] + 1), account
            assert sort_rows(rows) == expected_rows(account, rows), account


def test_hostile_accounts_fail_with_a_reason_in_time(result: TrialResult) -> None:
    """An account whose upstream misbehaves ends without an entry, with a reason, within its deadline."""
    faults = {behavior.name: _faults(result, BY_NAME[behavior.name]) for behavior in HOSTILE}
    assert {name: found for name, found in faults.items() if found} == {}


def _faults(result: TrialResult, account: str) -> list[str]:
    """Return what is wrong with the end of a hostile account."""
    ended = result.outcomes.get(account)
    if ended is None:
        return ["no outcome"]
    checks = {
        f"ended as {ended.status}": ended.status in {"failed", "parked", "stale"},
        "no reason": bool(ended.reason),
        f"took {ended.seconds} s": ended.seconds is not None and ended.seconds < ACCOUNT_SECONDS,
        f"parked for {ended.retry_after} s": (ended.retry_after or 0.0) <= LONGEST_PARK_SECONDS,
        "an entry is stored": account not in result.entries,
    }
    return [text for text, holds in checks.items() if not holds]


def test_refused_rows_are_recorded(result: TrialResult) -> None:
    """Rows of another account or outside the range are refused as Corrupt, which the error history shows."""
    recorded = {name: result.errors.get(BY_NAME[name], set()) for name in FOREIGN_ROWS}
    assert {name: found for name, found in recorded.items() if ("Corrupt", ROW_ERROR_CODE) not in found} == {}


def test_no_untrue_row_is_stored(result: TrialResult) -> None:
    """Every row in entries, partitions and objects belongs to its account; no other account is stored."""
    assert result.false_records == []


def test_the_token_goes_nowhere_else(result: TrialResult) -> None:
    """A redirect to another port never carries the token there."""
    assert not result.token_leaked


def test_memory_stays_bounded(result: TrialResult) -> None:
    """The peak memory of the batch stays below its bound, whatever is sent."""
    assert 0 < result.peak_mb < PEAK_MB
