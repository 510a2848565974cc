"""Lets a scope be called again before its time: a parked scope, an open breaker, or an isolated connection or account.

| what holds the scope back | what un-parking does                                                                   |
|---------------------------|---------------------------------------------------------------------------------------|
| a park                    | ends now; if the platform still throttles, the next call parks the scope again         |
| an open breaker           | the next calls test the upstream; when they fail, it opens again                       |
| an isolation              | ends now; the next failures isolate the scope again, for longer                        |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from adwarm.actions.audit import Doer, audited, make_digest
from adwarm.actions.services import ActionServices
from adwarm.backpressure.breakers import account_breaker_name, source_scope
from adwarm.backpressure.status import BreakerStatus
from adwarm.foundation.errors import BadRequest
from adwarm.model import Scope, ScopeKind

BlockKind = Literal["parked", "breaker", "isolated"]
_HUMAN_CAUSES = {"Blocked": "the platform blocks it", "TokenDead": "its access token is dead"}


@dataclass(frozen=True, slots=True)
class Block:
    """Something that keeps a scope from being called.

    Attributes:
        scope: such as `account:act_1`, `source:meta` or `connection:NAME`; what `unpark` takes.
        kind: a park that the platform asked for, an open breaker, or an isolation.
        since: when it began; None when that is not known.
        until: until when, as the platform asked or the rules say; None while the scope is being tested.
        why: the reason.
        breaker: name of the breaker; empty for the other kinds.
        human_cause: what only a human can fix, such as a block by the platform; empty when it passes by itself.
    """

    scope: str
    kind: BlockKind
    since: datetime | None
    until: datetime | None
    why: str
    breaker: str = ""
    human_cause: str = ""

    def __str__(self) -> str:
        until = f" until {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else ""
        names = {"parked": "parked", "breaker": "not called after failures", "isolated": "isolated"}
        cause = f" ({self.human_cause}: fix that first, or it is held back again at once)" if self.human_cause else ""
        return f"{self.scope} is {names[self.kind]}{until}: {self.why}{cause}"


def list_blocks(services: ActionServices, scope: str | None = None) -> list[Block]:
    """Return what keeps scopes, or one scope, from being called now, widest first."""
    status = services.admission.list_blocked()
    blocks = [
        Block(item.scope, "parked", item.parked_since, item.parked_until, item.parked_why or "no reason given")
        for item in status.parked
    ]
    blocks += [_breaker_block(item) for item in status.breakers]
    blocks += [
        Block(
            item.scope,
            "isolated",
            item.since,
            item.until,
            item.reason or "no reason given",
            human_cause=_HUMAN_CAUSES.get(item.kind or "", ""),
        )
        for item in services.isolation.list_isolated()
    ]
    chosen = [block for block in blocks if scope is None or block.scope == scope]
    return sorted(chosen, key=lambda block: (block.scope.startswith("account:"), block.scope, block.kind))


def digest_blocks(blocks: Sequence[Block]) -> str:
    """Return a digest of blocks that were shown."""
    return make_digest([[block.scope, block.kind, block.until, block.why] for block in blocks])


def unpark(services: ActionServices, doer: Doer, scope: str, why: str = "") -> str:
    """Let a scope be called again, and return what was ended.

    A scope that nothing holds back is left as it is, and the answer says so. Every part goes through the state machine
    that holds it, so calls in flight and counts stay right.

    Raises:
        BadRequest: `scope` is not the name of a scope.
    """
    with audited(services, doer, "unpark", scope, {"why": why}) as action:
        check_scope(scope)
        blocks = list_blocks(services, scope)
        action.arguments["ended"] = [str(block) for block in blocks]
        parked = [Scope.parse(block.scope) for block in blocks if block.kind == "parked"]
        breakers = [block.breaker for block in blocks if block.kind == "breaker"]
        if parked or breakers:
            services.admission.unpark(parked, breakers)
        for block in blocks:
            if block.kind == "isolated":
                services.isolation.release(block.scope)
        action.detail = " | ".join(f"ended: {block}" for block in blocks) or (
            f"nothing holds {scope} back now; it may have been un-parked already, or its time is over"
        )
    return action.detail


def check_scope(name: str) -> None:
    """Check that a name may be that of a scope.

    Raises:
        BadRequest: it is not; the message lists the kinds.
    """
    kind, _, rest = name.partition(":")
    kinds = [*(str(kind) for kind in ScopeKind), "source", "connection", "fallback"]
    if kind not in kinds or (not rest and name != str(ScopeKind.FLEET)):
        raise BadRequest(
            f"{name[:80]!r} is not a scope; `adwarm unpark` lists those that are held back, such as account:act_1"
        )


def _breaker_block(item: BreakerStatus) -> Block:
    if item.account is None:
        scope, name = source_scope(item.source), item.source
    else:
        account = Scope(ScopeKind.ACCOUNT, item.account)
        scope, name = str(account), account_breaker_name(item.source, account)
    until = item.probe_at if item.state == "open" else None
    return Block(
        scope,
        "breaker",
        item.since,
        until,
        item.why or ("too many calls failed" if until else "it is being tested"),
        breaker=name,
    )
