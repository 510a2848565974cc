"""The forms of the tab *Actions*: each does its work at once, and asks for a reason, which is kept with the action.

A form that is sent twice does its work once: requests that are open are joined, and what is open or turned stays so.
"""

from collections.abc import Mapping
from typing import Final

from adwarm.actions.audit import Doer, require_reason
from adwarm.actions.open_gates import open_gates, parse_scope, turn_switch
from adwarm.actions.warm_now import (
    FailedReports,
    find_failed_requests,
    find_failed_warms,
    parse_keys,
    retry_reports,
    split_names,
    warm_now,
)
from adwarm.foundation.errors import BadRequest
from adwarm.model import check_account_id
from adwarm.pages.access import Permission
from adwarm.pages.tab import Form, InvalidField, Redirect, TileRequest, check_field
from adwarm.store.switches import Switch
from adwarm_client.date_ranges import validate_date_range

_TO: Final = "actions"


def _switch(request: TileRequest) -> Redirect:
    try:
        name = Switch(request.fields.get("switch", ""))
    except ValueError:
        raise BadRequest("there is no such switch; open the tab Actions and use its buttons") from None
    position = request.fields.get("position", "")
    if position not in {"on", "off"}:
        raise BadRequest("a switch is turned on or off; open the tab Actions and use its buttons")
    why = _read_reason(request)
    return Redirect(_TO, turn_switch(request.services.actions, _doer(request), name, why, is_on=position == "on"))


def _warm_now(request: TileRequest) -> Redirect:
    services, fields = request.services.actions, request.fields
    accounts, ranges = fields.get("accounts", ""), _join_ranges(fields)
    for each in split_names(accounts):
        check_field("accounts", check_account_id, each)
    for each in split_names(ranges):
        check_field("more_ranges", validate_date_range, each)
    if accounts.strip() and not ranges.strip():
        raise InvalidField("choose a date range", "date_ranges")
    keys = parse_keys(services.context, accounts, ranges, fields.get("report") or "default")
    result, action_id = warm_now(services, _doer(request), keys, why=_read_reason(request))
    return Redirect(request.link(_TO, action=action_id), str(result))


def _open_gate(request: TileRequest) -> Redirect:
    scope, why = parse_scope(request.services.context, request.fields.get("scope", "")), _read_reason(request)
    return Redirect(_TO, open_gates(request.services.actions, _doer(request), scope, why))


def _retry_requests(request: TileRequest) -> Redirect:
    return _retry(request, find_failed_requests(request.services.actions), None)


def _retry_run(request: TileRequest) -> Redirect:
    run_id = request.fields.get("run", "")
    return _retry(request, find_failed_warms(request.services.actions, run_id), run_id)


def _retry(request: TileRequest, failed: FailedReports, run_id: str | None) -> Redirect:
    why = _read_reason(request)
    denied = f"; {failed.denied:,} left out: their accounts deny access" if failed.denied else ""
    if not failed.keys:
        return Redirect(_TO, f"nothing to request again{denied}")
    result, action_id = retry_reports(request.services.actions, _doer(request), failed.keys, run_id=run_id, why=why)
    return Redirect(request.link(_TO, action=action_id), f"{result}{denied}")


def _join_ranges(fields: Mapping[str, str]) -> str:
    """Return the date ranges that were ticked or written."""
    return "\n".join(fields.get(name, "") for name in ("date_ranges", "more_ranges"))


def _read_reason(request: TileRequest) -> str:
    return check_field("why", require_reason, request.fields.get("why", ""))


def _doer(request: TileRequest) -> Doer:
    return Doer(request.visitor.name, request.visitor.via, request.visitor.token)


FORMS: Final = (
    Form("switch", Permission.CONTROL, _switch),
    Form("warm-now", Permission.WARM, _warm_now),
    Form("open-gate", Permission.CONTROL, _open_gate),
    Form("retry-requests", Permission.WARM, _retry_requests),
    Form("retry-run", Permission.WARM, _retry_run),
)
