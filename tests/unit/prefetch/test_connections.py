"""Several tokens in one batch: each account is read by the one it belongs to, and none by a dead or a denied one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.prefetch.conftest import Staging, source_of

from adwarm.store import accounts

EUROPE = ("act_5", "act_6")


@pytest.fixture
def two_tokens(make_staging: Callable[..., Staging]) -> Staging:
    """A platform with two tokens, and an engine that has both."""
    staging = make_staging({"tokens": {"eu-token": EUROPE}})
    settings = staging.prefetch.settings.source
    sources = {"eu": source_of(settings, "eu-token", staging.clock, "eu")}
    return replace(staging, prefetch=replace(staging.prefetch, sources=sources))


def statuses(report: Any) -> list[str]:
    """How each key ended."""
    return [str(outcome.status) for outcome in report.outcomes]


def test_each_account_is_read_by_its_own_token(two_tokens: Staging) -> None:
    """An account nobody knows finds its token once; from then on its row says which, and no call is refused."""
    report = two_tokens.run("act_1", *EUROPE, "act_2", span="last_7d")
    assert statuses(report) == ["fetched"] * 4
    known = accounts.many(two_tokens.prefetch.engine)
    assert {name: account.connection for name, account in known.items()} == {
        "act_1": "default", "act_2": "default", "act_5": "eu", "act_6": "eu",
    }  # fmt: skip
    assert sorted(call.account or "" for call in two_tokens.calls() if call.code) == list(EUROPE)
    two_tokens.clock.sleep(86_400)
    refused = len([call for call in two_tokens.calls() if call.code])
    assert statuses(two_tokens.run("act_5", "act_1", span="last_7d")) == ["fetched"] * 2
    assert len([call for call in two_tokens.calls() if call.code]) == refused


def test_reports_of_two_tokens_are_looked_at_apart(two_tokens: Staging) -> None:
    """A request asks with one token about its own reports only."""
    assert statuses(two_tokens.run("act_1", "act_5", "act_6")) == ["fetched"] * 3
    assert len(two_tokens.calls("submit")) == 3
    assert [call.code for call in two_tokens.calls("poll") if call.code] == []
    assert two_tokens.rows("act_1") == two_tokens.truth("act_1")


def test_a_dead_token_stops_its_own_accounts_only(two_tokens: Staging) -> None:
    """When one token dies the accounts of the other go on, and no more of its own are called."""
    two_tokens.run("act_1", *EUROPE, span="last_7d")
    two_tokens.clock.sleep(86_400)
    two_tokens.storm(fault=[{"kind": "token_dead", "accounts": list(EUROPE)}])
    engine = replace(two_tokens.prefetch, settings=two_tokens.prefetch.settings.model_copy(update={"workers": 1}))
    report = replace(two_tokens, prefetch=engine).run(*EUROPE, "act_1", span="last_7d")
    assert statuses(report) == ["stale", "stale", "fetched"]
    assert all("token" in str(outcome.reason) for outcome in report.outcomes[:2])
    assert len([call for call in two_tokens.calls() if call.code == 190]) == 1


def test_a_denied_account_is_asked_about_again_after_a_day(staging: Staging) -> None:
    """Within the day it costs no call; after it one, which may find that access was given."""
    staging.storm(fault=[{"kind": "denied", "accounts": ["act_1"]}])
    assert statuses(staging.run("act_1", "act_2", span="last_7d")) == ["denied", "fetched"]
    staging.clock.sleep(86_400 - 60)
    before = len(staging.calls())
    assert statuses(staging.run("act_1", span="last_7d")) == ["denied"]
    assert len(staging.calls()) == before
    staging.clock.sleep(120)
    assert statuses(staging.run("act_1", span="last_7d")) == ["denied"]
    assert len(staging.calls()) == before + 1
    staging.storm()
    staging.clock.sleep(86_400)
    assert statuses(staging.run("act_1", span="last_7d")) == ["fetched"]
    known = accounts.get(staging.prefetch.engine, "act_1")
    assert known is not None
    assert (known.status, known.currency) == ("active", "USD")
