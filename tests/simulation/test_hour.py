"""The simulated hour: its promises hold, it replays exactly, and a breach would be noticed."""

from dataclasses import replace

import pytest

from adwarm.backpressure.parking import Parking

from . import watch
from .hour import MINIMUM_CALLS, Knowing, drawn, play
from .watch import PromiseBroken


@pytest.mark.parametrize("seed", range(12))
def test_an_hour_keeps_every_promise(seed: int) -> None:
    """No parked scope is called, no known limit passed, shares are kept, every request ends; much is done."""
    assert play(drawn(seed)).calls >= MINIMUM_CALLS


def test_the_same_seed_is_the_same_hour() -> None:
    """Equal seeds give equal traces, event for event; another seed another."""
    assert play(drawn(3)) == play(drawn(3))
    assert play(drawn(3)).digest != play(drawn(4)).digest


def test_a_call_to_a_parked_scope_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An admission that forgets what is parked breaks the promise at the first such call."""
    blind = next(hour for hour in map(drawn, range(100)) if hour.knowing is Knowing.NOTHING)
    narrow = replace(blind.law, quota=blind.law.quota.model_copy(update={"base_calls": 30}))
    monkeypatch.setattr(Parking, "wait", lambda self, now: 0.0)
    with pytest.raises(PromiseBroken, match="while it was parked"):
        play(replace(blind, law=narrow))


def test_a_call_over_the_limit_is_noticed() -> None:
    """A cap that is set too high is found out by the platform's own count."""
    capped = next(hour for hour in map(drawn, range(100)) if hour.knowing is Knowing.CAP)
    loose = capped.settings.model_copy(update={"account_calls_per_window": 1_000})
    with pytest.raises(PromiseBroken, match="over a limit"):
        play(replace(capped, settings=loose, requests=900))


def test_a_class_that_is_cut_short_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all classes crowd, shares are judged: no class could be promised half as much again."""
    crowds = (hour for hour in map(drawn, range(200)) if hour.knowing is Knowing.CROWD)
    crowd = next(hour for hour in crowds if play(hour).windows)
    monkeypatch.setattr(watch, "SHARE_KEPT", 1.5)
    with pytest.raises(PromiseBroken, match="less than its share"):
        play(crowd)
