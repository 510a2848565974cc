"""Several tokens in one batch: each account is read with its own token, and none with a dead or denied one."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from adwarm.sources.meta.graph_errors import parse_error
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.pool import SourcePool
from adwarm.store import accounts, denials
from tests.unit.prefetch.conftest import PlatformHarness, make_source_factory

EUROPE = ("act_5", "act_6")


@pytest.fixture
def two_tokens(make_staging: Callable[..., PlatformHarness]) -> PlatformHarness:
    """A platform with two tokens, and an engine with both."""
    staging = make_staging({"tokens": {"eu-token": EUROPE}})
    settings = staging.prefetch.settings.source
    factories = {"eu": make_source_factory(settings, "eu-token", staging.clock, "eu")}
    sources = SourcePool(staging.prefetch.sources.make_default, factories)
    return replace(staging, prefetch=replace(staging.prefetch, sources=sources))


def statuses(report: Any) -> list[str]:
    """Return how each key ended."""
    return [str(outcome.status) for outcome in report.outcomes]


def test_each_account_is_read_with_its_own_token(two_tokens: PlatformHarness) -> None:
    """An unknown account finds its token once; from then on its row names the connection, and no call is refused."""
    report = two_tokens.run("act_1", *EUROPE, "act_2", span="last_7d")
    assert statuses(report) == ["fetched"] * 4
    account = accounts.get_many(two_tokens.prefetch.engine)
    assert {name: account.connection for name, account in account.items()} == {
        "act_1": "default",
        "act_2": "default",
        "act_5": "eu",
        "act_6": "eu",
    }
    assert sorted(call.account or "" for call in two_tokens.calls() if call.code) == list(EUROPE)
    two_tokens.clock.sleep(86_400)
    refused = len([call for call in two_tokens.calls() if call.code])
    assert statuses(two_tokens.run("act_5", "act_1", span="last_7d")) == ["fetched"] * 2
    assert len([call for call in two_tokens.calls() if call.code]) == refused


def test_reports_of_two_tokens_are_polled_separately(two_tokens: PlatformHarness) -> None:
    """A request polls only reports of its own token."""
    assert statuses(two_tokens.run("act_1", "act_5", "act_6")) == ["fetched"] * 3
    assert len(two_tokens.calls("submit")) == 3
    assert [call.code for call in two_tokens.calls("poll") if call.code] == []
    assert two_tokens.stored_rows("act_1") == two_tokens.expected_rows("act_1")


def test_a_dead_token_stops_its_own_accounts_only(two_tokens: PlatformHarness) -> None:
    """When one token dies, the accounts of the other continue, and no more of its own are called."""
    two_tokens.run("act_1", *EUROPE, span="last_7d")
    two_tokens.clock.sleep(86_400)
    two_tokens.set_faults(fault=[{"kind": "token_dead", "accounts": list(EUROPE)}])
    settings = two_tokens.prefetch.settings.model_copy(update={"workers": 1})
    report = two_tokens.with_settings(settings).run(*EUROPE, "act_1", span="last_7d")
    assert statuses(report) == ["stale", "stale", "fetched"]
    assert all("token" in str(outcome.reason) for outcome in report.outcomes[:2])
    assert len([call for call in two_tokens.calls() if call.code == 190]) == 1


def test_a_refused_account_moves_to_the_next_token(two_tokens: PlatformHarness) -> None:
    """An account that its token may no longer read is read with another one, in the same run and from then on."""
    two_tokens.run("act_5", span="last_7d")
    engine = two_tokens.prefetch.engine
    account = accounts.get(engine, "act_5")
    assert account is not None
    accounts.save(engine, [replace(account, connection="default")], two_tokens.clock.now())
    denials.lift(engine, ["act_5"])
    two_tokens.clock.sleep(86_400)
    assert statuses(two_tokens.run("act_5", span="last_7d")) == ["fetched"]
    result = accounts.get(engine, "act_5")
    assert result is not None
    assert (result.connection, result.status) == ("eu", "active")
    active = denials.list_active(engine, "act_5", two_tokens.clock.now())
    assert [gate.scope for gate in active] == ["connection:default account:act_5"]


def test_a_denial_belongs_to_a_credential(two_tokens: PlatformHarness) -> None:
    """An account denied to both tokens costs no call; a retry changes nothing, another token or a human does."""
    two_tokens.set_faults(fault=[{"kind": "denied", "accounts": ["act_1"]}])
    assert statuses(two_tokens.run("act_1", span="last_7d")) == ["denied"]
    calls = len(two_tokens.calls())
    assert calls == 2
    repeated = two_tokens.run("act_1", span="last_7d")
    assert statuses(repeated) == ["denied"]
    assert re.match(r"denied less than a day ago, so not called again: .*ads_read", str(repeated.outcomes[0].reason))
    assert len(two_tokens.calls()) == calls
    engine, prefetch = two_tokens.prefetch.engine, two_tokens.prefetch
    renewed = make_source_factory(prefetch.settings.source, "eu-token", two_tokens.clock, "default")
    sources = SourcePool(renewed, prefetch.sources.factories)
    again = replace(two_tokens, prefetch=replace(prefetch, sources=sources))
    assert statuses(again.run("act_1", span="last_7d")) == ["denied"]
    assert len(two_tokens.calls()) == calls + 1
    assert denials.lift(engine, ["act_1"]) == ["act_1"]
    two_tokens.set_faults()
    assert statuses(two_tokens.run("act_1", span="last_7d")) == ["fetched"]


def test_a_blocked_app_denies_no_account(staging: PlatformHarness) -> None:
    """An app without the capability is called once; its accounts wait, and none of them is denied."""
    refused = {"code": 3, "message": "(#3) Application does not have the capability to make this API call."}
    paths: list[str] = []

    def make() -> MetaSource:
        source: Any = staging.prefetch.sources.make_default()

        def refuse(path: tuple[str, ...], params: Any, account_id: str | None = None) -> Any:
            paths.append(path[0])
            raise parse_error(refused, 400, source._graph.call_context(account_id, path), (), staging.clock.now())

        source._graph.get = refuse
        result: MetaSource = source
        return result

    settings = staging.prefetch.settings.model_copy(update={"workers": 1})
    report = staging.with_source(make).with_settings(settings).run("act_1", "act_2", "act_3", span="last_7d")
    assert statuses(report) == ["parked"] * 3
    assert len(paths) == 1
    assert [event.kind for event in staging.errors.list_recent() if event.kind == "Blocked"] == ["Blocked"]
    assert all(account.status != "denied" for account in accounts.get_many(staging.prefetch.engine).values())


def test_a_denied_account_is_tried_again_after_a_day(staging: PlatformHarness) -> None:
    """Within a day it costs no call; after that one call, which may find that access was granted."""
    staging.set_faults(fault=[{"kind": "denied", "accounts": ["act_1"]}])
    assert statuses(staging.run("act_1", "act_2", span="last_7d")) == ["denied", "fetched"]
    staging.clock.sleep(86_400 - 60)
    before = len(staging.calls())
    assert statuses(staging.run("act_1", span="last_7d")) == ["denied"]
    assert len(staging.calls()) == before
    staging.clock.sleep(120)
    assert statuses(staging.run("act_1", span="last_7d")) == ["denied"]
    assert len(staging.calls()) == before + 1
    staging.set_faults()
    staging.clock.sleep(86_400)
    assert statuses(staging.run("act_1", span="last_7d")) == ["fetched"]
    account = accounts.get(staging.prefetch.engine, "act_1")
    assert account is not None
    assert (account.status, account.currency) == ("active", "USD")
