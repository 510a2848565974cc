"""Says who opens a report: the token's class, what a trusted backend says, and reloads that announce themselves."""

from typing import Final

from adwarm.model import AccessToken, Actor
from adwarm.serving.problems import Problem

ACTOR_HEADER: Final = b"adwarm-actor"
"""Names the actor of a request; only a token of a trusted backend may."""
TRIGGER_HEADER: Final = b"adwarm-trigger"
"""Why the client asks: `open`, `poll` or `revalidate`."""
_RELOADS = frozenset({b"poll", b"revalidate"})
_ACTORS = {actor.value: actor for actor in (Actor.HUMAN, Actor.EMBEDDED, Actor.API)}


def is_reload(trigger: bytes | None) -> bool:
    """Whether the value of `Adwarm-Trigger` says that nobody asked: the client polls or revalidates by itself."""
    return trigger is not None and trigger.strip().lower() in _RELOADS


def choose_actor(token: AccessToken, header: bytes | None = None, *, is_hook_poll: bool = False) -> Actor:
    """Return who opens a report.

    Args:
        token: whose request it is; its class is the default.
        header: the value of `Adwarm-Actor`, which counts for a trusted token only.
        is_hook_poll: whether the client announced that it polls or revalidates; see `is_reload`.

    Raises:
        Problem: 400, a trusted token names an unknown actor.
    """
    if is_hook_poll:
        return Actor.API
    if header is None or not token.is_trusted:
        return token.actor
    actor = _ACTORS.get(header.decode("latin-1").strip().lower())
    if actor is None:
        raise Problem(400, "Bad Request", f"Adwarm-Actor is one of {', '.join(_ACTORS)}")
    return actor
