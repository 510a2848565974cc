"""The switches that people turn while everything runs: all calls, planned warms, and shadow mode.

| switch    | never turned | while it is                                                                          |
|-----------|--------------|--------------------------------------------------------------------------------------|
| `calls`   | on           | off: no platform is called by any process, also not for readers                     |
| `warming` | on           | off: no planned warm is fetched; what readers request is fetched as before           |
| `shadow`  | off          | on: plans are stored as shadow plans, and no batch carries them out                  |

Each is a gate that is closed while it is not in the position of one that was never turned. Every call is admitted by
that of `calls`; `warming` and `shadow` are read by what plans and carries out plans.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Engine, select

from adwarm.foundation.gate import FOREVER, Gate, GateState, OpenedBy, Rule, may_call, to_datetime
from adwarm.store.database import read_statement, write_transaction
from adwarm.store.gates import read_row, save_gates, table

SWITCH: Final = "switch:"
"""How the scopes of switches begin."""


class Switch(StrEnum):
    """The name of a switch."""

    CALLS = "calls"
    WARMING = "warming"
    SHADOW = "shadow"


DEFAULTS: Final = {Switch.CALLS: True, Switch.WARMING: True, Switch.SHADOW: False}
"""The positions of switches that were never turned."""


@dataclass(frozen=True, slots=True)
class SwitchState:
    """The position of a switch."""

    name: Switch
    is_on: bool
    changed_at: datetime | None = None
    changed_by: str = ""
    why: str = ""

    @property
    def is_turned(self) -> bool:
        """Whether it is in another position than one that was never turned, so that it stops something."""
        return self.is_on is not DEFAULTS[self.name]

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
        return read_switches(connection)


def find_stop(engine: Engine) -> str | None:
    """Return why no planned warm may be fetched now; None when calls and warming are on."""
    scopes = [f"{SWITCH}{name}" for name in (Switch.CALLS, Switch.WARMING)]
    query = select(table).where(table.c.rule == Rule.SWITCH, table.c.scope.in_(scopes)).order_by(table.c.scope)
    with read_statement(engine) as connection:
        gate = may_call(map(read_row, connection.execute(query).mappings()), now=0.0)  # no time opens a switch
    return None if gate is None else gate.why


def set_switch(engine: Engine, state: SwitchState) -> SwitchState:
    """Turn a switch, and return its state before. One that is in that position already stays as it is."""
    with write_transaction(engine) as connection:
        before = read_switches(connection)[state.name]
        if before.is_on is not state.is_on or before.changed_at is None:
            save_gates(connection, [_to_gate(state)])
    return before


def read_switches(connection: Connection) -> dict[Switch, SwitchState]:
    """Return every switch, like `list_switches`, in a transaction."""
    rows = connection.execute(select(table).where(table.c.rule == Rule.SWITCH)).mappings()
    return to_switches(map(read_row, rows))


def to_switches(gates: Iterable[Gate]) -> dict[Switch, SwitchState]:
    """Return every switch, given the gates of those that were ever turned, among any others."""
    states = {name: SwitchState(name, is_on) for name, is_on in DEFAULTS.items()}
    for gate in gates:
        if gate.rule is not Rule.SWITCH:
            continue
        name = Switch(gate.scope.removeprefix(SWITCH))
        is_on = DEFAULTS[name] is (gate.state is GateState.OPEN)
        states[name] = SwitchState(name, is_on, to_datetime(gate.since), gate.data["by"], gate.data["why"])
    return states


def _to_gate(state: SwitchState) -> Gate:
    """Return the gate of a switch, which is open in the position of one that was never turned."""
    since = state.changed_at.timestamp() if state.changed_at else 0.0
    closed_until = FOREVER if state.is_turned else None
    data = {"by": state.changed_by, "why": state.why}
    return Gate(
        f"{SWITCH}{state.name}", Rule.SWITCH, since, closed_until, why=str(state), opened_by=OpenedBy.PERSON, data=data
    )
