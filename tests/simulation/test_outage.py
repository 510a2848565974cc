"""Tests of an outage of a minute through the real pipeline and the real admission, in virtual time."""

import pytest

from . import outage


@pytest.mark.slow
def test_an_outage_costs_few_calls_and_ends_at_once() -> None:
    """Every key is fetched, no account is isolated, and readers get the stored entry with a reason throughout."""
    result = outage.simulate_outage()

    assert result.fetched == outage.KEYS
    assert result.is_good, result


def test_equal_seeds_are_equal_outages() -> None:
    """Threads in virtual time run in a fixed order."""
    assert outage.simulate_outage(400, seed=3) == outage.simulate_outage(400, seed=3)


@pytest.mark.slow
def test_without_a_breaker_the_load_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An admission that admits every call during the outage breaks the bound."""
    limits = outage.BackpressureSettings
    monkeypatch.setattr(outage, "BackpressureSettings", lambda **values: limits(breaker_min_calls=1_000_000, **values))
    result = outage.simulate_outage(4_000)

    assert result.calls_per_key > outage.MOST_CALLS_PER_FIRST_TRY
