"""Gates: whatever forbids calls for now. Each is a row of the table `gate`; those of one batch live in its process.

`may_call` answers for all of them: admission asks it for the switch of calls, parks and breakers, recovery for
isolations, the fetch of an account for its denials, a plan for the switches of planning, a batch for its own.

| rule        | scope                                | who closes it                 | what opens it                |
|-------------|--------------------------------------|-------------------------------|------------------------------|
| `stop`      | one batch                            | its time is over, its process | the next attempt             |
|             |                                      | ends                          |                              |
| `switch`    | `switch:NAME`                        | a person                      | a person                     |
| `park`      | account, app, token, fleet           | the platform: throttle, usage | the time it asked for        |
| `breaker`   | a source, an account of a source     | failed calls                  | probes                       |
| `isolation` | a connection, an account, a fallback | failed runs                   | probes; a new credential     |
|             |                                      |                               | where a token is dead        |
| `denial`    | an account, or one of a connection   | the platform: no permission   | a new credential; a day      |
| `version`   | a version of the API of a connection | the platform: it has ended    | a newer version; a person; a |
|             |                                      |                               | day                          |
| `field`     | a connection, or accounts of it;     | the platform: it refuses a   | a week; a new credential or  |
|             | stays open: the field is left out    | field                        | version of its API           |
| `cooldown`  | a healing action, not a call         | the action, when it runs      | its time                     |

How each rule closes its gate is decided beside the rule: `adwarm.backpressure.scope_state` (parks),
`adwarm.backpressure.breakers`, `adwarm.recovery.isolation`, `adwarm.store.switches`, `adwarm.store.denials`
(denials, fields, versions), `adwarm.prefetch.batch` (stops), `adwarm.store.healing_runs` (cool-downs). This module is
pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, overload

_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""The latest time that is shown: a stored number may exceed what a datetime can hold."""
FOREVER: Final = _LATEST.timestamp()
"""Until when a gate is closed that no time opens."""
CALLS_SWITCH: Final = "switch:calls"
"""The scope of every call."""


class Rule(StrEnum):
    """Why a gate closes; a rule that comes first decides first."""

    STOP = "stop"
    SWITCH = "switch"
    PARK = "park"
    BREAKER = "breaker"
    VERSION = "version"
    ISOLATION = "isolation"
    DENIAL = "denial"
    FIELD = "field"
    COOLDOWN = "cooldown"


class OpenedBy(StrEnum):
    """What opens a closed gate."""

    TIME = "time"
    PROBES = "probes"
    CREDENTIAL = "credential"
    VERSION = "version"
    PERSON = "person"


class GateState(StrEnum):
    """Whether calls pass; `TESTING` lets a few pass as probes."""

    OPEN = "open"
    CLOSED = "closed"
    TESTING = "testing"


_ORDER: Final = {rule: place for place, rule in enumerate(Rule)}
_OF_BREAKER: Final = {"closed": GateState.OPEN, "half_open": GateState.TESTING, "open": GateState.CLOSED}


@dataclass(frozen=True, slots=True)
class Gate:
    """One rule of one scope. Times are in seconds since the epoch.

    Attributes:
        scope: what it guards, such as `account:act_1`, `source:meta` or `connection:NAME`.
        closed_until: no call passes before; None while it is open.
        why: what closed it; of an open gate the last failure, or nothing.
        kept_until: when the row has no effect any more; None: its own rule ends it.
        data: the rule's own values, as it stores them.
    """

    scope: str
    rule: Rule
    since: float = 0.0
    closed_until: float | None = None
    why: str = ""
    opened_by: OpenedBy = OpenedBy.PROBES
    kept_until: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> GateState:
        """Whether calls pass."""
        if self.closed_until is None:
            return GateState.OPEN
        return _OF_BREAKER[self.data.get("state", "open")]

    @property
    def account_id(self) -> str | None:
        """The account that it guards; None for what accounts share."""
        kind, _, account_id = self.scope.rpartition(" ")[2].partition(":")
        return account_id if kind == "account" else None

    def remaining_seconds(self, now: float) -> float:
        """Return the seconds until a call passes; 0 when one may pass now."""
        return 0.0 if self.closed_until is None else max(0.0, self.closed_until - now)

    def bounded(self, now: float, longest: float) -> "Gate":
        """Return the gate, closed for `longest` seconds from now at most: clocks of workers differ."""
        return replace(self, closed_until=now + longest) if self.remaining_seconds(now) > longest else self

    def to_dict(self) -> dict[str, Any]:
        """Return the gate as it is shown, in UTC; one that is tested, or that a person opens, has no end."""
        has_end = self.state is GateState.CLOSED and self.opened_by is not OpenedBy.PERSON
        return {
            "scope": self.scope,
            "account": self.account_id,
            "rule": str(self.rule),
            "state": str(self.state),
            "since": to_datetime(self.since),
            "until": to_datetime(self.closed_until) if has_end else None,
            "opened_by": str(self.opened_by),
            "why": self.why,
        }


def may_call(gates: Iterable[Gate], now: float) -> Gate | None:
    """Return the gate that forbids a call at `now`; None when the call may be made.

    Of several closed gates the first rule decides, then one that lets no probe pass, then the one that stays closed
    longest.
    """
    closed = [gate for gate in gates if gate.remaining_seconds(now) > 0]
    return max(closed, key=lambda gate: _rank(gate, now), default=None)


def _rank(gate: Gate, now: float) -> tuple[int, bool, float]:
    return -_ORDER[gate.rule], gate.state is GateState.CLOSED, gate.remaining_seconds(now)


@overload
def to_datetime(seconds: float) -> datetime: ...


@overload
def to_datetime(seconds: float | None) -> datetime | None: ...


def to_datetime(seconds: float | None) -> datetime | None:
    """Return seconds since the epoch as UTC; a stored number may exceed what a datetime can hold."""
    return None if seconds is None else datetime.fromtimestamp(min(max(seconds, 0.0), _LATEST.timestamp()), UTC)
