"""One call as plain values, and one answer as bytes: what the platform takes and gives, without any HTTP server."""

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
from graph_simulator.fault_schedule import Fired

_ACCOUNT_NODE = re.compile(r"act_[0-9]{1,20}")


@dataclass(slots=True)
class Bill:
    """What answering a call took, filled in while it is answered."""

    cost: CallCost = NOTHING
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `parts` is the path after the version; `url` is its address without the query.

    Attributes:
        fired: the faults that hit it.
        batched: whether it came as an entry of a batch.
    """

    version: str
    parts: tuple[str, ...]
    params: Mapping[str, str]
    url: str
    bearer: str | None = None
    method: str = "GET"
    fired: Fired = field(default_factory=Fired)
    bill: Bill = field(default_factory=Bill)
    batched: bool = False

    @property
    def verb(self) -> str:
        """What the call does: its HTTP method, or what its parameter `method` says instead."""
        return self.params.get("method", self.method).upper()

    @property
    def account(self) -> str | None:
        """The account that the path names."""
        return self.parts[0] if self.parts and _ACCOUNT_NODE.fullmatch(self.parts[0]) else None

    @property
    def kind(self) -> str:
        """What is called, for the counts."""
        if self.account is not None:
            return self.parts[1] if len(self.parts) > 1 else "account"
        return self.parts[-1] if self.parts else "root"

    @property
    def token(self) -> str:
        """The access token that the call carries; a header goes before a parameter."""
        return self.bearer or self.params.get("access_token", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `wire` is what befalls it on the way, if anything does."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    wire: FaultRule | None = None


LOG_LENGTH = 200_000


class CallCounts(TypedDict):
    """Calls answered since the last reset; control calls are not counted."""

    total: int
    accounts: dict[str, int]
    paths: dict[str, int]
    statuses: dict[str, int]


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One answered call or batch envelope.

    Attributes:
        at: the platform's time.
        account: the account it was about, also when the path named a report or an ad.
        path: what the counts call it; `route` is what the limits call it.
        code: the error's code; None for a success.
        cpu_ms: computing time it took from the account's hour; `wall_ms` likewise.
        early: whether the account had been told to stay away longer.
        in_flight: calls about the account that were open at that moment, this one included.
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
    """Counts calls by account, by path and by status, and keeps the last `LOG_LENGTH` of them."""

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
        """Log one answered call, counted under `counted_as`; a batch envelope is only logged."""
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
        """Count a call as in flight for as long as the block lasts."""
        with self._lock:
            self._open[account] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[account] -= 1

    def in_flight(self, account: str | None) -> int:
        """Return how many calls about an account are open, at least the one that asks."""
        with self._lock:
            return max(1, self._open[account])

    def entries(self, after: int = 0) -> tuple[list[LoggedCall], int]:
        """Return the log without its first `after` entries, oldest first, and the number to go on from."""
        with self._lock:
            kept = list(self._entries)
            first = self._logged - len(kept)
            return kept[max(0, after - first) :], self._logged

    def counts(self) -> CallCounts:
        """Return the counts so far."""
        with self._lock:
            return CallCounts(
                total=self._total,
                accounts=dict(self._accounts),
                paths=dict(self._paths),
                statuses=dict(self._statuses),
            )

    def reset(self) -> None:
        """Start again from nothing."""
        with self._lock:
            self._total = self._logged = 0
            self._entries.clear()
            for counter in (self._accounts, self._paths, self._statuses):
                counter.clear()
