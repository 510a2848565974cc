"""Tests of admission in SQL: the same grants and the same state as the rules in memory give."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.backpressure import (
    FLEET,
    CallOutcome,
    CallOutcomeKind,
    CallRequest,
    Decision,
    Grant,
    SharedBudget,
    SqlAdmission,
)
from adwarm.backpressure.scope_state import ScopeState
from adwarm.backpressure.sql_admission import Rows
from adwarm.foundation.errors import AdwarmError
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
from adwarm.settings import BackpressureSettings
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.tables import metadata
from tests.unit.backpressure.conftest import DatabaseClock

ACCOUNTS = [Scope(ScopeKind.ACCOUNT, f"act_{number}") for number in range(3)]
APP, TOKEN = Scope(ScopeKind.APP, "main"), Scope(ScopeKind.TOKEN, "t")
OK, FAILED, THROTTLED = CallOutcomeKind.OK, CallOutcomeKind.FAILED, CallOutcomeKind.THROTTLED


class FixedRandom(Random):
    """A generator whose numbers do not depend on how often it was asked."""

    def random(self) -> float:
        """Return the middle."""
        return 0.5


class Pair:
    """A budget in the database and one in memory, to which the same operations happen at the same times.

    Each operation compares its results.
    """

    def __init__(self, engine: Engine, rules: BackpressureSettings) -> None:
        self.time = DatabaseClock()
        self.engine = engine
        self.admission = SqlAdmission(engine, rules, owner="one", rng=FixedRandom(1), database_time=self.time)
        self.memory = SharedBudget(rules, FixedRandom(2))
        self.held: list[tuple[Grant, Grant]] = []

    def take(self, account: int, priority: int) -> None:
        """Request a permit."""
        scopes, class_ = (ACCOUNTS[account], APP, TOKEN), Priority(priority)
        self.memory.scope_state(FLEET, self.time.now)  # the database has its row from the first operation
        ours = self.admission.admit(CallRequest(scopes, class_, "meta"))
        self._compare(ours, self.memory.admit(CallRequest(scopes, class_, "meta"), self.time.now))

    def give_back(self, outcome: CallOutcome) -> None:
        """Return the oldest grant."""
        if self.held:
            mine, theirs = self.held.pop(0)
            self.admission.release(mine, outcome)
            self.memory.release(theirs, outcome, self.time.now)

    def renew(self) -> None:
        """Renew the oldest grant."""
        if not self.held:
            return
        mine, theirs = self.held.pop(0)
        try:
            renewed = self.memory.renew(theirs, self.time.now)
        except AdwarmError as error:
            with pytest.raises(type(error)):
                self.admission.renew(mine)
        else:
            self._compare(self.admission.renew(mine), renewed)

    def _compare(self, ours: Decision, theirs: Decision) -> None:
        assert type(ours) is type(theirs), (ours, theirs)
        if isinstance(ours, Grant) and isinstance(theirs, Grant):
            mine, other = ours, theirs
            for name in ("scopes", "priority", "cost", "source", "is_probe"):
                assert getattr(mine, name) == getattr(other, name)
            for name in ("granted_at", "expires_at"):
                assert getattr(mine, name) == pytest.approx(getattr(other, name), abs=1e-5)
            self.held.append((mine, other))
        else:
            assert vars_of(ours) == vars_of(theirs)

    def compare_state(self) -> None:
        """Compare every scope, breaker and grant."""
        stored = SharedBudget(self.memory.settings, FixedRandom(3))
        with read_transaction(self.engine) as connection:
            Rows(connection, stored).load_all(self.time)
        ours = {state.name: describe_scope(state) for state in stored.scopes.values()}
        theirs = {state.name: describe_scope(state) for state in self.memory.scopes.values() if state.name in ours}
        assert differences(ours, theirs) == []
        # In memory a scope exists from its first request, a source's breaker from its first grant.
        assert differences(describe_breakers(stored), describe_breakers(self.memory)) == []
        assert stored.last_token == self.memory.last_token
        assert len(stored.counted_grant_ids) == len(self.memory.counted_grant_ids)


def describe_scope(state: ScopeState) -> dict[str, Any]:
    """Return a scope as it is stored, with its parking."""
    parking = [state.parking.until, state.parking.reason, state.parking.since]
    return {**json.loads(state.to_json()), "parking": parking, "ledger": None}


def describe_breakers(budget: SharedBudget) -> dict[str, Any]:
    """Return the breakers as they are stored; probes by when they expire, because their ids are drawn at random."""
    found = {name: breaker.to_dict() for name, breaker in budget.breakers.items()}
    return {name: {**value, "probes": [expiry for _, expiry in value["probes"]]} for name, value in found.items()}


def vars_of(decision: Any) -> list[Any]:
    """Return the type of a refusal, its scope and reason, and about how long it is."""
    seconds = getattr(decision, "seconds", getattr(decision, "retry_after", None))
    return [type(decision), decision.scope, pytest.approx(seconds, abs=1e-3)]


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return where two stored values differ by more than rounding: six digits of a credit are stored."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        return [text for name in names for text in differences(one.get(name), other.get(name), f"{path}/{name}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [
            text
            for index, pair in enumerate(zip(one, other, strict=True))
            for text in differences(*pair, f"{path}/{index}")
        ]
    if isinstance(one, float | int) and isinstance(other, float | int):
        return [] if one == pytest.approx(other, rel=1e-7, abs=2e-4) else [f"{path}: {one} is not {other}"]
    return [] if one == other else [f"{path}: {one!r} is not {other!r}"]


def outcomes() -> st.SearchStrategy[CallOutcome]:
    """Outcomes of a call, mostly successes, some with usage figures."""
    usage = st.lists(
        st.builds(
            UsageSample,
            st.sampled_from([ACCOUNTS[0], APP, Scope(ScopeKind.APP, "other")]),
            st.sampled_from([0.0, 5.0, 60.0, 74.9, 80.0, 95.0]),
        ),
        max_size=2,
    ).map(tuple)
    good = st.builds(
        CallOutcome, st.just(OK), st.sampled_from([0.0, 0.2, 0.25, 0.3, 1.0]), st.one_of(st.just(()), usage)
    )
    bad = st.builds(
        CallOutcome,
        st.sampled_from([FAILED, THROTTLED, CallOutcomeKind.TIMEOUT, CallOutcomeKind.SKIPPED, OK]),
        st.sampled_from([0.0, 0.2, 30.0]),
    )
    return st.one_of(*[good] * 12, bad)


OPERATIONS = st.one_of(
    st.tuples(st.just("take"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("give_back"), outcomes()),
    st.tuples(st.just("renew")),
)
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.01, 0.01, 0.5, 2.5, 40.0, 1000.0]), st.lists(OPERATIONS, min_size=1, max_size=3)),
    min_size=5,
    max_size=30,
)
RULES = st.builds(
    BackpressureSettings,
    max_concurrent=st.sampled_from([3, 12, 50]),
    per_account_concurrent=st.sampled_from([1, 12]),
    rate_per_second=st.sampled_from([2.0, 50.0]),
    burst=st.sampled_from([20, 200]),
    account_calls_per_window=st.sampled_from([None, 2000]),
    shares=st.sampled_from([(0.4, 0.3, 0.2, 0.1), (0.5, 0.5, 0.0, 0.0)]),
)


def check_sequence(engine: Engine, rules: BackpressureSettings, steps: list[Any]) -> None:
    """Run the steps through the database and in memory, and compare after each."""
    with write_transaction(engine) as connection:
        for name in ("capacity_grant", "capacity_scope", "gate"):
            connection.execute(metadata.tables[name].delete())
    pair = Pair(engine, rules)
    for seconds, batch in steps:
        pair.time.now += seconds
        for name, *arguments in batch:
            getattr(pair, name)(*arguments)
            pair.compare_state()


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(rules=RULES, steps=STEPS)
def test_any_sequence_gives_the_same_grants_and_state(
    engine: Engine, rules: BackpressureSettings, steps: list[Any]
) -> None:
    """Takes, returns, renewals, throttles, failures and expiries: the database holds what memory holds at each step."""
    check_sequence(engine, rules, steps)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(rules=RULES, steps=STEPS)
def test_many_sequences_give_the_same_grants_and_state(
    engine: Engine, rules: BackpressureSettings, steps: list[Any]
) -> None:
    """The same over many more sequences."""
    check_sequence(engine, rules, steps)
