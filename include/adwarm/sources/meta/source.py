"""Meta's insights as a source: synchronous calls, async reports, and usage with every response."""

from collections.abc import Iterator, Sequence
from typing import Any

from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, QuerySpec, Scope, ScopeKind, Window
from adwarm.settings import SourceSettings
from adwarm.sources.bounds import PAGE_ROWS
from adwarm.sources.meta.account_bodies import parse_account, parse_account_list
from adwarm.sources.meta.credentials import MetaCredentials
from adwarm.sources.meta.params import async_report_params, object_params, request_params
from adwarm.sources.meta.response_bodies import (
    POLL_FIELDS,
    next_cursor,
    parse_progress,
    parse_rows,
    parse_run_id,
)
from adwarm.sources.meta.transport import BatchCall, GraphResponse, GraphTransport
from adwarm.sources.protocol import (
    AccountPage,
    AsyncReportHandle,
    AsyncReportProgress,
    Capabilities,
    FetchUnit,
    Increment,
    ResultPage,
    iter_accounts,
)
from adwarm.sources.row_check import check_ids, check_rows
from adwarm.sources.units import filtered_objects, plan_units, split_by_ids, split_by_time

_ACCOUNT_FIELDS = "account_id,name,timezone_name,currency,account_status"
_NODES_PER_PAGE = 100
_EDGES = {"campaign": "campaigns", "adset": "adsets", "ad": "ads"}


class MetaSource:
    """Ad insights of every account that one token can read. Used by one thread at a time.

    Args:
        credentials: the token, and the app it belongs to.
        settings: URL, version, page size, timeouts.
        connection: the name under which the accounts of this token are stored.
        clock: the clock of parking times.
    """

    name = "meta"

    def __init__(
        self,
        credentials: MetaCredentials,
        settings: SourceSettings,
        connection: str = "default",
        clock: Clock | None = None,
    ) -> None:
        self._credentials = credentials
        self.connection, self.credential = connection, credentials.digest
        self._version = settings.api_version
        self._clock = clock or SystemClock()
        self._graph = GraphTransport(credentials, settings, self._clock)
        self.capabilities = Capabilities(
            levels=frozenset({"ad", "adset", "campaign", "account"}),
            max_page_rows=PAGE_ROWS,
            has_async_reports=True,
            can_list_objects=True,
            quota_scopes=(ScopeKind.ACCOUNT, ScopeKind.APP, ScopeKind.TOKEN),
        )

    @property
    def clock_offset_seconds(self) -> float | None:
        """How far the platform's clock is ahead of `clock`, in seconds; None before the first response."""
        return self._graph.clock_offset_seconds

    def close(self) -> None:
        """Close the HTTP session."""
        self._graph.close()

    def get_account(self, account_id: str) -> Account:
        """Return the account with its zone and currency. Costs one request.

        Raises:
            Transient, Throttled, Denied, TokenDead, BadRequest: as the platform says.
            Corrupt: the response is about another account, or malformed.
        """
        response = self._graph.get((account_id,), {"fields": _ACCOUNT_FIELDS}, account_id)
        return parse_account(response.body, account_id, self.connection)

    def list_accounts(self) -> Iterator[Account]:
        """Yield every account the token can read, a page of them per request.

        Raises:
            Corrupt: the pages form a loop.
        """
        return iter_accounts(self)

    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return a page of the accounts that the token can read. Costs one request.

        Raises:
            Transient, Throttled, TooMuchData, TokenDead, BadRequest: as the platform says.
        """
        params: dict[str, Any] = {"fields": _ACCOUNT_FIELDS, "limit": page_size or _NODES_PER_PAGE}
        if cursor is not None:
            params["after"] = cursor
        response = self._graph.get(("me", "adaccounts"), params)
        found, problems = parse_account_list(parse_rows(response.body), self.connection)
        return AccountPage(found, next_cursor(response.body, cursor), response.usage, problems)

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the scopes of the account, the app and the token; without an app id, the token's stands for both."""
        credentials = self._credentials
        account = (Scope(ScopeKind.ACCOUNT, account_id),) if account_id else ()
        return tuple(dict.fromkeys((*account, credentials.app_scope, credentials.token_scope)))

    def plan(
        self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
    ) -> list[FetchUnit]:
        """Return the fewest units that cover `windows`.

        Raises:
            BadRequest: the platform has no such level.
        """
        return plan_units(self.capabilities, account, windows, increment, spec)

    def submit(self, unit: FetchUnit) -> ResultPage | AsyncReportHandle:
        """Return the first page of the unit. Costs one request."""
        return self.read(unit, None)

    def submit_async(self, unit: FetchUnit) -> AsyncReportHandle:
        """Start a report run of the unit. Costs one request.

        Raises:
            Transient, Throttled, TooMuchData, Denied, TokenDead, BadRequest: as the platform says.
        """
        response = self._graph.post((unit.account_id, "insights"), async_report_params(unit), unit.account_id)
        return AsyncReportHandle(parse_run_id(response.body), unit)

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return the progress of each run. Costs one request for all of them, and one platform call for each.

        Raises:
            Transient, Throttled, TokenDead, BadRequest: the request failed for all runs.
        """
        if not handles:
            return {}
        entries = [BatchCall(f"{handle.id}?fields={POLL_FIELDS}", handle.unit.account_id) for handle in handles]
        now = self._clock.now()
        return {
            handle: parse_progress(handle.id, response, self._graph.call_context(handle.unit.account_id), now)
            for handle, response in zip(handles, self._graph.batch(entries), strict=True)
        }

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Return the page after `cursor` of a unit, or of a run that is ready. Costs one request.

        Raises:
            NotFound: the platform no longer knows the run.
            Transient, Throttled, TooMuchData, Denied, TokenDead, BadRequest: as the platform says.
            Corrupt: a row was not requested or is malformed; no row of the page may be kept.
        """
        unit = target.unit if isinstance(target, AsyncReportHandle) else target
        size = unit.page_size or self.capabilities.max_page_rows
        if isinstance(target, FetchUnit):
            page = self._page((unit.account_id, "insights"), request_params(target, size, cursor), unit.account_id)
        else:
            params = {"limit": size} if cursor is None else {"limit": size, "after": cursor}
            page = self._page((target.id, "insights"), params, unit.account_id)
        check_rows(page.rows, unit, numeric_ids=True)
        return page

    def split(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return two halves of the unit, by windows, days or objects; empty when it cannot be halved."""
        return split_by_time(unit) or split_by_ids(unit)

    def list_objects(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        """Return a page of the campaigns, ad sets or ads in `unit`. Costs one request.

        Raises:
            BadRequest: the unit is restricted to several objects, or the platform says so.
            Transient, Throttled, Denied, TokenDead: as the platform says.
            Corrupt: an object has no id, or one that is malformed.
        """
        _, ids = filtered_objects(unit)
        if len(ids) > 1:
            raise BadRequest(f"objects can be listed below one object, not below {len(ids)}")
        parent = ids[0] if ids else unit.account_id
        page = self._page(
            (parent, _EDGES[level]), object_params(level, self.capabilities.max_page_rows, cursor), unit.account_id
        )
        check_ids(page.rows)
        return page

    def _page(self, path: tuple[str, ...], params: dict[str, Any], account_id: str) -> ResultPage:
        response: GraphResponse = self._graph.get(path, params, account_id)
        after = next_cursor(response.body, params.get("after"))
        return ResultPage(parse_rows(response.body), after, response.usage, self._version, response.size_bytes)
