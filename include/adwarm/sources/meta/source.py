"""Meta's insights as a source: synchronous reports, its own pager, usage with every page.

Only a missing `next` ends a report, so an empty page in the middle loses nothing; the next page is asked for by the
cursor of the same answer, and `next` itself is never followed: it may hold a token.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from adwarm.clock import Clock, SystemClock
from adwarm.errors import BadRequest, Transient
from adwarm.model import Account, QuerySpec, Scope, ScopeKind, Window, account_id, zone
from adwarm.settings import SourceSettings
from adwarm.sources.meta.credentials import MetaCredentials
from adwarm.sources.meta.params import request_params
from adwarm.sources.meta.transport import GraphTransport
from adwarm.sources.protocol import Capabilities, Handle, Increment, JobProgress, Page, Unit
from adwarm.sources.units import plan_units, split_by_time

logger = logging.getLogger(__name__)
_ACCOUNT_FIELDS = "timezone_name,currency,account_status"
_CLOSED = frozenset({101, 202})
_ACCOUNTS_PER_PAGE = 100


class MetaSource:
    """Ad insights of every account that one token can read. Used by one thread at a time.

    Args:
        credentials: the token, and the app it belongs to.
        settings: address, version, page size, timeouts.
        connection: the name under which accounts of this token are kept.
        clock: the time by which parking times are stated.
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
        self._connection = connection
        self._version = settings.api_version
        self._page_size = settings.page_size
        self._graph = GraphTransport(credentials, settings, clock or SystemClock())
        self.caps = Capabilities(
            levels=frozenset({"ad", "adset", "campaign", "account"}),
            page_max=settings.page_size,
            quota_scopes=(ScopeKind.ACCOUNT, ScopeKind.APP, ScopeKind.TOKEN),
        )

    def account(self, account_id: str) -> Account:
        """Return the account with its zone and currency. Costs one request.

        Raises:
            Transient, Throttled, Denied, TokenDead, BadRequest: as the platform says.
        """
        answer = self._graph.get((account_id,), {"fields": _ACCOUNT_FIELDS}, account_id)
        return self._account(account_id, answer.body)

    def accounts(self) -> Iterator[Account]:
        """Yield every account the token can read, a page of them per request."""
        cursor: str | None = None
        while True:
            params: dict[str, Any] = {"fields": f"account_id,{_ACCOUNT_FIELDS}", "limit": _ACCOUNTS_PER_PAGE}
            if cursor is not None:
                params["after"] = cursor
            body = self._graph.get(("me", "adaccounts"), params).body
            for item in _data(body):
                yield self._account(account_id(str(item.get("account_id") or item.get("id"))), item)
            cursor = _next_cursor(body, cursor)
            if cursor is None:
                return

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the account's, the app's and the token's scope; without an app id the token's stands for both."""
        credentials = self._credentials
        chain = (Scope(ScopeKind.ACCOUNT, account_id), credentials.app_scope, credentials.token_scope)
        return tuple(dict.fromkeys(chain))

    def plan(self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec) -> list[Unit]:
        """Return the fewest units that cover `windows`.

        Raises:
            BadRequest: the platform has no such level.
        """
        return plan_units(self.caps, account, windows, increment, spec)

    def submit(self, unit: Unit) -> Page | Handle:
        """Return the first page of the unit. Costs one request."""
        return self.read(unit, None)

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobProgress]:
        """Return nothing: reports are answered at once, so none is ever pending.

        Raises:
            BadRequest: a handle is given, which this source never handed out.
        """
        if handles:
            raise BadRequest(f"report {handles[0].id} is not one of this source, which answers at once")
        return {}

    def read(self, asked: Unit | Handle, cursor: str | None) -> Page:
        """Return the page after `cursor`. Costs one request.

        Raises:
            Transient, Throttled, TooMuchData, Denied, TokenDead, BadRequest: as the platform says.
        """
        if isinstance(asked, Handle):
            raise BadRequest(f"report {asked.id} is not one of this source, which answers at once")
        params = request_params(asked, self._page_size, cursor)
        answer = self._graph.get((asked.account_id, "insights"), params, asked.account_id)
        return Page(_data(answer.body), _next_cursor(answer.body, cursor), answer.usage, self._version)

    def split(self, unit: Unit) -> list[Unit]:
        """Return two halves of the unit, by its windows or by its days; nothing when neither can be halved."""
        return split_by_time(unit)

    def _account(self, account: str, body: dict[str, Any]) -> Account:
        home = str(body.get("timezone_name") or "UTC")
        try:
            zone(home)
        except BadRequest:
            logger.warning("%s has the unknown time zone %.60r; its days are counted in UTC", account, home)
            home = "UTC"
        status = "closed" if body.get("account_status") in _CLOSED else "active"
        return Account(account, home, home, str(body.get("currency") or "USD"), self._connection, status)


def _data(body: dict[str, Any]) -> list[dict[str, Any]]:
    rows = body.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Transient("Meta's answer has no list of rows", code="no_data")
    return rows


def _next_cursor(body: dict[str, Any], before: str | None) -> str | None:
    """Return the cursor of the next page when the answer says that there is one.

    Raises:
        Transient: the answer names a next page but no way to it, or the page just read: reading on would lose rows
            or never end.
    """
    paging = body.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    if not after:  # an empty page may come without cursors; its `next` still names one
        after = parse_qs(urlsplit(str(paging["next"])).query).get("after", [""])[0]
    if not isinstance(after, str) or after in {"", before}:
        raise Transient("Meta's answer names a next page but no new cursor for it", code="no_cursor")
    return after
