"""Healers of what fetching needs: the token of a connection, its HTTP sessions, and the stored days.

| action              | heals once for             | every process then               |
|---------------------|----------------------------|----------------------------------|
| `token_refresh`     | a connection               | reads the connection again       |
| `session_restart`   | a connection and a process | -                                |
| `partition_refetch` | the damaged objects        | finds their days missing         |
"""

import os
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import entry_points

from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, NoCapacity, Refused, TokenDead, Transient
from adwarm.foundation.wording import format_count
from adwarm.model import Priority, ReportKey, Window
from adwarm.recovery import Failure
from adwarm.recovery.retry import ErrorFilter
from adwarm.settings import Settings
from adwarm.sources.pool import SourcePool
from adwarm.store import Context, partitions, quarantine
from adwarm.store.partition_rows import DamagedObjects
from adwarm.store.quarantine import DamagedItem

TOKEN_REFRESH_GROUP = "adwarm.token_refresh"
"""The group of entry points with functions that renew the token of a connection where it is stored."""
TokenHook = Callable[[str], object]
"""Gets the name of the connection."""
_HOOK_SECONDS = 60.0
"""How long the other threads of a process wait for one that renews the token."""


@dataclass(eq=False)
class TokenRefresh:
    """Reads a connection again whose token is dead, after the user's hooks, if any, have renewed it.

    Without a hook it takes over what a human has renewed.

    Attributes:
        cooldown_seconds: the shortest time between two runs for one connection, over all workers.
        hooks: renew the token where it is stored; those of the installed packages by default.
    """

    action = "token_refresh"

    get_pool: Callable[[], SourcePool]
    errors: ErrorFilter
    cooldown_seconds: float
    hooks: Sequence[TokenHook] | None = None
    _locks: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock), init=False)

    def matches(self, failure: Failure) -> bool:
        """Return whether the error is one that it is for, and the connection one of this process."""
        return self.errors.matches(failure.error) and self.get_pool().has(failure.call.connection)

    def scope(self, failure: Failure) -> str:
        """Return the name of the connection."""
        return failure.call.connection

    def heal(self, failure: Failure) -> str:
        """Call the hooks and read the connection again.

        Raises:
            TokenDead: it still has the token that was refused; the message names the connection.
            AdwarmError: a hook failed, or the connection cannot be read.
        """
        name = self.scope(failure)
        with self._turn(name):
            hooks = list_token_hooks() if self.hooks is None else self.hooks
            for hook in hooks:
                _call_hook(hook, name)
            if self.get_pool().reload(name, than=_credential_of(failure), force=True):
                return f"connection {name} has another token" + (", which the hook renewed" if hooks else "")
        did = "the hook did not renew it" if hooks else "it was not renewed"
        raise TokenDead(f"connection {name} still has the token that was refused; {did}: renew it there")

    def adopt(self, failure: Failure) -> bool:
        """Return whether the connection has another token by now, after its renewal in another thread, if one runs.

        So it does not matter whether this healer, another one, or a human has renewed it.
        """
        name = self.scope(failure)
        with self._turn(name):
            return self.get_pool().is_renewed(name, _credential_of(failure))

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """Wait for the thread that renews this connection now."""
        lock = self._locks[name]
        if not lock.acquire(timeout=_HOOK_SECONDS):
            raise Transient(f"the renewal of the token of connection {name} takes longer than {_HOOK_SECONDS:.0f} s")
        try:
            yield
        finally:
            lock.release()


@dataclass(eq=False)
class SessionRestart:
    """Gives every thread of this process a new HTTP session for a connection whose calls keep failing.

    Attributes:
        cooldown_seconds: the shortest time between two runs for one connection of this process.
    """

    action = "session_restart"

    get_pool: Callable[[], SourcePool]
    errors: ErrorFilter
    cooldown_seconds: float

    def matches(self, failure: Failure) -> bool:
        """Return whether the error is one that it is for, and the connection one of this process.

        Throttling is never one: a new session would not end it.
        """
        error = failure.error
        if isinstance(error, NoCapacity) or not self.errors.matches(error):
            return False
        return self.get_pool().has(failure.call.connection)

    def scope(self, failure: Failure) -> str:
        """Return the connection with this process, since sessions belong to a process."""
        return f"{failure.call.connection}@{socket.gethostname()[:40]}:{os.getpid()}"

    def heal(self, failure: Failure) -> str:
        """Let the threads make new sessions."""
        self.get_pool().restart(failure.call.connection)
        return f"connection {failure.call.connection} gets new HTTP sessions"

    def adopt(self, failure: Failure) -> bool:
        """Return whether the calling thread still has a session from before the restart."""
        return self.get_pool().is_outdated(failure.call.connection)


@dataclass(eq=False)
class PartitionRefetch:
    """Sets damaged or lost objects with stored days aside and deletes their days, so that they are fetched again.

    A refresh of the account fetches them at once. For every other reader they are enqueued with low priority, so that
    they are fetched within the budget.

    Attributes:
        queue: takes the days that the reader does not fetch by itself.
        cooldown_seconds: the shortest time between two runs for the same objects, over all workers.
    """

    action = "partition_refetch"

    context: Context
    queue: RequestQueue
    clock: Clock
    errors: ErrorFilter
    cooldown_seconds: float

    def matches(self, failure: Failure) -> bool:
        """Return whether the error is about objects with stored days."""
        return isinstance(failure.error, DamagedObjects) and self.errors.matches(failure.error)

    def scope(self, failure: Failure) -> str:
        """Return the hash of the object, or one hash for several."""
        digests = _digests_of(failure)
        return digests[0] if len(digests) == 1 else sha256(",".join(sorted(digests)).encode()).hexdigest()

    def heal(self, failure: Failure) -> str:
        """Set the objects aside, and request the days that the reader does not fetch by itself.

        Raises:
            AdwarmError: the store cannot be written.
        """
        error, call = failure.error, failure.call
        digests, now = _digests_of(failure), self.clock.now()
        lost = [span for digest in digests for span in partitions.list_spans_of_object(self.context.engine, digest)]
        for digest in digests:
            item = DamagedItem("partition", digest, call.account_id, str(error), now)
            quarantine.set_aside(self.context, item)
        objects = format_count(len(digests), "object")
        spans = "; ".join(f"{account_id} {window}" for account_id, _, window in lost) or "no day needs them any more"
        if isinstance(error, DamagedObjects) and error.refetched_by_reader:
            return f"set aside {objects}; fetched again: {spans}"
        return f"set aside {objects} ({spans}); {self._enqueue(lost)}"

    def adopt(self, failure: Failure) -> bool:
        """Return whether no stored day refers to the objects any more."""
        return not any(partitions.list_spans_of_object(self.context.engine, digest) for digest in _digests_of(failure))

    def _enqueue(self, lost: Sequence[tuple[str, str, Window]]) -> str:
        """Request the days, and return the result."""
        reports = _reports_by_hash(self.context.settings)
        numbers: list[int] = []
        for account_id, spec_hash, window in lost:
            if spec_hash not in reports:
                continue  # no report reads them any more
            key = ReportKey(account_id, str(window), reports[spec_hash])
            try:
                numbers.append(self.queue.enqueue(key, Priority.LOW).id)
            except Refused as refused:
                return f"the queue takes no request ({refused}); the next warming of the account fetches them"
        return f"requested as {', '.join(map(str, numbers))}" if numbers else "nothing was requested"


@cache
def list_token_hooks() -> tuple[TokenHook, ...]:
    """Return the functions that the installed packages offer as entry points, in the order of their names.

    Raises:
        AdwarmError: one of them cannot be imported.
    """
    hooks = []
    for point in sorted(entry_points(group=TOKEN_REFRESH_GROUP), key=lambda point: point.name):
        try:
            hooks.append(point.load())
        except Exception as error:
            raise AdwarmError(
                f"the entry point {point.name} of {TOKEN_REFRESH_GROUP} cannot be imported ({type(error).__name__})"
            ) from error
    return tuple(hooks)


def _call_hook(hook: TokenHook, connection: str) -> None:
    try:
        hook(connection)
    except Exception as error:  # the user's own code; the text of its error may be a secret
        raise AdwarmError(
            f"the function of {TOKEN_REFRESH_GROUP} failed for connection {connection} ({type(error).__name__})"
        ) from None


def _credential_of(failure: Failure) -> str:
    return failure.error.credential if isinstance(failure.error, TokenDead) else ""


def _digests_of(failure: Failure) -> tuple[str, ...]:
    return failure.error.digests if isinstance(failure.error, DamagedObjects) else ()


def _reports_by_hash(settings: Settings) -> dict[str, str]:
    """Return the report of each spec hash; the first configured one where several are equal."""
    return {settings.spec(name).hash: name for name in reversed(settings.reports)}
