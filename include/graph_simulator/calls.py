"""Calls and replies as plain values, and the log of calls that were served.

A call is what the limits count: a page, a submit, a poll, an entry of a batch. The envelope of a batch is a request but
not a call: it is logged and not counted.
"""

import re
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from graph_simulator.call_cost import NOTHING, CallCost
from graph_simulator.fault_profile import FaultRule
from graph_simulator.fault_schedule import ActiveFaults

LOG_LENGTH = 200_000
_ACCOUNT_NODE = re.compile(r"act_[0-9]{1,20}")


@dataclass(slots=True)
class CallWork:
    """The work that a call took; filled in while the call is served."""

    cost: CallCost = NOTHING
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One Graph API call.

    Attributes:
        version: the API version, such as `v26.0`.
        parts: the segments of the path after the version.
        url: the address without its query.
        batched: whether it is an entry of a batch.
    """

    version: str
    parts: tuple[str, ...]
    params: Mapping[str, str]
    url: str
    bearer: str | None = None
    method: str = "GET"
    faults: ActiveFaults = field(default_factory=ActiveFaults)
    work: CallWork = field(default_factory=CallWork)
    batched: bool = False

    @property
    def verb(self) -> str:
        """The effective HTTP method; the parameter `method` overrides the real one."""
        return self.params.get("method", self.method).upper()

    @property
    def account(self) -> str | None:
        """The account that the path names."""
        return self.parts[0] if self.parts and _ACCOUNT_NODE.fullmatch(self.parts[0]) else None

    @property
    def kind(self) -> str:
        """The name under which the call is counted."""
        if self.account is not None:
            return self.parts[1] if len(self.parts) > 1 else "account"
        return self.parts[-1] if self.parts else "root"

    @property
    def token(self) -> str:
        """The access token; the Authorization header takes precedence over the parameter."""
        return self.bearer or self.params.get("access_token", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """One response; `wire` is the fault that strikes while it is sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    wire: FaultRule | None = None


class CallCounts(TypedDict):
    """Counts of calls since the last reset, without control calls."""

    total: int
    accounts: dict[str, int]
    paths: dict[str, int]
    statuses: dict[str, int]


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One served call or batch envelope.

    Attributes:
        account: the account it was about, also when the path named a report or an ad.
        path: the name under which it is counted.
        code: the error code; None for a success.
        cpu_ms: CPU time charged to the account.
        wall_ms: wall time charged to the account.
        early: whether the account was still blocked, by the headers of an earlier response.
        in_flight: open calls about the account at that moment, this one included.
        faults: the kinds of faults that hit it.
    """

    at: datetime
    account: str | None
    path: str
    route: str
    method: str
    status: int
    code: int | None
    subcode: int | None
    rows: int
    cpu_ms: int
    wall_ms: int
    early: bool
    in_flight: int
    batched: bool
    faults: tuple[str, ...]


class CallLog:
    """Counts calls by account, path and status, and keeps the last `LOG_LENGTH` of them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: Counter[str] = Counter()
        self._paths: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._total = 0
        self._entries: deque[LoggedCall] = deque(maxlen=LOG_LENGTH)
        self._logged = 0
        self._open: Counter[str | None] = Counter()

    def record(self, call: LoggedCall, counted_as: str | None) -> None:
        """Log a served call and count it for the account `counted_as`; a batch envelope is not counted."""
        with self._lock:
            self._entries.append(call)
            self._logged += 1
            if call.route == "batch":
                return
            self._total += 1
            self._paths[call.path] += 1
            self._statuses[str(call.status)] += 1
            if counted_as is not None:
                self._accounts[counted_as] += 1

    @contextmanager
    def open_call(self, account: str | None) -> Iterator[None]:
        """Count a call as in flight while the block runs."""
        with self._lock:
            self._open[account] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[account] -= 1

    def in_flight(self, account: str | None) -> int:
        """Return the number of open calls about an account; at least 1, the current one."""
        with self._lock:
            return max(1, self._open[account])

    def entries(self, after: int = 0) -> tuple[list[LoggedCall], int]:
        """Return the entries logged after the first `after` ones, oldest first, and the next value for `after`."""
        with self._lock:
            retained = list(self._entries)
            dropped = self._logged - len(retained)
            return retained[max(0, after - dropped) :], self._logged

    def counts(self) -> CallCounts:
        """Return the counts since the last reset."""
        with self._lock:
            return CallCounts(
                total=self._total,
                accounts=dict(self._accounts),
                paths=dict(self._paths),
                statuses=dict(self._statuses),
            )

    def reset(self) -> None:
        """Clear the log and the counts."""
        with self._lock:
            self._total = self._logged = 0
            self._entries.clear()
            for counter in (self._accounts, self._paths, self._statuses):
                counter.clear()
