"""Calls to the platform that no reader waits for: admitted with low priority, counted, and made once."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from adwarm.backpressure import Admission, CallRequest, GrantedCall, acquire_grant
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import VersionEnded
from adwarm.model import CallCause, CauseKind, Priority
from adwarm.recovery import Call, IsolationTracker
from adwarm.recovery.isolation import version_scope
from adwarm.sources.pool import naming_credential
from adwarm.sources.protocol import AccountPage, AsyncReportProgress, CreativePage, InsightsSource, ResultPage
from adwarm.store import Context
from adwarm.store.read_traffic import count_calls, counting_refusals

T = TypeVar("T")
CHECK = CallCause(CauseKind.CHECK)
SourceFactories = Callable[[], Mapping[str, Callable[[], InsightsSource]]]
"""Returns what builds the source of each connection, the default one first; raises BadRequest when none is set."""


@dataclass
class PlatformCalls:
    """Makes calls for the steps of maintenance. Used by one thread."""

    context: Context
    admission: Admission
    clock: Clock
    factories: SourceFactories
    isolations: IsolationTracker
    _sources: dict[str, InsightsSource] = field(default_factory=dict, init=False)

    def get_source(self, connection: str) -> InsightsSource:
        """Return the source of a connection; the default source for an unknown name.

        Raises:
            BadRequest: no source is set, or the connection is not valid.
        """
        factories = self.factories()
        name = connection if connection in factories else next(iter(factories))
        if name not in self._sources:
            self._sources[name] = factories[name]()
        return self._sources[name]

    def has(self, connection: str) -> bool:
        """Return whether this process knows a connection of this name.

        Raises:
            BadRequest: no source is set.
        """
        return connection in self.factories()

    def list_sources(self) -> list[InsightsSource]:
        """Return the source of every connection.

        Raises:
            BadRequest: no source is set, or a connection is not valid.
        """
        return [self.get_source(name) for name in self.factories()]

    def call(self, source: InsightsSource, account_id: str, operation: Callable[[], T]) -> T:
        """Return the result of one call about an account; an empty id means about no account.

        Raises:
            NotAdmitted, Refused: the shared budget does not let the call in now.
            VersionEnded: the platform takes no call by the version of its API; it was not called.
            AdwarmError: the error of the source.
        """
        request = CallRequest(source.scopes(account_id), Priority.LOW, source.name, connection=source.connection)
        engine = self.context.engine
        made = Call(source.name, source.connection, account_id or None, version=source.capabilities.api_version)
        if ended := self.isolations.find_isolation([version_scope(made)]):
            raise ended
        with counting_refusals(engine, self.clock, account_id, CHECK), self._acquire(request) as grant:
            count_calls(engine, self.clock.now(), account_id, CHECK, calls=1)
            try:
                with naming_credential(source):
                    result = operation()
            except VersionEnded as error:
                self.isolations.end_version(made, error)
                raise
            if isinstance(result, ResultPage | AccountPage | AsyncReportProgress | CreativePage):
                grant.record_usage(result.usage)
        return result

    def download(self, source: InsightsSource, operation: Callable[[], bytes]) -> bytes:
        """Return a file of the platform, which no quota of its API counts.

        It takes its share of the budget of app and token, and has a breaker of its own: its host may fail alone.

        Raises:
            NotAdmitted, Refused: the shared budget does not let the download in now.
            AdwarmError: the error of the source.
        """
        request = CallRequest(source.scopes(""), Priority.LOW, f"{source.name}_files", connection=source.connection)
        with self._acquire(request):
            return operation()

    def _acquire(self, request: CallRequest) -> AbstractContextManager[GrantedCall]:
        timeout = self.context.settings.backpressure.timeout_seconds
        return acquire_grant(self.admission, self.clock, request, timeout_seconds=timeout)
