"""Meta's insights as a source: synchronous calls, async reports, and usage with every response."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, QuerySpec, Scope, ScopeKind, Window
from adwarm.settings import SourceSettings
from adwarm.sources.meta.account_bodies import parse_account, parse_account_list
from adwarm.sources.meta.creatives import creative_params, download_thumbnail, parse_creative
from adwarm.sources.meta.graph_errors import name_refused_fields, naming_refused_fields
from adwarm.sources.meta.report_progress import POLL_FIELDS, parse_progress, parse_run_id
from adwarm.sources.meta.response_bodies import next_cursor, parse_rows
from adwarm.sources.meta.response_headers import VERSION_ENDS
from adwarm.sources.meta.tokens import extend_token, read_token_life
from adwarm.sources.meta.transport import BatchCall, GraphResponse, GraphTransport, MetaCredentials
from adwarm.sources.protocol import (
    AccountPage,
    ApiVersion,
    AsyncReportHandle,
    AsyncReportProgress,
    Capabilities,
    CreativePage,
    FetchUnit,
    Increment,
    ResultPage,
    TokenLife,
)
from adwarm.sources.row_check import check_ids, check_rows
from adwarm.sources.units import PAGE_ROWS, filtered_objects, plan_units, split_by_ids, split_by_time

_OWN_IDS = {
    "ad": ("account_id", "ad_id"),
    "adset": ("account_id", "adset_id"),
    "campaign": ("account_id", "campaign_id"),
    "account": ("account_id",),
}
_PREFIXES_BELOW = {
    "ad": (),
    "adset": ("ad_",),
    "campaign": ("ad_", "adset_"),
    "account": ("ad_", "adset_", "campaign_"),
}
_FIELDS_BELOW = {"campaign": {"optimization_goal"}, "account": {"optimization_goal", "objective"}}
_IMPLIED_FIELDS = frozenset({"date_start", "date_stop"})
_STATUSES = {
    "campaign": ("ACTIVE", "PAUSED", "DELETED", "ARCHIVED", "IN_PROCESS", "WITH_ISSUES"),
    "adset": ("ACTIVE", "PAUSED", "DELETED", "ARCHIVED", "IN_PROCESS", "WITH_ISSUES", "CAMPAIGN_PAUSED"),
    "ad": (
        "ACTIVE",
        "PAUSED",
        "DELETED",
        "ARCHIVED",
        "IN_PROCESS",
        "WITH_ISSUES",
        "CAMPAIGN_PAUSED",
        "ADSET_PAUSED",
        "PENDING_REVIEW",
        "DISAPPROVED",
        "PREAPPROVED",
        "PENDING_BILLING_INFO",
    ),
}
"""Every status of an object: without this list, a call restricted to objects returns the active ones only."""
_ACCOUNT_FIELDS = "account_id,name,timezone_name,currency,account_status"
_NODES_PER_PAGE = 100
_EDGES = {"campaign": "campaigns", "adset": "adsets", "ad": "ads"}


def async_report_params(unit: FetchUnit) -> dict[str, Any]:
    """Return the parameters that start an async report of `unit`.

    Raises:
        BadRequest: as for `request_params`.
    """
    params = request_params(unit, 0)
    del params["limit"]
    return params


def object_params(level: str, page_size: int, cursor: str | None) -> dict[str, Any]:
    """Return the parameters that list objects of `level` with any status."""
    params: dict[str, Any] = {"fields": "id", "effective_status": list(_STATUSES[level]), "limit": page_size}
    return params if cursor is None else params | {"after": cursor}


def request_params(unit: FetchUnit, page_size: int, cursor: str | None = None) -> dict[str, Any]:
    """Return the parameters that request the page of `unit` after `cursor`.

    Raises:
        BadRequest: the unit has days over several windows, for which the platform would return totals.
    """
    params: dict[str, Any] = {
        "level": unit.spec.level,
        "fields": ",".join(requested_fields(unit)),
        "limit": page_size,
        **_time(unit),
    }
    if unit.spec.attribution:
        params[f"use_{unit.spec.attribution}_attribution_setting"] = "true"
    if unit.spec.attribution_windows:
        params["action_attribution_windows"] = list(unit.spec.attribution_windows)
    for name in ("breakdowns", "action_breakdowns"):
        if values := getattr(unit.spec, name):
            params[name] = ",".join(values)
    if unit.filters:
        params["filtering"] = _filtering(unit)
    if cursor is not None:
        params["after"] = cursor
    return params


def requested_fields(unit: FetchUnit) -> tuple[str, ...]:
    """Return the fields to request: the ids that identify a row, then the query's own fields that its level has."""
    level = unit.spec.level
    left_out = _IMPLIED_FIELDS | _FIELDS_BELOW.get(level, set())
    own = (name for name in unit.spec.fields if not name.startswith(_PREFIXES_BELOW[level]) and name not in left_out)
    return tuple(dict.fromkeys([*_OWN_IDS[level], *own]))


def _time(unit: FetchUnit) -> dict[str, Any]:
    if unit.increment is Increment.DAY:
        if len(unit.windows) != 1:
            raise BadRequest(f"days can be requested for one window at a time, not for {len(unit.windows)}")
        return {"time_range": _span(unit.windows[0]), "time_increment": 1}
    if len(unit.windows) == 1:
        return {"time_range": _span(unit.windows[0])}
    return {"time_ranges": [_span(window) for window in unit.windows]}


def _span(window: Window) -> dict[str, str]:
    return {"since": window.since.isoformat(), "until": window.until.isoformat()}


def _filtering(unit: FetchUnit) -> list[dict[str, Any]]:
    filters = [
        {"field": name, "operator": operator, "value": _value(operator, value)}
        for name, operator, value in unit.filters
    ]
    level = unit.spec.level
    if level in _STATUSES and any(name.endswith(".id") for name, _, _ in unit.filters):
        filters.append({"field": f"{level}.effective_status", "operator": "IN", "value": list(_STATUSES[level])})
    return filters


def _value(operator: str, value: str) -> Any:
    return value.split(",") if operator in {"IN", "NOT_IN"} else value


class MetaSource:
    """Ad insights of every account that one token can read. Used by one thread at a time.

    What the platform answers with becomes an error by the table of `graph_errors`; `Raises` names what else is raised.

    Args:
        connection: the name under which the accounts of this token are stored.
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
        self._settings = settings
        self._clock = clock or SystemClock()
        self._graph = GraphTransport(credentials, settings, self._clock)
        self.capabilities = Capabilities(
            levels=frozenset({"ad", "adset", "campaign", "account"}),
            max_page_rows=PAGE_ROWS,
            has_async_reports=True,
            can_list_objects=True,
            has_breakdowns=True,
            quota_scopes=(ScopeKind.ACCOUNT, ScopeKind.APP, ScopeKind.TOKEN),
            api_version=settings.api_version,
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
            Corrupt: the response is about another account, or malformed.
        """
        response = self._graph.get((account_id,), {"fields": _ACCOUNT_FIELDS}, account_id)
        return parse_account(response.body, account_id, self.connection)

    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return a page of the accounts that the token can read. Costs one request."""
        params: dict[str, Any] = {"fields": _ACCOUNT_FIELDS, "limit": page_size or _NODES_PER_PAGE}
        if cursor is not None:
            params["after"] = cursor
        response = self._graph.get(("me", "adaccounts"), params)
        accounts, problems = parse_account_list(parse_rows(response.body), self.connection)
        return AccountPage(accounts, next_cursor(response.body, cursor), response.usage, problems)

    def read_api_version(self) -> ApiVersion:
        """Return the version that answers. Costs one request, a page of one account."""
        response = self._graph.get(("me", "adaccounts"), {"fields": "account_id", "limit": 1})
        version = self._settings.api_version
        return ApiVersion(response.api_version or version, VERSION_ENDS.get(version), response.version_warning)

    def read_token_life(self) -> TokenLife:
        """Return when the token ends; see `adwarm.sources.meta.tokens`. Costs one request."""
        return read_token_life(self._credentials, self._settings, self._clock)

    def extend_token(self) -> tuple[SecretStr, TokenLife]:
        """Return a token that lives longer, and when it ends; see `adwarm.sources.meta.tokens`."""
        return extend_token(self._credentials, self._settings, self._clock)

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
        """Start a report run of the unit. Costs one request."""
        with naming_refused_fields(requested_fields(unit)):
            response = self._graph.post((unit.account_id, "insights"), async_report_params(unit), unit.account_id)
        return AsyncReportHandle(parse_run_id(response.body), unit)

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return the progress of each run. Costs one request for all of them, and one platform call for each."""
        if not handles:
            return {}
        entries = [BatchCall(f"{handle.id}?fields={POLL_FIELDS}", handle.unit.account_id) for handle in handles]
        now = self._clock.now()
        results: dict[AsyncReportHandle, AsyncReportProgress] = {}
        for handle, response in zip(handles, self._graph.batch(entries), strict=True):
            progress = parse_progress(handle.id, response, self._graph.call_context(handle.unit.account_id), now)
            error = progress.error and name_refused_fields(progress.error, requested_fields(handle.unit))
            results[handle] = replace(progress, error=error)
        return results

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Return the page after `cursor` of a unit, or of a run that is ready. Costs one request.

        Raises:
            NotFound: the platform no longer knows the run.
            FieldRefused: the platform refuses fields of the query, and names them.
            Corrupt: a row was not requested or is malformed; no row of the page may be kept.
        """
        unit = target.unit if isinstance(target, AsyncReportHandle) else target
        size = unit.page_size or self.capabilities.max_page_rows
        if isinstance(target, FetchUnit):
            path, params = (unit.account_id, "insights"), request_params(target, size, cursor)
        else:
            path, params = (
                (target.id, "insights"),
                {"limit": size} if cursor is None else {"limit": size, "after": cursor},
            )
        with naming_refused_fields(requested_fields(unit)):
            page = self._page(path, params, unit.account_id)
        check_rows(page.rows, unit, numeric_ids=True)
        return page

    def split(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return two halves of the unit, by windows, days or objects; empty when it cannot be halved."""
        return split_by_time(unit) or split_by_ids(unit)

    def list_objects(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        """Return a page of the campaigns, ad sets or ads in `unit`. Costs one request.

        Raises:
            BadRequest: the unit is restricted to several objects.
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

    def list_creatives(self, account_id: str, ad_ids: Sequence[str]) -> CreativePage:
        """Return the creatives of ads with any status. Costs one request.

        Raises:
            Corrupt: an ad or its creative has no id.
        """
        response = self._graph.get((account_id, "ads"), creative_params(ad_ids, _STATUSES["ad"]), account_id)
        rows = [row for row in parse_rows(response.body) if "creative" in row]
        return CreativePage(tuple(map(parse_creative, rows)), response.usage)

    def read_thumbnail(self, url: str) -> bytes:
        """Return a thumbnail; see `adwarm.sources.meta.creatives`."""
        return download_thumbnail(url, self._settings)

    def _page(self, path: tuple[str, ...], params: dict[str, Any], account_id: str) -> ResultPage:
        response: GraphResponse = self._graph.get(path, params, account_id)
        after = next_cursor(response.body, params.get("after"))
        version = response.api_version or self._settings.api_version
        return ResultPage(parse_rows(response.body), after, response.usage, version, response.size_bytes)
