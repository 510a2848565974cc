"""Switches: their default positions, who turned them, and that a second turn changes nothing."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.store.switches import Switch, SwitchState, find_stop, list_switches, set_switch

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)


def test_warming_is_on_and_shadow_mode_off_by_default(engine: Engine) -> None:
    """An installation that nobody has touched warms."""
    assert {name: state.is_on for name, state in list_switches(engine).items()} == {
        Switch.CALLS: True,
        Switch.WARMING: True,
        Switch.SHADOW: False,
    }
    assert find_stop(engine) is None


def test_a_second_turn_keeps_who_turned_it_first(engine: Engine) -> None:
    """Turning a switch to its position changes nothing, and returns who put it there."""
    first = SwitchState(Switch.WARMING, False, NOW, "ann", "incident")
    assert set_switch(engine, first).changed_at is None
    assert set_switch(engine, SwitchState(Switch.WARMING, False, NOW + timedelta(hours=1), "bob", "again")) == first
    assert find_stop(engine) == "warming is switched off since 2026-03-04 10:00 UTC by ann: incident"
    set_switch(engine, SwitchState(Switch.WARMING, True, NOW + timedelta(hours=2), "bob", "over"))
    assert find_stop(engine) is None
