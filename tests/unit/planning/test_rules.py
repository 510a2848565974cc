"""The table of rules: every step answers, every reason has a next step, and every sentence can be filled in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import Account, EntryKey, Mode, ReportKey, Snapshot, Warm, WarmReason, WarmStatus, Window
from adwarm.planning.explanations import Evidence
from adwarm.planning.recommendation import Recommendation
from adwarm.planning.rule_sentences import describe_cut, explain_facts
from adwarm.planning.rules import LEFT_OUT, RULES
from adwarm.planning.why_not_warm import (
    ForecastState,
    FreshSpan,
    KeyDecision,
    KeyFacts,
    RunState,
    StepStatus,
    StrategyState,
)
from adwarm.store.entries import Entry
from adwarm.store.error_events import ErrorEvent
from adwarm.store.key_history import Obstacle
from adwarm.store.switches import Switch, SwitchState

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = ReportKey("act_1", "today")
moments = st.sampled_from([NOW + timedelta(minutes=minutes) for minutes in (-300, -90, -5, 0, 5, 90)])
maybe = st.none() | moments
texts = st.sampled_from(["", "no role {on} it"])


def _build_warm(**values: Any) -> Warm:
    return Warm(key=KEY, id=7, run_id="dag/run", mode=Mode.LIVE, **values)


def _build_entry(fetched_at: datetime, expires_at: datetime | None, degraded: bool, reason: str | None) -> Entry:
    key = EntryKey("act_1", Window(NOW.date(), NOW.date()), "0")
    return Entry(
        key, "today", "default", "zstd", 9, 9, fetched_at, expires_at, "meta", degraded=degraded, degraded_reason=reason
    )


def _build_item(warm_at: datetime) -> Recommendation:
    evidence = Evidence(3, 8, 9, "UTC")._asdict()
    return Recommendation(
        KEY, NOW, 0.4, warm_at, explanation={"why": "often", "probability": 0.4, "evidence": evidence}
    )


explanations = st.sampled_from([
    {},
    {"cut": "older"},
    *(describe_cut(name, _build_item(NOW), why="full", fresh_until=None) for name in LEFT_OUT),
])
rows = st.builds(
    _build_warm,
    reason=st.sampled_from(WarmReason),
    status=st.sampled_from(WarmStatus),
    decided_at=moments,
    predicted_open=maybe,
    warm_at=maybe,
    fetched_at=maybe,
    expires_at=maybe,
    error=st.none() | texts,
    strategy=st.none() | texts,
    explanation=explanations,
)
decisions = st.just(KeyDecision("unknown")) | st.builds(
    KeyDecision,
    st.sampled_from(["unlikely", "later", "not_due", "fresh", "too_short", "not_worth", "worth"]),
    st.builds(_build_item, moments),
    maybe,
    st.just(0.6),
    moments,
)
snapshot = Snapshot("abc", "boosted", "1", "def", NOW, NOW, 1, (), {}, NOW)
forecasts = st.builds(ForecastState, problem=st.just("it is gone")) | st.builds(
    ForecastState, decisions, st.just(""), st.just(snapshot), st.booleans(), maybe
)
facts = st.builds(
    KeyFacts,
    st.just(KEY),
    moments,
    st.just(NOW),
    st.none()
    | st.builds(Account, st.just("act_1"), status=st.sampled_from(["active", "denied", "closed"]), status_reason=texts),
    maybe,
    texts,
    st.lists(st.builds(SwitchState, st.sampled_from(Switch), st.booleans(), maybe, texts, texts), max_size=2).map(
        tuple
    ),
    st.none() | st.builds(_build_entry, moments, maybe, st.booleans(), st.none() | texts),
    st.lists(st.builds(FreshSpan, moments, maybe, texts, maybe), max_size=3).map(tuple),
    st.none() | rows,
    st.lists(st.builds(StrategyState, texts, texts, texts), max_size=2).map(tuple),
    maybe,
    st.none() | st.builds(RunState, moments, texts, maybe, st.booleans(), maybe, st.none() | rows),
    forecasts,
    st.lists(st.builds(ErrorEvent, moments, texts, texts, texts), max_size=1).map(tuple),
    st.lists(st.builds(Obstacle, maybe, texts), max_size=2).map(tuple),
)


@given(facts)
def test_every_key_gets_an_answer(facts: KeyFacts) -> None:
    """Whatever is recorded, each step says something until one has a reason: the answer, with its next step."""
    answer = explain_facts(facts)
    statuses = [step.status for step in answer.steps]
    place = statuses.index(StepStatus.DECISIVE)
    assert statuses == [StepStatus.OK] * place + [StepStatus.DECISIVE] + [StepStatus.NOT_REACHED] * (7 - place)
    because = answer.because.removeprefix("because ")
    assert answer.steps[place].text.startswith(because[:1].upper() + because[1:])
    assert answer.advice
    assert answer.is_warm or not facts.was_warm
    assert all(step.text.strip() == step.text and step.text.endswith((".", "it")) for step in answer.steps)


@pytest.mark.parametrize("step", RULES)
def test_a_step_is_complete(step: str) -> None:
    """Names differ, the last rule needs nothing to hold, and only a reason, which has a next step, is a clause."""
    rules = RULES[step]
    assert len({rule.name for rule in rules}) == len(rules)
    assert rules[-1].holds(KeyFacts(KEY, NOW, NOW))
    assert all(rule.sentence[0].isupper() != bool(rule.advice) for rule in rules)
