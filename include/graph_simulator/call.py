"""One call as plain values, and one answer as bytes: what the platform takes and gives, without any HTTP server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from graph_simulator.fault_profile import FaultRule
from graph_simulator.faults.schedule import Fired
from graph_simulator.quota.cost import NOTHING, Cost

_ACCOUNT_NODE = re.compile(r"act_[0-9]{1,20}")


@dataclass(slots=True)
class Bill:
    """What answering a call took, filled in while it is answered."""

    cost: Cost = NOTHING
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
