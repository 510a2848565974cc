"""What a quota belongs to, and what a platform says about how much of it is used."""

from dataclasses import dataclass
from enum import StrEnum

from adwarm.foundation.errors import BadRequest


class ScopeKind(StrEnum):
    """From the narrowest to the widest."""

    ACCOUNT = "account"
    APP = "app"
    TOKEN = "token"
    FLEET = "fleet"


_KINDS = {str(kind): kind for kind in ScopeKind}


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What a quota belongs to. `str()` gives its stored name; `id` never holds a secret, only a name or a hash."""

    kind: ScopeKind
    id: str = ""

    def __hash__(self) -> int:  # the id tells nearly all apart, and admission hashes several scopes per call
        return hash(self.id)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else str(self.kind)

    @classmethod
    def parse(cls, name: str) -> "Scope":
        """Return the scope stored as `name`.

        Raises:
            BadRequest: `name` starts with no kind of scope.
        """
        word, _, rest = name.partition(":")
        kind = _KINDS.get(word)
        if kind is None:
            raise BadRequest(f"{name[:80]!r} is not a scope; write one of {', '.join(ScopeKind)}, a colon and an id")
        return cls(kind, rest)


@dataclass(frozen=True, slots=True)
class UsageSample:
    """One usage figure the platform sent.

    Attributes:
        scope: what it is about.
        percent: 0 to 100, and above when the quota is overdrawn.
        regain_seconds: how long the platform asks to be left alone, if it said.
    """

    scope: Scope
    percent: float
    regain_seconds: float | None = None
