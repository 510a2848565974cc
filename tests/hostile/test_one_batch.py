"""One batch over 45 hostile accounts and 15 healthy ones: the healthy are served, the hostile fail in time."""

from collections.abc import Mapping

import pytest

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
ACCOUNT_SECONDS = 60.0
PEAK_MB = 600.0
LONGEST_PARK_SECONDS = 86_400.0
DAYS = {"last_7d": 7, "last_90d": 90}

CAST: BehaviorByAccount = assign_behaviors()
BY_NAME = {behavior.name: account for account, behavior in CAST.items() if behavior is not None}
HEALTHY = [account for account, behavior in CAST.items() if behavior not in HOSTILE]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> TrialResult:
    """What came of the one batch."""
    return run_trial(tmp_path_factory.mktemp("home"), CAST, BATCH_SECONDS)


def _of(ended: Mapping[str, AccountOutcome], account: str) -> str:
    one = ended.get(account)
    return "no outcome" if one is None else f"{one.status}: {one.reason}"


def test_the_table_is_whole() -> None:
    """There are 45 hostile behaviors and 15 healthy accounts, each with a name and a line about it."""
    names = [behavior.name for behavior in (*HOSTILE, *ODD)]
    assert (len(HOSTILE), len(ODD) + PLAIN, len(CAST)) == (45, 15, 60)
    assert len(set(names)) == len(names)
    assert all(behavior.says for behavior in HOSTILE)


def test_the_batch_ends_by_itself(found: TrialResult) -> None:
    """No account keeps the batch from ending, or makes it fail as a whole; each has its outcome."""
    assert found.error == ""
    assert found.outcomes.keys() == CAST.keys()


@pytest.mark.parametrize("account", HEALTHY)
def test_healthy_accounts_are_served(found: TrialResult, account: str) -> None:
    """An account whose upstream behaves is fetched, and its stored answer is the whole truth."""
    assert _of(found.outcomes, account) in {"fetched: ", "fresh: "}
    rows, behavior = found.entries[account], CAST[account]
    if behavior is not None and behavior.name == "no_delivery":
        assert rows == []
    else:
        assert len(rows) == ADS * (DAYS[date_range(CAST, account)] + 1)
        assert sort_rows(rows) == expected_rows(account, rows)


@pytest.mark.parametrize("name", [behavior.name for behavior in HOSTILE])
def test_hostile_accounts_fail_with_a_reason_in_time(found: TrialResult, name: str) -> None:
    """An account whose upstream misbehaves ends without an answer, with a reason, within its deadline."""
    account = BY_NAME[name]
    assert account in found.outcomes
    ended = found.outcomes[account]
    assert ended.status in {"failed", "parked", "stale"}, _of(found.outcomes, account)
    assert ended.reason
    assert ended.seconds is not None
    assert ended.seconds < ACCOUNT_SECONDS
    assert (ended.retry_after or 0.0) <= LONGEST_PARK_SECONDS
    assert account not in found.entries


def test_nothing_untrue_is_stored(found: TrialResult) -> None:
    """Every row in entries, partitions and objects is one that its account has; no account is there unasked."""
    assert found.false_records == []


def test_the_token_goes_nowhere_else(found: TrialResult) -> None:
    """A redirect to another port never carries the token there."""
    assert not found.token_leaked


def test_memory_stays_bounded(found: TrialResult) -> None:
    """The batch's own peak stays below its bound, whatever is sent."""
    assert 0 < found.peak_mb < PEAK_MB
