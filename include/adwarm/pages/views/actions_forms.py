"""The forms of the tab *Actions*: each shows what it would do, and does it once that is confirmed with a reason.

The confirming page carries a digest of what it shows. When something else would be done by the time it is confirmed, it
is shown again instead. So a form that is sent twice does its work once and then says what there is left to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from adwarm.actions.audit import Doer, make_digest
from adwarm.actions.gates import (
    EFFECTS,
    digest_gates,
    find_human_cause,
    list_gates,
    open_gates,
    parse_scope,
    turn_switch,
)
from adwarm.actions.purging import PurgeChoice, PurgeSelection, describe_selection, purge, select_purge
from adwarm.actions.warm_now import (
    FailedReports,
    WarmPreview,
    find_failed_requests,
    find_failed_warms,
    parse_keys,
    preview_warm,
    retry_reports,
    split_names,
    warm_now,
)
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.gate import Rule, to_datetime
from adwarm.foundation.wording import format_bytes, format_count
from adwarm.model import normalize_account_id
from adwarm.pages.access import Permission
from adwarm.pages.rendering import describe_scope
from adwarm.pages.tab import Form, FormPage, InvalidField, Redirect, TileRequest, check_field
from adwarm.store.switches import Switch, list_switches
from adwarm_client.date_ranges import validate_date_range

_TEMPLATE = "actions/confirm.html"
_SHOWN_ROWS = 50
_TO = "actions"


@dataclass(frozen=True, slots=True)
class _Confirmation:
    """What a person confirms.

    Attributes:
        form: the form that is sent again.
        fields: the fields that say what to do.
        digest: of what is shown.
        button: text of the button; empty when there is nothing to do.
        facts: names and values.
        rows: of the table; the page shows the first of them.
    """

    title: str
    form: str
    fields: Mapping[str, str]
    digest: str
    button: str
    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()

    def is_confirmed(self, request: TileRequest) -> bool:
        """Return whether exactly this was shown and confirmed, with a reason."""
        return bool(self.button and request.fields.get("seen") == self.digest and request.fields.get("why"))

    def to_page(self, request: TileRequest) -> FormPage:
        """Return the page that asks; it says why it asks again."""
        seen, problem = request.fields.get("seen"), ""
        if seen and seen != self.digest:
            problem = "Nothing was done: what this page showed has changed, or was done already. This is how it is now."
        elif seen:
            problem = "Nothing was done yet: write a reason, which is kept with the action."
        values = {
            "form_name": self.form,
            "fields": self.fields,
            "digest": self.digest,
            "button": self.button,
            "facts": self.facts,
            "warnings": self.warnings,
            "columns": self.columns,
            "rows": self.rows[:_SHOWN_ROWS],
            "more": max(0, len(self.rows) - _SHOWN_ROWS),
            "problem": problem,
            "why": request.fields.get("why", ""),
        }
        return FormPage(self.title, _TEMPLATE, values, 422 if problem else 200)


def _switch(request: TileRequest) -> Redirect | FormPage:
    try:
        name = Switch(request.fields.get("switch", ""))
    except ValueError:
        raise BadRequest("there is no such switch; open the tab Actions and use its buttons") from None
    position = request.fields.get("position", "")
    if position not in {"on", "off"}:
        raise BadRequest("a switch is turned on or off; open the tab Actions and use its buttons")
    services, is_on = request.services.actions, position == "on"
    state = list_switches(services.context.engine)[name]
    is_same = state.is_on is is_on
    title = f"Switch {'shadow mode' if name is Switch.SHADOW else name} {position}?"
    if is_same and state.changed_at is not None:
        return Redirect(_TO, f"Nothing changed: {state}")
    confirmation = _Confirmation(
        title=title,
        form="switch",
        fields={"switch": str(name), "position": position},
        digest=make_digest([str(state), position]),
        button=f"Switch {position}",
        facts=[("What it does", EFFECTS[name, is_on]), ("Now", str(state))],
    )
    if not confirmation.is_confirmed(request):
        return confirmation.to_page(request)
    return Redirect(_TO, turn_switch(services, _doer(request), name, request.fields["why"], is_on=is_on))


def _warm_now(request: TileRequest) -> Redirect | FormPage:
    services, fields = request.services.actions, request.fields
    accounts, ranges = fields.get("accounts", ""), _join_ranges(fields)
    report = fields.get("report") or "default"
    for each in split_names(accounts):
        check_field("accounts", normalize_account_id, each)
    for each in split_names(ranges):
        check_field("more_ranges", validate_date_range, each)
    if accounts.strip() and not ranges.strip():
        raise InvalidField("choose a date range", "date_ranges")
    keys = parse_keys(services.context.settings, accounts, ranges, report)
    if fields.get("seen") and fields.get("why"):
        digest = make_digest([[str(key) for key in keys]])
        if fields["seen"] == digest:
            result, action_id = warm_now(services, _doer(request), keys, why=fields["why"])
            return Redirect(request.link(_TO, action=action_id), str(result))
    shown = {"accounts": accounts, "date_ranges": ranges, "report": report}
    return _confirm_warm(request, preview_warm(services, keys), shown).to_page(request)


def _confirm_warm(request: TileRequest, preview: WarmPreview, fields: Mapping[str, str]) -> _Confirmation:
    stale = len(preview.keys) - len(preview.fresh)
    accounts = {key.account_id for key in preview.keys}
    services = request.services.actions
    status, parks = services.admission.status(), [gate for gate in list_gates(services) if gate.rule is Rule.PARK]
    used = [scope for scope in status.scopes if scope.usage is not None]
    busiest = max(used, key=lambda scope: scope.usage or 0.0, default=None)
    usage = f"{busiest.usage:.0f} % ({describe_scope(busiest.scope)})" if busiest else "not reported yet"
    warnings = [
        f"{describe_scope(park.scope)} pauses until {to_datetime(park.closed_until):%Y-%m-%d %H:%M} UTC: "
        "its requests wait"
        for park in parks
        if park.account_id is None or park.account_id in accounts
    ]
    if stale > preview.room:
        warnings.append(
            f"The queue has room for {format_count(preview.room, 'more request')}; the others push out less urgent "
            "ones, or are left out."
        )
    facts = [
        ("Reports", f"{len(preview.keys):,}"),
        ("Fresh already", f"{len(preview.fresh):,}; they are not fetched again"),
        ("Estimated calls to the platform", f"{preview.calls:,}, more where a result has several pages"),
        ("Highest quota use now", usage),
        ("Class", "high: before normal and low requests, after readers who wait"),
    ]
    rows = [
        (str(key), "fresh" if key in preview.fresh else "to be fetched", preview.fresh.get(key)) for key in preview.keys
    ]
    title = f"Warm {format_count(stale, 'report')} now?"
    columns = ("Report", "State", "Fresh until")
    return _Confirmation(
        title=title,
        form="warm-now",
        fields=fields,
        digest=preview.digest,
        button="Warm now",
        facts=facts,
        warnings=warnings,
        columns=columns,
        rows=rows,
    )


def _open_gate(request: TileRequest) -> Redirect | FormPage:
    services, scope = request.services.actions, parse_scope(request.fields.get("scope", ""))
    gates = list_gates(services, scope)
    warnings = ["The platform asked for a park: calls before its end may make it longer."]
    warnings = warnings if any(gate.rule is Rule.PARK for gate in gates) else []
    warnings += [
        f"Only a human can fix this: {cause}. Opening it does not help before that."
        for cause in filter(None, map(find_human_cause, gates))
    ]
    confirmation = _Confirmation(
        title=f"Let {scope} be called again?" if gates else f"Nothing holds {scope} back",
        form="open-gate",
        fields={"scope": scope},
        digest=digest_gates(gates),
        button="Call it again" if gates else "",
        facts=[] if gates else [("Now", "it may be called; it was opened already, or its time is over")],
        warnings=warnings,
        columns=("What", "Since", "Until", "Why"),
        rows=[(str(gate.rule), to_datetime(gate.since), gate.to_dict()["until"], gate.why) for gate in gates],
    )
    if not confirmation.is_confirmed(request):
        return confirmation.to_page(request)
    return Redirect(_TO, open_gates(services, _doer(request), scope, request.fields["why"]))


def _retry_requests(request: TileRequest) -> Redirect | FormPage:
    return _retry(request, "retry-requests", find_failed_requests(request.services.actions), None)


def _retry_run(request: TileRequest) -> Redirect | FormPage:
    run_id = request.fields.get("run", "")
    return _retry(request, "retry-run", find_failed_warms(request.services.actions, run_id), run_id)


def _retry(request: TileRequest, form: str, failed: FailedReports, run_id: str | None) -> Redirect | FormPage:
    count = len(failed.failures)
    denied = (
        f"{failed.denied:,} more are of accounts that deny access, and are left out; "
        "`adwarm gate open account:ID` lifts that."
    )
    confirmation = _Confirmation(
        title=f"Request {format_count(count, 'failed report')} again?" if count else "Nothing to request again",
        form=form,
        fields={"run": run_id} if run_id else {},
        digest=failed.digest,
        button="Request again" if count else "",
        facts=[("Of", run_id or "requests that ended in the last 24 hours without their report")]
        + [(f"{number:,} failed because", reason) for reason, number in failed.count_reasons()[:10]],
        warnings=[denied] if failed.denied else [],
        columns=("Report", "State", "Why"),
        rows=[(str(item.key), item.status, item.reason) for item in failed.failures],
    )
    if not confirmation.is_confirmed(request):
        return confirmation.to_page(request)
    why = request.fields["why"]
    result, action_id = retry_reports(request.services.actions, _doer(request), failed.keys, run_id=run_id, why=why)
    return Redirect(request.link(_TO, action=action_id), str(result))


def _purge(request: TileRequest) -> Redirect | FormPage:
    services, fields = request.services.actions, request.fields
    with_days = fields.get("with_days") == "1"
    account = check_field("account", normalize_account_id, fields.get("account", ""))
    parse = partial(PurgeChoice.parse, account, report=fields.get("report", ""), with_days=with_days)
    choice = check_field("date_range", parse, fields.get("date_range", ""))
    selection = select_purge(services, choice)
    confirmation = _confirm_purge(selection)
    if not confirmation.is_confirmed(request):
        return confirmation.to_page(request)
    result, _ = purge(services, _doer(request), selection, fields["why"])
    return Redirect(_TO, f"{choice.account_id}: {result}")


def _confirm_purge(selection: PurgeSelection) -> _Confirmation:
    choice, count = selection.choice, len(selection.chosen)
    has_any = bool(count or selection.day_count)
    days = "they stay; reports are built again from them"
    if choice.with_days:
        days = f"{selection.day_count:,} are deleted too, and have to be fetched from the platform again"
    facts = [
        ("Chosen", str(choice)),
        ("Stored reports", f"{count:,}, {format_bytes(selection.stored_bytes)}"),
        ("Read in the last day", f"{selection.read_lately:,}; their readers wait for the next fetch"),
        ("Stored days", days),
        ("Calls to fetch them again", f"about {selection.refetch_calls:,}"),
    ]
    fields = {
        "account": choice.account_id,
        "date_range": choice.date_range or "",
        "report": choice.report or "",
        "with_days": "1" if choice.with_days else "",
    }
    rows = [
        (entry.date_range, entry.report, str(entry.key.window), format_bytes(entry.stored_bytes), entry.last_read_at)
        for entry in selection.chosen
    ]
    return _Confirmation(
        title=f"Delete {describe_selection(selection)}?" if has_any else "Nothing to delete",
        form="purge",
        fields=fields,
        digest=selection.digest,
        button="Delete" if has_any else "",
        facts=facts,
        warnings=["This cannot be undone."] if has_any else [],
        columns=("Date range", "Report", "Days", "Size", "Last read"),
        rows=rows,
    )


def _join_ranges(fields: Mapping[str, str]) -> str:
    """Return the date ranges that were ticked or written."""
    return "\n".join(fields.get(name, "") for name in ("date_ranges", "more_ranges"))


def _doer(request: TileRequest) -> Doer:
    return Doer(request.visitor.name, request.visitor.via, request.visitor.token)


FORMS: Final = (
    Form("switch", Permission.CONTROL, _switch),
    Form("warm-now", Permission.WARM, _warm_now),
    Form("open-gate", Permission.CONTROL, _open_gate),
    Form("retry-requests", Permission.WARM, _retry_requests),
    Form("retry-run", Permission.WARM, _retry_run),
    Form("purge", Permission.PURGE, _purge),
)
