"""What a quota belongs to, and the usage that a platform reports for it."""

from dataclasses import dataclass
from enum import StrEnum

from adwarm.foundation.errors import BadRequest


class ScopeKind(StrEnum):
    """Kinds of scopes, from the narrowest to the widest."""

    ACCOUNT = "account"
    APP = "app"
    TOKEN = "token"
    FLEET = "fleet"


_KINDS = {str(kind): kind for kind in ScopeKind}


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What a quota belongs to. `str()` returns its stored name. `id` is a name or a hash, never a secret."""

    kind: ScopeKind
    id: str = ""

    def __hash__(self) -> int:  # admission hashes several scopes per call, and ids alone rarely collide
        return hash(self.id)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else str(self.kind)

    @classmethod
    def parse(cls, name: str) -> "Scope":
        """Return the scope stored as `name`.

        Raises:
            BadRequest: `name` does not start with a kind of scope.
        """
        prefix, _, rest = name.partition(":")
        kind = _KINDS.get(prefix)
        if kind is None:
            raise BadRequest(f"{name[:80]!r} is not a scope; write one of {', '.join(ScopeKind)}, a colon and an id")
        return cls(kind, rest)


@dataclass(frozen=True, slots=True)
class UsageSample:
    """One usage figure that the platform reported.

    Attributes:
        scope: what the quota belongs to.
        percent: 0 to 100, or above when the quota is exceeded.
        regain_seconds: how long the platform asks callers to wait; None when it does not say.
    """

    scope: Scope
    percent: float
    regain_seconds: float | None = None
