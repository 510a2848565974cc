"""Which breakers a call must pass, and which count its outcome."""

from adwarm.backpressure.admission import CallOutcome, CallOutcomeKind, Grant
from adwarm.backpressure.breakers import (
    BreakerRegistry,
    account_breaker_name,
    account_in_breaker_name,
    breaker_names,
    single_account,
)
from adwarm.foundation.circuit import BreakerState
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings

ONE, TWO, APP = Scope.parse("account:act_1"), Scope.parse("account:act_2"), Scope.parse("app:7")
NOW = 1_000.0
OWN = account_breaker_name("meta", ONE)
OK, FAILED = CallOutcome(CallOutcomeKind.OK), CallOutcome(CallOutcomeKind.FAILED)


def _grant(*scopes: Scope, name: str = "g", at: float = NOW) -> Grant:
    return Grant(name, scopes, Priority.LOW, 1.0, at, at + 30, "meta")


def _registry() -> BreakerRegistry:
    return BreakerRegistry(BackpressureSettings())


def _fail(registry: BreakerRegistry, scope: Scope, count: int = 1) -> None:
    for _ in range(count):
        registry.record_outcome(_grant(scope, APP), FAILED, NOW)


def test_an_account_has_a_breaker_while_it_fails() -> None:
    """Its first failure creates one, with the rules of an account; a call on several accounts passes the source's."""
    registry = _registry()
    registry.record_outcome(_grant(ONE, APP), OK, NOW)
    assert list(registry.by_name) == ["meta"]
    assert registry.by_name["meta"].changed_at == NOW
    _fail(registry, ONE)
    assert list(registry.by_name) == ["meta", OWN]
    found = registry.find_breakers("meta", (ONE, APP), NOW)
    assert [(each.scope, each.rules) for each in found] == [
        ("source:meta", registry.source_rules),
        ("account:act_1", registry.account_rules),
    ]
    for scopes in ((ONE, TWO), (TWO,), (APP,), ()):
        assert [each.scope for each in registry.find_breakers("meta", scopes, NOW)] == ["source:meta"]
    assert registry.find_breakers("other", (ONE,), NOW + 5)[0].breaker.changed_at == NOW + 5


def test_the_rules_are_those_of_the_name() -> None:
    """A source's breaker needs several accounts and opens on a burst; an account's does neither."""
    registry = _registry()
    assert registry.rules_for("meta") is registry.source_rules
    assert registry.rules_for(OWN) is registry.account_rules
    assert (registry.source_rules.min_accounts > 1, registry.source_rules.opens_on_burst) == (True, True)
    assert (registry.account_rules.min_accounts, registry.account_rules.opens_on_burst) == (1, False)


def test_only_failures_count() -> None:
    """A call that was skipped or throttled says nothing about the upstream; a timeout is a failure."""
    registry = _registry()
    for kind in (CallOutcomeKind.SKIPPED, CallOutcomeKind.THROTTLED):
        registry.record_outcome(_grant(ONE), CallOutcome(kind), NOW)
        assert registry.by_name["meta"].error_rate(registry.source_rules, NOW) == (0.0, 0)
    registry.record_outcome(_grant(ONE), CallOutcome(CallOutcomeKind.TIMEOUT), NOW)
    registry.record_outcome(_grant(ONE), OK, NOW)
    assert registry.by_name["meta"].error_rate(registry.source_rules, NOW) == (0.5, 2)
    assert registry.by_name[OWN].error_rate(registry.account_rules, NOW) == (0.5, 2)


def test_one_account_opens_its_own_breaker_and_several_the_sources() -> None:
    """Ten failures of one account close it off; the source stays open to others until two more fail too."""
    registry, states = _registry(), []
    for number in (1, 2, 3):
        _fail(registry, Scope.parse(f"account:act_{number}"), 10)
        states.append(registry.by_name["meta"].state)
    assert registry.by_name[OWN].state is BreakerState.OPEN
    assert states == [BreakerState.CLOSED, BreakerState.CLOSED, BreakerState.OPEN]


def test_only_the_sources_breaker_counts_by_account() -> None:
    """It needs failures of several; an account's own has no name beside each count."""
    registry = _registry()
    _fail(registry, ONE)
    registry.record_outcome(_grant(APP), FAILED, NOW)
    names = {name: breaker.intervals[-1].failures_by_account for name, breaker in registry.by_name.items()}
    assert names == {"meta": (("act_1", 1),), OWN: ()}


def test_three_probes_close_a_breaker() -> None:
    """Two that succeed leave it half-open; after the third it is closed, and an account's is removed."""
    registry, states = _registry(), []
    _fail(registry, ONE, 10)
    for number in range(3):
        probe = _grant(ONE, name=f"p{number}", at=NOW + 600)
        registry.record_admission(probe)
        states.append(registry.by_name[OWN].state)
        registry.record_outcome(probe, OK, NOW + 601)
    assert states == [BreakerState.HALF_OPEN] * 3
    assert OWN not in registry.by_name


def test_the_breaker_of_a_healthy_account_is_removed() -> None:
    """Once its window holds no failure; the source's stays, and so does one that is not closed."""
    registry = _registry()
    _fail(registry, ONE)
    registry.record_outcome(_grant(ONE), OK, NOW + 1)
    assert OWN in registry.by_name
    registry.record_outcome(_grant(ONE), OK, NOW + 600)
    assert list(registry.by_name) == ["meta"]
    _fail(registry, ONE, 10)
    registry.record_outcome(_grant(ONE), OK, NOW + 600)
    assert registry.by_name[OWN].state is BreakerState.OPEN


def test_an_admitted_call_is_a_probe_where_a_breaker_is_not_closed() -> None:
    """It is one of an open breaker after the cool-down, and a neutral outcome takes it back."""
    registry = _registry()
    registry.record_admission(_grant(ONE))
    assert list(registry.by_name) == ["meta"]
    _fail(registry, ONE, 10)
    late = _grant(ONE, name="probe", at=NOW + 600)
    registry.record_admission(late)
    assert registry.by_name["meta"].probes == ()
    assert registry.by_name[OWN].probes == (("probe", NOW + 630),)
    registry.record_outcome(late, CallOutcome(CallOutcomeKind.THROTTLED), NOW + 601)
    assert registry.by_name[OWN].probes == ()
    assert registry.by_name[OWN].state is BreakerState.HALF_OPEN


def test_a_call_concerns_one_account_or_none() -> None:
    """Two accounts are none; the account's breaker is named after it, and the name gives it back."""
    assert single_account((APP, ONE, ONE)) == ONE
    assert single_account((ONE, TWO)) is single_account((TWO, ONE)) is None
    assert single_account((APP,)) is None
    assert breaker_names("meta", (ONE, APP)) == ("meta", OWN)
    assert breaker_names("meta", (APP,)) == ("meta",)
    assert account_in_breaker_name(OWN) == "account:act_1"
    assert [account_in_breaker_name(name) for name in ("meta", "account:act_1", "my source")] == [None] * 3
