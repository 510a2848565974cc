"""What sources have in common that respond at once: no quotas, no async reports, no lists of objects."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, QuerySpec, Row, Scope, Window
from adwarm.sources.protocol import (
    AccountPage,
    AsyncReportHandle,
    AsyncReportProgress,
    Capabilities,
    FetchUnit,
    Increment,
    ResultPage,
)
from adwarm.sources.units import plan_units, split_by_time


class SynchronousSource(ABC):
    """A source that responds at once; a subclass says what it can do, lists its accounts and reads pages.

    Attributes:
        name: of the kind of source, in logs, the ledger and error records.
        capabilities: what the source can do; it must keep what they declare.
        connection: the name under which its accounts are stored.
        credential: a digest of the credential; empty where none is needed.
    """

    name: str = "source"
    capabilities = Capabilities(unique_metrics=frozenset(), max_days_per_request=400, retention_days=None)
    connection: str = "default"
    credential: str = ""
    clock_offset_seconds: ClassVar[float | None] = None

    @abstractmethod
    def get_account(self, account_id: str) -> Account:
        """Return the account with its zone and currency."""

    @abstractmethod
    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return the accounts after `cursor`; a source may return all of them as one page."""

    @abstractmethod
    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Return the page after `cursor` of a unit."""

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Close what the source holds open; by default nothing."""

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return no scope: there is no quota."""
        del account_id
        return ()

    def plan(
        self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
    ) -> list[FetchUnit]:
        """Return the fewest units that cover `windows`.

        Raises:
            BadRequest: the source has no rows of that level.
        """
        return plan_units(self.capabilities, account, windows, increment, spec)

    def submit(self, unit: FetchUnit) -> ResultPage | AsyncReportHandle:
        """Return the first page of the unit."""
        return self.read(unit, None)

    def submit_async(self, unit: FetchUnit) -> AsyncReportHandle:
        """Refuse: the source responds at once.

        Raises:
            BadRequest: always.
        """
        raise BadRequest(f"a {self.name} source has no async reports; read {unit.account_id} by `submit`")

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return nothing: the source responds at once.

        Raises:
            BadRequest: a handle is given, which cannot come from this source.
        """
        if handles:
            raise unknown_report(handles[0])
        return {}

    def split(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return two halves of the unit, by its windows or its days; empty when neither can be halved."""
        return split_by_time(unit)

    def list_objects(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        """Refuse: the source has rows and no objects.

        Raises:
            BadRequest: always.
        """
        del cursor
        raise BadRequest(f"a {self.name} source does not list the {level}s of {unit.account_id}; request its rows")


def unknown_report(handle: AsyncReportHandle) -> BadRequest:
    """Return the error of a source without async reports that is asked for one."""
    return BadRequest(f"report {handle.id} is not one of this source, which has no async reports")


def page_of(rows: Sequence[Row], cursor: str | None, size: int) -> ResultPage:
    """Return the page of `rows` after `cursor`, which is the number of rows before it.

    Raises:
        BadRequest: the cursor is not one that this function has issued.
    """
    if cursor is not None and not (cursor.isascii() and cursor.isdecimal()):
        raise BadRequest(f"cursor {cursor[:40]!r} is not one of this source")
    start = 0 if cursor is None else int(cursor)
    stop = start + size
    return ResultPage(list(rows[start:stop]), str(stop) if stop < len(rows) else None)
