"""A field that the platform refuses: the report lives without it, and it is not asked for until that may help."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from adwarm.prefetch.refused_fields import is_only_refused
from adwarm.store import denials
from tests.unit.prefetch.conftest import LONG_RANGE, PlatformHarness, make_source_factory

REFUSAL = "cpm, cpc are not valid for fields param. please check the reference for all valid values"
REMOVED: dict[str, Any] = {"poison": [{"field": "cpm", "refusal": REFUSAL}]}


def refused_calls(staging: PlatformHarness) -> int:
    """Return how many calls the platform refused for their field."""
    return len([call for call in staging.calls() if call.code == 100])


def test_everything_but_the_field_is_read(staging: PlatformHarness) -> None:
    """Days by pages and as a report lack the refused fields alone; the refusal costs one call, and no error counts."""
    staging.set_faults(**REMOVED)
    for account, span in (("act_1", "2026-11-18..2026-11-24"), ("act_2", LONG_RANGE)):
        (outcome,) = staging.run(account, span=span).outcomes
        assert str(outcome.status) == "fetched"
        assert f"field cpc: refused by the platform: Meta: (#100) {REFUSAL}" in str(outcome.reason)
        assert is_only_refused(str(outcome.reason))
        assert not is_only_refused(f"ad 7: too large; {outcome.reason}")
    whole = [row.keys() - {"cpm", "cpc"} for row in staging.expected_rows("act_2")]
    assert [row.keys() for row in staging.stored_rows("act_2")] == whole
    assert refused_calls(staging) == 2
    staging.run("act_1", "act_2", span="2026-11-17..2026-11-23")
    assert refused_calls(staging) == 2


def test_after_three_accounts_no_other_one_asks(staging: PlatformHarness) -> None:
    """A field that three accounts of a connection met is not requested for the others, which lack it all the same."""
    staging.set_faults(**REMOVED)
    for number in range(1, 7):
        (outcome,) = staging.run(f"act_{number}", span="2026-11-18..2026-11-24").outcomes
        assert "field cpm: refused by the platform" in str(outcome.reason)
    assert refused_calls(staging) == 3
    (gate,) = denials.list_refused_fields(staging.prefetch.engine, staging.clock.now())
    assert (gate.scope, denials.list_accounts(gate)) == ("connection:default", {"act_1", "act_2", "act_3"})


def test_it_is_asked_for_again_when_that_may_help(make_staging: Callable[..., PlatformHarness]) -> None:
    """A week later, with another credential, by another version, or as a human asks; not before."""
    staging = make_staging()
    staging.set_faults(**REMOVED)
    staging.run("act_1", span="2026-11-18..2026-11-24")
    other = staging.with_source(make_source_factory(staging.prefetch.settings.source, "second-token", staging.clock))
    staging.server.state.config = replace(staging.server.state.config, tokens={"second-token": ("act_1",)})
    other.run("act_1", span="2026-11-17..2026-11-23")
    assert refused_calls(staging) == 2
    older = staging.prefetch.settings.source.model_copy(update={"api_version": "v25.0"})
    other.with_source(make_source_factory(older, "second-token", staging.clock)).run(
        "act_1", span="2026-11-16..2026-11-22"
    )
    assert refused_calls(staging) == 3
    denials.lift(staging.prefetch.engine, ["act_1"])
    other.run("act_1", span="2026-11-15..2026-11-21")
    assert refused_calls(staging) == 4
    staging.clock.sleep(timedelta(days=7).total_seconds())
    staging.set_faults()
    (outcome,) = other.run("act_1", span="2026-11-18..2026-11-24").outcomes
    assert (str(outcome.status), outcome.reason) == ("fetched", None)


def test_a_row_needs_its_id(staging: PlatformHarness) -> None:
    """A refused field that tells rows apart fails the report, after one call."""
    staging.set_faults(poison=[{"field": "ad_id", "refusal": "ad_id is not valid for fields param"}])
    (outcome,) = staging.run("act_1", span="2026-11-18..2026-11-24").outcomes
    assert str(outcome.status) == "failed"
    assert "ad_id is not valid" in str(outcome.reason)
    assert refused_calls(staging) == 1
    assert denials.list_refused_fields(staging.prefetch.engine, staging.clock.now()) == []
