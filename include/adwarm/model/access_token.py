"""Access tokens of the read API: what their holder may read, enqueue and see."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from adwarm_client.keys import Actor, Priority


class TokenScope(StrEnum):
    """What a token allows.

    `read` returns what is stored and never causes an upstream call. `enqueue` also requests what is missing or old.
    `admin` also shows the state of the whole system, and may read every account.
    """

    READ = "read"
    ENQUEUE = "enqueue"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token of the read API, without its secret.

    Attributes:
        id: public id, the first part of the token that its holder sends.
        name: what it is for, in its owner's words.
        scopes: what it allows.
        accounts: the accounts it may read; None for all.
        actor: who opens reports with it, unless a trusted backend says otherwise.
        is_trusted: whether its holder is a backend that may name the actor of each request (`Adwarm-Actor`).
        highest_priority: the most urgent class its requests may have.
        daily_new_keys: how many report keys it may request in a UTC day that were never stored.
        daily_refetches: how many fetches of stored reports it may cause in a UTC day: for stale ones, and for those
            that its notices of arrived data make old.
        rate_per_second: its requests per second; None for the setting's.
        created_at: when it was made, UTC.
        expires_at: when it stops working; None for never.
        revoked_at: when it was revoked; None while it is not.
    """

    id: str
    name: str
    scopes: frozenset[TokenScope]
    accounts: frozenset[str] | None = None
    actor: Actor = Actor.HUMAN
    is_trusted: bool = False
    highest_priority: Priority = Priority.NORMAL
    daily_new_keys: int = 100
    daily_refetches: int = 1_000
    rate_per_second: float | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, at: datetime) -> bool:
        """Whether it is neither revoked nor expired at `at`."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)

    def allows(self, scope: TokenScope) -> bool:
        """Whether it has the scope; `admin` includes the others, and `enqueue` includes `read`."""
        if TokenScope.ADMIN in self.scopes or scope in self.scopes:
            return True
        return scope is TokenScope.READ and TokenScope.ENQUEUE in self.scopes

    def names(self, account_id: str) -> bool:
        """Whether the account is on its list; a token without one names none."""
        return self.accounts is not None and account_id in self.accounts

    def may_read(self, account_id: str) -> bool:
        """Whether the account is on its list, or it has none."""
        return self.accounts is None or account_id in self.accounts or TokenScope.ADMIN in self.scopes
