"""The switches that people turn while everything runs: all calls, planned warms, and shadow mode.

| switch    | never turned | while it is                                                                          |
|-----------|--------------|--------------------------------------------------------------------------------------|
| `calls`   | on           | off: no platform is called by any process, also not for readers                     |
| `warming` | on           | off: no planned warm is fetched; what readers request is fetched as before           |
| `shadow`  | off          | on: plans are stored as shadow plans, and no batch carries them out                  |
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Boolean, Connection, Engine, String, Table, Text, select

from adwarm.store.columns import UtcDateTime, key_column, metadata, value_column
from adwarm.store.database import read_statement, upsert, write_transaction

# One row per switch that was ever changed: `warming` (the kill switch) and `shadow`.
table = Table(
    "control_switch",
    metadata,
    key_column("name", String(40)),
    value_column("is_on", Boolean),
    value_column("changed_at", UtcDateTime()),
    value_column("changed_by", String(250)),
    value_column("why", Text, ""),
)


class Switch(StrEnum):
    """The name of a switch."""

    CALLS = "calls"
    WARMING = "warming"
    SHADOW = "shadow"


DEFAULTS: Final = {Switch.CALLS: True, Switch.WARMING: True, Switch.SHADOW: False}
"""The positions of switches that were never turned."""


@dataclass(frozen=True, slots=True)
class SwitchState:
    """The position of a switch.

    Attributes:
        name: the switch.
        is_on: its position.
        changed_at: when it was turned last, UTC; None when it never was.
        changed_by: who turned it.
        why: why, in their words.
    """

    name: Switch
    is_on: bool
    changed_at: datetime | None = None
    changed_by: str = ""
    why: str = ""

    def __str__(self) -> str:
        position = "on" if self.is_on else "off"
        verb = "are" if self.name is Switch.CALLS else "is"
        if self.changed_at is None:
            return f"{self.name} {verb} switched {position}, as always"
        since = f"{self.changed_at:%Y-%m-%d %H:%M} UTC"
        return f"{self.name} {verb} switched {position} since {since} by {self.changed_by}: {self.why}"


def list_switches(engine: Engine) -> dict[Switch, SwitchState]:
    """Return every switch; one that was never turned is in its default position."""
    with read_statement(engine) as connection:
        return _read(connection)


def find_stop(engine: Engine) -> str | None:
    """Return why no planned warm may be fetched now; None when calls and warming are on."""
    states = list_switches(engine)
    stops = (states[name] for name in (Switch.CALLS, Switch.WARMING) if not states[name].is_on)
    return next((str(state) for state in stops), None)


def find_call_stop(engine: Engine) -> str | None:
    """Return why no platform may be called now; None when calls are on."""
    state = list_switches(engine)[Switch.CALLS]
    return None if state.is_on else str(state)


def set_switch(engine: Engine, state: SwitchState) -> SwitchState:
    """Turn a switch, and return its state before. One that is in that position already stays as it is."""
    with write_transaction(engine) as connection:
        before = _read(connection)[state.name]
        if before.is_on is not state.is_on or before.changed_at is None:
            row: dict[str, Any] = {
                "name": state.name.value,
                "is_on": state.is_on,
                "changed_at": state.changed_at,
                "changed_by": state.changed_by,
                "why": state.why,
            }
            upsert(connection, table, [row])
    return before


def _read(connection: Connection) -> dict[Switch, SwitchState]:
    states = {name: SwitchState(name, is_on) for name, is_on in DEFAULTS.items()}
    for row in connection.execute(select(table).where(table.c.name.in_([str(name) for name in Switch]))):
        states[Switch(row.name)] = SwitchState(Switch(row.name), row.is_on, row.changed_at, row.changed_by, row.why)
    return states
