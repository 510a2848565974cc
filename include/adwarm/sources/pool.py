"""The sources of the connections: each used by one thread at a time, replaced when its credential was renewed.

| a thread that asks for a source                            | gets                                           |
|------------------------------------------------------------|------------------------------------------------|
| for the first time                                         | one that a thread has lent, else a new one     |
| again                                                      | the one that it has                            |
| after `reload` found another credential, or after `restart`| a new one; the old one's connections are closed |
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from adwarm.foundation.errors import AdwarmError, TokenDead
from adwarm.foundation.redaction import redact
from adwarm.sources.protocol import InsightsSource

log = logging.getLogger(__name__)
SourceFactory = Callable[[], InsightsSource]
"""Builds a source, which one thread at a time uses."""
Reload = Callable[[], SourceFactory]
"""Reads a connection again, where it is stored, and returns what builds its source from now on."""
RELOAD_SECONDS = 3.0
"""A connection is not read again sooner than this after the last time, by one process."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A thread's source, and the generation that it was built in."""

    source: InsightsSource
    generation: int


@dataclass
class _Connection:
    """What a process knows of one connection."""

    make: SourceFactory
    reload: Reload | None  # reads it again; None when it cannot change
    name: str = ""  # under which its accounts are stored; empty before the first source of the default connection
    generation: int = 0  # grows when threads have to build a new source
    credential: str | None = None  # the digest of the credential that `make` uses; None before the first source
    read_at: float | None = None  # when it was last read again, by the monotonic clock
    lent: list[_Held] = field(default_factory=list)  # the sources that no thread uses, with their open connections


@dataclass
class _ThreadSources(threading.local):
    """The sources of the calling thread, by connection."""

    by_connection: dict[str, _Held] = field(default_factory=dict)


class SourcePool:
    """Builds the sources of the connections, as many as threads use at a time. Safe to share between threads.

    The empty name, and every name that is no further connection, mean the default one.

    Args:
        make_default: builds the source of accounts that belong to no further connection.
        factories: builds the sources of further connections, by name.
        reloads: reads connections again, by name, the default one by the empty name. Others never change.
        monotonic: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        make_default: SourceFactory,
        factories: Mapping[str, SourceFactory] | None = None,
        reloads: Mapping[str, Reload] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        reloads = reloads or {}
        makes = {"": make_default, **(factories or {})}
        self._connections = {name: _Connection(make, reloads.get(name), name) for name, make in makes.items()}
        self._monotonic = monotonic
        self._state = threading.Lock()
        self._reading = threading.Lock()  # connections must not be read at the same time: see `reload`
        self._local = _ThreadSources()

    @property
    def make_default(self) -> SourceFactory:
        """What builds the default source now."""
        return self._connections[""].make

    @property
    def factories(self) -> dict[str, SourceFactory]:
        """What builds the sources of the further connections now, by name."""
        return {name: entry.make for name, entry in self._connections.items() if name}

    def get(self, connection: str) -> InsightsSource:
        """Return the calling thread's source of a connection; an unknown name means the default source."""
        key = self._key(connection)
        entry, held = self._connections[key], self._local.by_connection.get(key)
        with self._state:
            generation, make = entry.generation, entry.make
            if held is None and entry.lent:
                held = self._local.by_connection[key] = entry.lent.pop()
        if held is not None and held.generation == generation:
            return held.source
        if held is not None:
            held.source.close()
        source = make()
        self._local.by_connection[key] = _Held(source, generation)
        with self._state:
            if entry.generation == generation:
                entry.name, entry.credential = source.connection, source.credential
        return source

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Let other threads have the sources of the calling thread when the block ends."""
        try:
            yield
        finally:
            with self._state:
                for key, held in self._local.by_connection.items():
                    self._connections[key].lent.append(held)
            self._local.by_connection = {}

    def get_name(self, connection: str) -> str:
        """Return the name under which the accounts of a connection are stored, which is the same in every process."""
        return self.get(connection).connection

    def has(self, connection: str) -> bool:
        """Return whether a connection of this pool has this name in the store."""
        if not connection or connection in self._connections:
            return bool(connection)
        try:
            return connection == self.get_name("")
        except AdwarmError:  # the default connection is not valid; whoever needs it gets the error
            return False

    def reload(self, connection: str, *, than: str | None = None, force: bool = False) -> bool:
        """Read a connection again where it is stored, and return whether its credential has changed.

        When it has, every thread builds a new source at its next `get`. One thread reads at a time: Airflow's
        connections must not be read concurrently by the threads of a task. When the credential in use is not `than` any
        more, another thread has noticed the renewal before, and nothing is read.

        Args:
            than: the digest of the credential that failed; that of the one in use when None or empty.
            force: read it even when this process has read it less than `RELOAD_SECONDS` ago.

        Raises:
            BadRequest: the connection does not exist any more, or is not valid.
        """
        entry = self._connections[self._key(connection)]
        with self._reading:
            current = entry.credential
            failed = than or current
            if current is not None and current != failed:
                return True
            if entry.reload is None or not (force or self._is_due(entry)):
                return False
            entry.read_at = self._monotonic()
            make = entry.reload()
            name, credential = _read_name_and_credential(make)
            if credential == failed:
                return False
            with self._state:
                entry.make, entry.name, entry.credential = make, name, credential
                entry.generation += 1
            log.info("connection %s has another credential; it is used from now on", name)
            return True

    def is_renewed(self, connection: str, credential: str) -> bool:
        """Return whether a connection has another credential than `credential` by now, like `reload`.

        A connection that cannot be read counts as not renewed; the log says why.
        """
        try:
            return self.reload(connection, than=credential)
        except Exception as error:
            message = redact(f"{type(error).__name__}: {error}")
            name = self._connections[self._key(connection)].name
            log.warning("connection %s could not be read again: %s", name or "default", message)
            return False

    def restart(self, connection: str) -> None:
        """Let every thread build a new source at its next `get`, with a new HTTP session."""
        with self._state:
            self._connections[self._key(connection)].generation += 1

    def is_outdated(self, connection: str) -> bool:
        """Return whether the calling thread gets another source of the connection than the one that it has."""
        key = self._key(connection)
        held = self._local.by_connection.get(key)
        with self._state:
            return held is not None and held.generation != self._connections[key].generation

    def _key(self, connection: str) -> str:
        return connection if connection in self._connections else ""

    def _is_due(self, entry: _Connection) -> bool:
        return entry.read_at is None or self._monotonic() - entry.read_at >= RELOAD_SECONDS


@contextmanager
def naming_credential(source: InsightsSource) -> Iterator[None]:
    """Note in a `TokenDead` that the block raises which credential was refused."""
    try:
        yield
    except TokenDead as error:
        error.credential = error.credential or source.credential
        raise


def _read_name_and_credential(make: SourceFactory) -> tuple[str, str]:
    source = make()
    try:
        return source.connection, source.credential
    finally:
        source.close()
