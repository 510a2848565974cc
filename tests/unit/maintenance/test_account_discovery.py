"""Discovery: every page under admission, one connection's error ends no other, and the user's settings stay."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import CallRequest, acquire_grant
from adwarm.foundation.clock import TimeLimit, VirtualClock
from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Blocked,
    NotAdmitted,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.maintenance.account_discovery import AccountDiscovery
from adwarm.model import Account, CauseKind, Priority, Scope, ScopeKind
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.sources.protocol import AccountPage
from adwarm.store import ObjectStore, accounts
from adwarm.store.accounts import list_discoveries
from adwarm.store.read_traffic import get_day_calls, get_day_totals
from tests.support.wall_clock import database_now
from tests.unit.conftest import ScriptedSource

QUICK: dict[str, Any] = {"recovery": {"max_attempts": 1}}
TOKEN = Scope(ScopeKind.TOKEN, "t1")


@dataclass
class ListingSource(ScriptedSource):
    """A source that lists accounts page by page; a page may be an error."""

    pages: list[AccountPage | AdwarmError] = field(default_factory=list)
    calls: list[tuple[str | None, int | None]] = field(default_factory=list)
    before_call: Callable[[int], None] = field(default=lambda number: None)

    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return the next page of the script."""
        self.before_call(len(self.calls))
        self.calls.append((cursor, page_size))
        page = self.pages.pop(0)
        if isinstance(page, AdwarmError):
            raise page
        return page

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the token's scope; a list concerns no account."""
        assert account_id == ""
        return (TOKEN,)


def page(*numbers: int, after: str | None = None, problems: tuple[str, ...] = ()) -> AccountPage:
    """Return a page of accounts in Rome."""
    found = [Account(f"act_{n}", "Europe/Rome", "Europe/Rome", "EUR", name=f"Shop {n}") for n in numbers]
    return AccountPage(tuple(found), after, problems=problems)


def source(name: str, *pages: AccountPage | AdwarmError, credential: str = "c1") -> ListingSource:
    """Return the source of a connection."""
    return ListingSource(connection=name, credential=credential, pages=list(pages))


@pytest.fixture
def runtime(engine: Engine, objects: ObjectStore, clock: VirtualClock) -> Runtime:
    """A runtime on the test's database, whose retries do not wait."""
    made = Runtime(Settings(**QUICK), clock)
    made.__dict__.update(engine=engine, objects=objects)
    return made


def discover(runtime: Runtime, *sources: ListingSource, dry_run: bool = False):  # type: ignore[no-untyped-def]
    """Run the discovery over the sources."""
    made = {item.connection: (lambda item=item: item) for item in sources}
    return runtime.account_discovery().run(made, dry_run=dry_run)


def test_pages_are_read_to_the_end(runtime: Runtime, engine: Engine, clock: VirtualClock) -> None:
    """Accounts of all pages are stored with the time they were seen, and each page was admitted by itself."""
    first = source("a", page(1, 2, after="x"), page(after="y"), page(2, 3, problems=("act_9 is odd",)))
    result = discover(runtime, first)
    assert first.calls == [(None, None), ("x", None), ("y", None)]
    records = accounts.list_records(engine, clock.now())
    assert {name: record.last_seen for name, record in records.items()} == dict.fromkeys(
        ["act_1", "act_2", "act_3"], clock.now()
    )
    assert records["act_1"].account == Account("act_1", "Europe/Rome", "Europe/Rome", "EUR", "a")
    assert records["act_1"].account.name == "Shop 1"
    (numbers,) = result.connections
    assert (numbers.listed, numbers.new, numbers.problems) == (3, 3, ("act_9 is odd",))
    assert [str(scope.scope) for scope in runtime.admission.status().scopes if not scope.in_flight] == [
        "fleet",
        "token:t1",
    ]
    (cause,) = get_day_calls(engine, clock.now()).causes
    assert (cause.cause.kind, cause.calls) == (CauseKind.CHECK, 3)


def test_a_dry_run_stores_nothing(runtime: Runtime, engine: Engine, clock: VirtualClock) -> None:
    """It returns the same numbers; neither accounts nor the attempt are stored."""
    assert discover(runtime, source("a", page(1)), dry_run=True).connections[0].new == 1
    assert accounts.list_records(engine, clock.now()) == {}
    assert list_discoveries(engine) == {}


def test_a_second_discovery_keeps_what_the_user_has_set(runtime: Runtime, engine: Engine, clock: VirtualClock) -> None:
    """Zone, country, status and connection of the user stay; the platform's own values follow it."""
    discover(runtime, source("a", page(1)))
    own = {"user_reader_zone": "Asia/Tokyo", "user_status": "closed", "user_connection": "mine"}
    accounts.set_by_user(engine, "act_1", {**own, "holiday_country": "JP"})
    clock.sleep(86_400)
    renamed = AccountPage((Account("act_1", "Europe/Paris", "Europe/Paris", "EUR", name="New"),))
    assert discover(runtime, source("a", renamed)).connections[0].changed == 1
    record = accounts.list_records(engine, clock.now())["act_1"]
    assert record.account == Account("act_1", "Europe/Paris", "Asia/Tokyo", "EUR", "mine", "closed")
    assert (record.holiday_country, record.account.name) == ("JP", "New")
    accounts.set_by_user(engine, "act_1", dict.fromkeys(own))
    record = accounts.list_records(engine, clock.now())["act_1"]
    assert record.account == Account("act_1", "Europe/Paris", "Europe/Paris", "EUR", "a", "active")


def test_a_parked_scope_is_not_called(runtime: Runtime, clock: VirtualClock, engine: Engine) -> None:
    """Also in the middle of a list: the next page waits for admission, what was read is stored, nothing is recorded."""
    source_a = source("a", page(1, after="x"), page(2))

    def park(number: int) -> None:
        until = database_now(engine) + timedelta(hours=2)
        with (
            pytest.raises(Throttled),
            acquire_grant(runtime.admission, clock, CallRequest((TOKEN,), Priority.HIGH, "x"), timeout_seconds=1),
        ):
            raise Throttled("wait", scope=str(TOKEN), until=until)

    source_a.before_call = park
    result = discover(runtime, source_a)
    assert len(source_a.calls) == 1
    assert isinstance(result.errors["a"], NotAdmitted)
    assert list(accounts.list_records(engine, clock.now())) == ["act_1"]
    assert list_discoveries(engine) == {}
    day = get_day_totals(engine, clock.now())
    assert (day["upstream_calls"], day["throttles"], day["postponed"]) == (1, 0, 1)


def test_an_error_ends_its_own_connection_only(runtime: Runtime, engine: Engine, clock: VirtualClock) -> None:
    """The accounts of the other connections are stored; the attempt is recorded with its reason."""
    dead, good = source("a", TokenDead("code 190; renew the token")), source("b", page(1))
    result = discover(runtime, dead, good)
    assert isinstance(result.errors["a"], TokenDead)
    assert accounts.list_records(engine, clock.now())["act_1"].account.connection == "b"
    attempts = list_discoveries(engine)
    assert ("190" in attempts["a"].error, attempts["a"].completed_at) == (True, None)
    assert (attempts["b"].listed, attempts["b"].error) == (1, None)


def test_a_page_that_is_too_large_is_read_in_smaller_ones(runtime: Runtime) -> None:
    """The platform refuses large lists of accounts; the same cursor is asked with a smaller page."""
    too_large = TooMuchData("reduce the amount of data", smaller_page=True)
    one = source("a", page(1, after="x"), too_large, too_large, page(2))
    assert discover(runtime, one).connections[0].listed == 2
    assert one.calls == [(None, None), ("x", None), ("x", 25), ("x", 5)]
    never = source("b", *[too_large] * 3)
    assert isinstance(discover(runtime, never).errors["b"], TooMuchData)


def test_lists_without_an_end(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages in a circle, and more pages than allowed, end with an error."""
    circle = source("a", page(1, after="x"), page(2, after="x"))
    assert "circle" in str(discover(runtime, circle).errors["a"])
    monkeypatch.setattr("adwarm.sources.units.MAX_SPARSE_PAGES", 2)
    endless = source("b", *(page(1, after=str(n)) for n in range(1, 5)))
    assert "pages that are not full" in str(discover(runtime, endless).errors["b"])


def test_a_list_has_a_time_limit(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that takes longer than an account may ends with an error that names the setting; others go on."""
    now = 0.0
    monkeypatch.setattr("adwarm.maintenance.account_discovery.TimeLimit", partial(TimeLimit, monotonic=lambda: now))

    def take_time(_number: int) -> None:
        nonlocal now
        now += 500.0

    slow = source("a", page(1, after="x"), page(2, after="y"), page(3))
    slow.before_call = take_time
    result = discover(runtime, slow, source("b", page(4)))
    assert "ADWARM_ACCOUNT_SECONDS" in str(result.errors["a"])
    assert (len(slow.calls), "b" in result.errors) == (2, False)


def due(runtime: Runtime, *sources: ListingSource) -> set[str]:
    """Return the connections that are due."""
    return set(runtime.account_discovery().list_due({item.connection: (lambda item=item: item) for item in sources})[0])


@pytest.mark.parametrize(
    ("outcome", "hours"),
    [
        (page(1), 6),
        (page(), 1),
        (TokenDead("dead"), 6),
        (BadRequest("no"), 6),
        (Transient("down"), 1),
    ],
)
def test_when_a_connection_is_due_again(
    runtime: Runtime, clock: VirtualClock, outcome: AccountPage | AdwarmError, hours: int
) -> None:
    """Every six hours; hourly after a temporary error or an empty list; at once when its credential changes."""
    assert due(runtime, source("a")) == {"a"}
    discover(runtime, source("a", outcome))
    clock.sleep(hours * 3600 - 60)
    assert due(runtime, source("a")) == set()
    assert due(runtime, source("a", credential="c2"), source("new")) == {"a", "new"}
    (reason,) = runtime.account_discovery().list_due({"a": lambda: source("a")})[1]
    assert "next attempt" in reason
    clock.sleep(120)
    assert due(runtime, source("a")) == {"a"}


def test_a_scope_that_needs_a_human_is_an_attempt(runtime: Runtime, engine: Engine, clock: VirtualClock) -> None:
    """A block by the platform is recorded, so that it is shown once and not every quarter of an hour."""
    blocked = Blocked("put it right", scope="token:t1", until=clock.now() + timedelta(hours=1))
    discover(runtime, source("a", blocked))
    assert "put it right" in list_discoveries(engine)["a"].error


def test_a_connection_that_cannot_be_built(runtime: Runtime, engine: Engine) -> None:
    """Its error is in the result and recorded under its name; it is due again a day later."""

    def broken() -> ListingSource:
        raise BadRequest("connection 'eu' has no access_token")

    discovery: AccountDiscovery = runtime.account_discovery()
    assert "access_token" in str(discovery.run({"eu": broken}).errors["eu"])
    assert "access_token" in list_discoveries(engine)["eu"].error
    assert discovery.list_due({"eu": broken})[0] == {}


def test_a_time_limit(runtime: Runtime, clock: VirtualClock) -> None:
    """Reading stops before the first page after the limit, and the list says that it is cut."""
    one = source("a", page(1, after="x"), page(2))
    found = runtime.account_discovery(with_retries=False).read("a", lambda: one, until=clock.now())
    assert (list(found.accounts), found.is_cut, found.error) == (["act_1"], True, None)
