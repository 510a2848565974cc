"""The parts that every fetch of a process works with, and the source of the calling thread."""

from dataclasses import dataclass, field

from sqlalchemy import Engine

from adwarm.backpressure import Admission
from adwarm.compression.stored_bytes import VerifiedPayloads
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import TokenDead
from adwarm.recovery import Call, RecoveryPipeline
from adwarm.settings import Settings
from adwarm.sources.pool import SourcePool
from adwarm.sources.protocol import InsightsSource
from adwarm.store import Context, ObjectStore, accounts, denials


@dataclass
class FetchContext:
    """What fetches share. Safe to share between threads.

    Attributes:
        sources: builds the sources; each account is read by the source of its own connection.
        owner: names this worker in leases and grants.
        verified: the payloads that are known to be whole.
    """

    context: Context
    sources: SourcePool
    admission: Admission
    pipeline: RecoveryPipeline
    clock: Clock
    owner: str
    verified: VerifiedPayloads = field(default_factory=VerifiedPayloads)
    _lifted: set[tuple[str, str]] = field(default_factory=set, init=False)

    @property
    def engine(self) -> Engine:
        """The database."""
        return self.context.engine

    @property
    def objects(self) -> ObjectStore:
        """The object store."""
        return self.context.objects

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self.context.settings

    def get_source(self, connection: str) -> InsightsSource:
        """Return the calling thread's source of a connection.

        The first use of a credential lifts the denials that an older one of its connection has received, and opens the
        gates of versions of the API that are no longer set.
        """
        source = self.sources.get(connection)
        if (source.connection, source.credential) not in self._lifted:
            self._lifted.add((source.connection, source.credential))
            version = source.capabilities.api_version
            denials.lift_outdated(self.engine, source.connection, source.credential, version)
        return source

    def heal_dead_token(self, connection: str, error: TokenDead) -> bool:
        """Let the pipeline heal a dead token that was met outside of it; return whether another attempt may succeed."""
        source = self.sources.get(connection)
        return self.pipeline.heal(error, call=Call(source.name, source.connection)) is not None

    def is_token_renewed(self, account_id: str, error: TokenDead) -> bool:
        """Return whether the connection of an account has another token by now than the one that was refused."""
        stored = accounts.get(self.engine, account_id)
        return self.sources.is_renewed(stored.connection if stored else "", error.credential)
