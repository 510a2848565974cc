"""Sampled accounts are compared with the platform; an injected difference is found, explained and alerted."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import Engine

from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import FieldRefused, TokenDead
from adwarm.maintenance.platform_calls import PlatformCalls
from adwarm.maintenance.reconciliation import (
    Sums,
    _list_metrics,
    choose_pairs,
    make_reconcile,
)
from adwarm.maintenance.runner import StepBudget, StepResult
from adwarm.model import Account, Priority, ReportKey, Window
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.group_sums import differ
from adwarm.runtime import Runtime
from adwarm.settings import MaintenanceSettings, ReportSettings, Settings, SourceSettings
from adwarm.store import accounts, entries, read_traffic
from adwarm.store.reconciliations import ComparedFigure, describe, list_figures
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import FalseSum, FaultProfile, Poison, ReportSetting
from graph_simulator.server import SimulatorServer
from tests.unit.conftest import SQLITE_ONLY

FAST = ReportSetting(base_seconds=0, seconds_per_1000_cells=0, full_seconds=0)
BOUGHT = {
    "actions:purchase",
    "actions:omni_purchase",
    "actions:offsite_conversion.fb_pixel_purchase",
    "results:offsite_conversion.fb_pixel_purchase",
}
PLACEMENT = ("publisher_platform", "platform_position")
MakeRuntime = Callable[..., Runtime]


@pytest.fixture
def runtime_of(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeRuntime]:
    """Return a function that makes a runtime whose platform falsifies the given sums."""
    monkeypatch.setattr("adwarm.maintenance.reconciliation.POLL_SECONDS", 0.01)
    servers: list[SimulatorServer] = []

    def make(*false: FalseSum, reports: ReportSetting = FAST, ads: int = 3, poison: tuple[Poison, ...] = ()) -> Runtime:
        profile = FaultProfile(false_sum=false, reports=reports, poison=poison)
        server = SimulatorServer(SimulatorConfig(accounts=("act_1",), ads=ads, fault_profile=profile))
        servers.append(server.__enter__())
        runtime = Runtime(
            Settings(
                home=tmp_path,
                database_url=engine.url.render_as_string(hide_password=False),
                source=SourceSettings(graph_url=server.url, access_token="simulated-token"),
                maintenance=MaintenanceSettings(reconcile_accounts=1),
            )
        )
        accounts.save(engine, [Account("act_1", "UTC", "UTC")], runtime.clock.now())
        return runtime

    yield make
    for server in servers:
        server.__exit__(None, None, None)


def reconcile(runtime: Runtime, cursor: object = None, seconds: float = 60) -> StepResult:
    """Run the step."""
    clock = SystemClock()
    calls = PlatformCalls(runtime.context, runtime.call_admission, clock, runtime.source_factories, runtime.isolation)
    return make_reconcile(calls, runtime.pipeline, clock)(cursor, StepBudget.of(clock, seconds))


def store_settled_week(runtime: Runtime, report: str = "default") -> Window:
    """Fetch the days that the step compares with what is stored, and return them."""
    until = runtime.clock.now().date() - timedelta(days=2 + runtime.settings.freshness.settle_days)
    window = Window(until - timedelta(days=6), until)
    request = KeyRequest(ReportKey("act_1", str(window), report))
    assert runtime.prefetch_engine().run([request], Priority.LOW).outcomes[0].status.is_served
    return window


def differing(runtime: Runtime) -> set[tuple[str, str]]:
    """Return comparison and metric of what differs."""
    listed = list_figures(runtime.engine, runtime.clock.now() - timedelta(days=1), only_differing=True)
    return {(item.comparison, item.metric) for item in listed}


def test_an_honest_platform_agrees(runtime_of: MakeRuntime) -> None:
    """Delivery agrees in both windows, and sales where there are some; calls are counted, and nothing is published."""
    runtime = runtime_of()
    store_settled_week(runtime)
    stored, before = entries.get_totals(runtime.engine), _calls(runtime)
    result = reconcile(runtime)
    assert (result.cursor, result.problems) == (None, [])
    listed = list_figures(runtime.engine, runtime.clock.now() - timedelta(days=1))
    assert result.counts == {"compared": len(listed), "differing": 0}
    for comparison, windows in (("levels", 2), ("async", 2), ("stored", 1)):
        found = [item.metric for item in listed if item.comparison == comparison]
        assert {found.count(name) for name in ("impressions", "spend")} == {windows}
        assert {found.count(name) for name in BOUGHT} <= {windows, 1}, "three ads may sell nothing in the recent days"
    assert differing(runtime) == set()
    assert entries.get_totals(runtime.engine) == stored
    assert _calls(runtime) - before >= 2 * 4


def _calls(runtime: Runtime) -> float:
    now = runtime.clock.now()
    return read_traffic.get_totals(runtime.engine, now - timedelta(hours=2), now + timedelta(hours=2))["upstream_calls"]


@pytest.mark.parametrize(
    ("false", "comparison", "words"),
    [
        (FalseSum(level="account", factor=1.1), "levels", "ads that were deleted count for the account"),
        (FalseSum(level="ad", reports=True, factor=0.9), "async", "the platform answers the same question in two ways"),
    ],
)
def test_a_false_level_is_found(runtime_of: MakeRuntime, false: FalseSum, comparison: str, words: str) -> None:
    """Every figure of the falsified answer differs, both figures are stored, and the alert says what may explain it."""
    runtime = runtime_of(false)
    result = reconcile(runtime)
    assert {name for name, _ in differing(runtime)} == {comparison}
    assert ("spend" in {metric for _, metric in differing(runtime)}) is True
    assert any(words in text and "act_1" in text for text in result.problems)
    [spend] = [
        item
        for item in list_figures(runtime.engine, runtime.clock.now() - timedelta(days=1), only_differing=True)
        if item.metric == "spend" and len(Window(item.since, item.until)) == 7
    ]
    assert spend.actual / spend.expected == pytest.approx(1 / 1.1 if comparison == "levels" else 0.9, rel=1e-2)


@pytest.mark.parametrize(
    ("metric", "false", "comparison", "words"),
    [
        ("purchases", {"level": "account", "factor": 0}, "levels", "the account reports 0, its ads sum to"),
        ("purchases", {"level": "ad", "reports": True, "factor": 0}, "async", "the async report says 0"),
        (
            "leads",
            {"level": "ad", "reports": True, "factor": 0.5},
            "async",
            "actions of offsite_conversion.fb_pixel_lead",
        ),
    ],
)
def test_the_action_type_that_differs_is_named(
    runtime_of: MakeRuntime, metric: str, false: dict[str, Any], comparison: str, words: str
) -> None:
    """Conversions that only one way of asking lacks are found by their action types, while delivery agrees."""
    runtime = runtime_of(FalseSum(metric=metric, **false), ads=3 if comparison == "levels" else 12)  # type: ignore[arg-type]
    result = reconcile(runtime)
    expected = (
        BOUGHT
        if metric == "purchases"
        else {name.replace("purchase", "lead") for name in BOUGHT} - {"actions:omni_lead"}
    )
    assert differing(runtime) == {(comparison, name) for name in expected}
    assert any(words in text for text in result.problems), result.problems


def test_what_a_source_does_not_total_is_not_compared() -> None:
    """Totals without lists, and an account that states no results, leave stored conversions uncompared."""
    actions = [{"action_type": "purchase", "value": "3"}, {"action_type": "link_click", "value": "9"}]
    rows = [{"actions": actions, "results": [{"indicator": "actions:purchase", "values": [{"value": "3"}]}]}]
    full, bare = Sums.of(rows, ()), Sums.of([{"spend": "1"}], ())
    assert full.by_metric["actions:purchase"] == full.by_metric["results:purchase"] == 3
    assert _list_metrics("stored", full, bare) == ["actions:purchase", "results:purchase"]
    assert _list_metrics("stored", bare, full) == []
    assert _list_metrics("levels", bare, full) == ["actions:purchase"]
    assert not differ("actions:lead", Decimal(2), Decimal(3), 0.005, 9)
    assert differ("actions:lead", Decimal(2), Decimal(4), 0.005, 9)


def test_stored_days_that_the_platform_changed_are_found(runtime_of: MakeRuntime, engine: Engine) -> None:
    """Days that were stored as final differ from what the platform says now."""
    store_settled_week(runtime_of())
    runtime = runtime_of(FalseSum(factor=2.0))  # a whole factor: the sums of rounded figures agree on any day
    result = reconcile(runtime)
    assert {name for name, _ in differing(runtime)} == {"stored"}
    assert any("the platform has restated days that were final" in text for text in result.problems)


def _divided(runtime: Runtime, breakdowns: tuple[str, ...] = PLACEMENT) -> Runtime:
    """Return a runtime that has a report by placement, or other groups, as well."""
    reports = {"default": ReportSettings(), "places": ReportSettings(level="campaign", breakdowns=breakdowns)}
    return Runtime(runtime.settings.model_copy(update={"reports": reports}))


def test_a_lost_group_is_found(runtime_of: MakeRuntime) -> None:
    """The groups of a report add up to the account's total, until one is lost; the alert names report and figure."""
    runtime = _divided(runtime_of())
    assert reconcile(runtime).problems == []
    listed = list_figures(runtime.engine, runtime.clock.now() - timedelta(days=1))
    groups = {item.metric for item in listed if item.comparison == "groups"}
    assert groups == {f"{name} (places)" for name in ("impressions", "clicks", "inline_link_clicks", "spend")}
    lossy = _divided(runtime_of(FalseSum(group="instagram", factor=0)))
    [problem, *_] = reconcile(lossy).problems
    assert differing(lossy) == {("groups", name) for name in groups}
    assert "spend (places): the account reports" in problem
    assert "its groups sum to" in problem
    assert "Ads Manager" in problem


@SQLITE_ONLY
def test_products_need_not_add_up_to_the_account(runtime_of: MakeRuntime) -> None:
    """Ads without a catalog have no product: what products lack is no difference, but what was stored of them is."""
    runtime = _divided(runtime_of(FalseSum(group="1003, Product 3", factor=0)), ("product_id",))
    store_settled_week(runtime, "places")
    assert reconcile(runtime).problems == []
    other = _divided(runtime_of(), ("product_id",))
    reconcile(other)
    assert {name for name, _ in differing(other)} == {"stored"}


def test_a_stored_day_without_a_group_is_found(runtime_of: MakeRuntime) -> None:
    """Days that were stored without a group differ from what the platform says about the groups now."""
    lossy = _divided(runtime_of(FalseSum(group="instagram", factor=0)))
    store_settled_week(lossy, "places")
    runtime = _divided(runtime_of())
    assert any("days that were final" in text for text in reconcile(runtime).problems)
    assert {name for name, _ in differing(runtime)} == {"stored"}


def test_a_slow_report_is_awaited_over_runs(runtime_of: MakeRuntime) -> None:
    """A run that is out of time keeps the report's id, and a later one compares the same report."""
    runtime = runtime_of(reports=ReportSetting(base_seconds=0.4, seconds_per_1000_cells=0, spread=0, full_seconds=0))
    first = reconcile(runtime, seconds=0.2)
    assert first.cursor is not None
    report = first.cursor["report"]
    cursor, runs = first.cursor, 1
    while cursor is not None and runs < 50:
        result = reconcile(runtime, cursor, seconds=0.2)
        cursor, runs = result.cursor, runs + 1
    assert report is None or set(report) == {"id", "requested_at", "sums", "rows"}
    assert (cursor, differing(runtime)) == (None, set())
    listed = list_figures(runtime.engine, runtime.clock.now() - timedelta(days=1))
    assert len({(item.comparison, item.since, item.metric) for item in listed}) == len(listed)
    assert sum(item.metric == "spend" for item in listed) == 2 * 2


def test_a_refused_field_is_not_compared(runtime_of: MakeRuntime) -> None:
    """Fields that the platform refuses are left out once a fetch has met them, and all else is compared."""
    refusal = "impressions, actions are not valid for fields param"
    runtime = runtime_of(poison=tuple(Poison(field=name, refusal=refusal) for name in ("impressions", "actions")))
    with pytest.raises(FieldRefused):
        reconcile(runtime)
    store_settled_week(runtime)
    assert reconcile(runtime).problems == []
    metrics = {item.metric for item in list_figures(runtime.engine, runtime.clock.now() - timedelta(days=1))}
    assert {"clicks", "spend", "results:offsite_conversion.fb_pixel_purchase"} <= metrics
    assert not [name for name in metrics if name.startswith(("impressions", "actions"))]


def test_a_wrong_token_fails_the_step(runtime_of: MakeRuntime) -> None:
    """When no account could be compared, the error is raised; without any source there is nothing to do."""
    runtime = runtime_of()
    wrong = runtime.settings.source.model_copy(update={"access_token": SecretStr("wrong")})
    with pytest.raises(TokenDead):
        reconcile(Runtime(runtime.settings.model_copy(update={"source": wrong})))
    none = runtime.settings.source.model_copy(update={"access_token": None})
    skipped = reconcile(Runtime(runtime.settings.model_copy(update={"source": none}))).skipped
    assert "ADWARM_SOURCE__ACCESS_TOKEN" in str(skipped)


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 9), st.integers(0, 800_000))
@example(200, 2, 2, 739_945)
@example(200, 5, 2, 739_945)
@example(12, 4, 6, 739_945)
def test_every_account_and_report_come_in_turn(accounts: int, reports: int, count: int, first: int) -> None:
    """For any sizes, whole turns of the accounts compare each of them by each report once; each day always the same."""
    ids, names = [f"act_{number}" for number in range(accounts)], [f"report_{number}" for number in range(reports)]
    start = date.fromordinal(date(1970, 1, 1).toordinal() + first)
    days = -(-accounts * reports // min(count, accounts))
    pairs = [choose_pairs(ids, names, start + timedelta(days=number), count) for number in range(days)]
    assert pairs[0] == choose_pairs(ids[::-1], names, start, count)
    taken = Counter(pair for day in pairs for pair in day)
    assert taken.keys() == {(account, name) for account in ids for name in names}
    assert max(taken.values()) <= 2
    assert all(len({account for account, _ in day}) == min(count, accounts) for day in pairs)


def test_without_a_report_by_groups_accounts_have_their_turn_alone() -> None:
    """Accounts come in turn also where no report has breakdowns; without any account, or a count, nothing does."""
    days = [choose_pairs(["act_1", "act_2", "act_3"], [], date(2026, 11, 25) + timedelta(days=n), 1) for n in range(3)]
    assert sorted(pair for day in days for pair in day) == [("act_1", None), ("act_2", None), ("act_3", None)]
    assert choose_pairs(["act_1"], [], date(2026, 11, 25), 0) == choose_pairs([], ["x"], date(2026, 11, 25), 2) == []


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=40), st.integers(1, 10**6))
def test_sums_are_exact(cents: list[int], more: int) -> None:
    """Cents add up without loss, rounding of each row is no difference, and more than that is one."""
    rows = [{"spend": f"{value / 100:.2f}"} for value in cents]
    total = Sums.of(rows, ("spend", "clicks"))
    assert total.by_metric == {"spend": Decimal(sum(cents)) / 100, "clicks": 0}
    assert Sums.load(total.to_dict()) == total
    spend = total.by_metric["spend"]
    assert not differ("spend", spend, spend + Decimal("0.005") * len(cents), 0.0, len(cents))
    beyond = Decimal("0.005") * (len(cents) + 1) + Decimal(more) / 100
    assert differ("spend", spend, spend + beyond, 0.0, len(cents))


def test_a_difference_in_words() -> None:
    """It names account, days, figure and both values."""
    day = date(2026, 11, 1)
    figure = ComparedFigure(datetime(2026, 11, 25, tzinfo=UTC), "act_1", "levels", day, day, "spend", 100.0, 90.0, True)
    assert describe(figure) == (
        "act_1 2026-11-01..2026-11-01, spend: the account reports 100.00, its ads sum to 90.00 (10.0% apart)"
    )
