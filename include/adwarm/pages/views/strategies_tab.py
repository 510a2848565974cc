"""The tab *Strategies*: what is kept warm on a schedule, whether anybody uses it, and how to change and preview it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

from adwarm.foundation.cron import describe_cron
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone, zone_or_default
from adwarm.foundation.wording import format_count, format_some
from adwarm.model import Priority, StoredStrategy, Strategy
from adwarm.pages.access import Permission
from adwarm.pages.tab import Form, FormPage, Redirect, Tab, Tile, TileRequest
from adwarm.planning.strategy_changes import (
    StrategyChange,
    apply_changes,
    check_changes,
    find_field_problems,
    remove_strategies,
    set_strategies_enabled,
    unknown_strategy,
)
from adwarm.planning.strategy_schedule import load_strategies
from adwarm.planning.strategy_use import StrategyPreview, StrategyReport, preview_strategy, report_strategies
from adwarm.settings import Settings
from adwarm.store.action_events import record_action

LISTS: Final = ("date_ranges", "accounts", "excluded_accounts")
WHOLE_NUMBERS: Final = ("max_calls_per_hour", "batch_size", "max_parallel_batches", "open_hours")
SWITCHES: Final = ("enabled", "retire_unused", "opened_only")
TEXTS: Final = ("report", "priority", "cron", "time_zone")
CRON_EXAMPLES: Final = ("0 6 * * mon-fri", "30 7,13 * * *", "0 */6 * * *", "0 3 1 * *")


@dataclass(frozen=True, slots=True)
class StrategyForm:
    """What the form shows.

    Attributes:
        is_new: whether the form creates it.
        values: text by name of a field; of a switch `on` or empty.
        problems: by name of a field why it is not valid.
        message: why the fields do not go together; empty when they do.
        preview: the result of a dry run.
    """

    name: str
    is_new: bool
    values: Mapping[str, str]
    problems: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    preview: StrategyPreview | None = None

    def to_template(self, settings: Settings) -> dict[str, Any]:
        """Return the values of the template, with what the fields offer."""
        return {
            "form_data": self,
            "reports": sorted(settings.reports),
            "priorities": [priority.name.lower() for priority in Priority],
            "zones": list_zones(),
            "cron_examples": [(text, describe_cron(text)) for text in CRON_EXAMPLES],
            "cron_words": "" if "cron" in self.problems else describe_cron(self.values.get("cron", "")),
        }


@cache
def list_zones() -> tuple[str, ...]:
    """Return the names of the time zones, such as `Europe/Berlin`."""
    return ("UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/")))


def write_values(stored: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a definition as texts; a stored one may hold anything, also what is not valid."""
    values = {}
    for name in (*LISTS, *WHOLE_NUMBERS, "delay_seconds", *TEXTS):
        value = stored.get(name)
        values[name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else _write(value)
    return values | {name: "on" if stored.get(name) else "" for name in SWITCHES}


def write_new() -> dict[str, str]:
    """Return the defaults of a new strategy as texts; the date ranges are left to the user."""
    default = Strategy("new", ("yesterday",))
    return {**write_values({name: getattr(default, name) for name in Strategy.__slots__}), "date_ranges": ""}


def read_definition(fields: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the definition that the fields of a POST describe, and by name of a field why it cannot be read."""
    problems: dict[str, str] = {}
    values: dict[str, Any] = {name: _split(fields.get(name, "")) for name in LISTS}
    values["accounts"] = values["accounts"] or None
    for name in (*WHOLE_NUMBERS, "delay_seconds"):
        text = fields.get(name, "").replace(",", "")
        try:
            values[name] = float(text) if name == "delay_seconds" else int(text)
        except ValueError:
            problems[name] = "write a number" if name == "delay_seconds" else "write a whole number"
    values |= {name: fields.get(name, "") for name in TEXTS}
    return values | {name: fields.get(name) == "on" for name in SWITCHES}, problems


def _split(text: str) -> list[str]:
    """Return the values of a field, which commas or line ends separate."""
    return [part.strip() for line in text.splitlines() for part in line.split(",") if part.strip()]


def _write(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


_SHOWN_NAMES: Final = 3
_TEMPLATE: Final = "strategies/form_page.html"


@dataclass(frozen=True, slots=True)
class ShownStrategy:
    """A row of the list of strategies.

    Attributes:
        values: its fields as they are stored.
        schedule: when it is due, in words.
        next_due: when it is planned next, in its zone; None when it is not.
        reports: which reports of which accounts, in words.
    """

    report: StrategyReport
    values: Mapping[str, Any]
    schedule: str
    next_due: datetime | None
    is_due: bool
    reports: str
    link: str


def _load_list(request: TileRequest) -> Mapping[str, Any]:
    reports = report_strategies(request.services.context, request.now, is_brief=True)
    rows = [_show(request, report) for report in reports]
    return {"rows": rows, **_describe_access(request)}


def _show(request: TileRequest, report: StrategyReport) -> ShownStrategy:
    values = report.stored.values
    local = zone(zone_or_default(values.get("time_zone"), "UTC"))
    return ShownStrategy(
        report=report,
        values=values,
        schedule=describe_cron(str(values.get("cron"))),
        next_due=report.next_run and report.next_run.astimezone(local),
        is_due=report.next_run == request.now,
        reports=_describe_reports(values),
        link=request.link("strategy", name=report.stored.name),
    )


def _describe_reports(values: Mapping[str, Any]) -> str:
    ranges = format_some(_list_texts(values.get("date_ranges")), _SHOWN_NAMES)
    named = values.get("accounts")
    accounts = "every account" if named is None else format_some(_list_texts(named), _SHOWN_NAMES)
    excluded = _list_texts(values.get("excluded_accounts"))
    left_out = f" except {format_count(len(excluded), 'account')}" if excluded else ""
    report = values.get("report")
    left_out += ", if somebody opened it lately" if values.get("opened_only") else ""
    return f"{ranges} of {accounts}{left_out}" + ("" if report == "default" else f", report {report}")


def _list_texts(value: object) -> list[str]:
    """Return the texts of a stored list; a row that was edited by hand may hold anything."""
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)] if value else []


def _load_form(request: TileRequest) -> Mapping[str, Any]:
    name = request.get("name")
    if not name:
        form = StrategyForm("", is_new=True, values=write_new())
    else:
        form = StrategyForm(name, is_new=False, values=write_values(_find(request, name).values))
    return {**form.to_template(request.services.context.settings), **_describe_access(request)}


def _describe_access(request: TileRequest) -> dict[str, Any]:
    visitor = request.visitor
    return {"may_edit": visitor.may(Permission.EDIT), "who_may": visitor.explain(Permission.EDIT)}


def _find(request: TileRequest, name: str) -> StoredStrategy:
    """Return the stored strategy of a name.

    Raises:
        NotFound: there is none.
    """
    stored = {item.name: item for item in load_strategies(request.services.context.engine, request.now)}
    if name not in stored:
        raise unknown_strategy(name, stored)
    return stored[name]


def _save(request: TileRequest) -> Redirect | FormPage:
    """Create or change a strategy, as `adwarm strategy set` does."""
    change, form = _check(request)
    if change is None:
        return _answer(request, form, 422)
    context = request.services.context
    apply_changes(context.engine, context.settings, [change], request.now)
    fields = {name: {"before": old, "after": new} for name, (old, new) in change.changes.items()}
    _record(request, "strategy-save", form.name, fields, f"strategy {form.name} is {change.kind}")
    return Redirect("strategies", f"Strategy {form.name} is {change.kind}.")


def _preview(request: TileRequest) -> FormPage:
    """Show what a strategy would warm and cost: the one of the form, or with `stored` the stored one."""
    if request.fields.get("stored") == "1":
        stored = _find(request, request.fields.get("name", ""))
        if stored.strategy is None:
            raise BadRequest(f"{stored.problem}; edit the strategy first")
        strategy, form = stored.strategy, StrategyForm(stored.name, is_new=False, values=write_values(stored.values))
    else:
        change, form = _check(request)
        if change is None:
            return _answer(request, form, 422)
        strategy = change.strategy
    preview = preview_strategy(request.services.context, strategy, request.now)
    return _answer(request, StrategyForm(form.name, form.is_new, form.values, preview=preview), 200)


def _check(request: TileRequest) -> tuple[StrategyChange | None, StrategyForm]:
    """Return what the form changes, or None and the form with what is not valid."""
    context, fields = request.services.context, request.fields
    name, is_new = fields.get("name", ""), fields.get("mode") == "new"
    values, problems = read_definition(fields)
    problems = {**find_field_problems(name, values, context.settings), **problems}
    if is_new and name in {item.name for item in load_strategies(context.engine, request.now)}:
        problems["name"] = "there is a strategy of this name already; choose another name, or edit that strategy"
    if not is_new:
        _find(request, name)
    texts = {key: fields.get(key, "") for key in write_new()}
    if problems:
        return None, StrategyForm(name, is_new, texts, problems)
    try:
        [change] = check_changes(context.engine, context.settings, {name: values}, request.now)
    except BadRequest as error:
        return None, StrategyForm(name, is_new, texts, message=str(error))
    return change, StrategyForm(name, is_new, texts)


def _answer(request: TileRequest, form: StrategyForm, status: int) -> FormPage:
    what = "Dry run of" if form.preview is not None else "Check"
    title = f"{what} {form.name or 'the new strategy'}"
    values = {**form.to_template(request.services.context.settings), "may_edit": True, "who_may": ""}
    return FormPage(title, _TEMPLATE, values, status)


def _switch(request: TileRequest) -> Redirect:
    """Enable or disable a strategy."""
    name, enabled = request.fields.get("name", ""), request.fields.get("enabled") == "1"
    set_strategies_enabled(request.services.context.engine, [name], request.now, enabled=enabled)
    state = "enabled" if enabled else "disabled"
    _record(request, f"strategy-{state.removesuffix('d')}", name, {}, f"strategy {name} is {state}")
    return Redirect("strategies", f"Strategy {name} is {state}.")


def _remove(request: TileRequest) -> Redirect | FormPage:
    """Remove a strategy once that is confirmed."""
    name = request.fields.get("name", "")
    if request.fields.get("confirmed") != "1":
        stored = _find(request, name)
        values = {"strategy": name, "reports": _describe_reports(stored.values), "enabled": stored.enabled}
        return FormPage(f"Remove the strategy {name}?", "strategies/remove.html", values)
    remove_strategies(request.services.context.engine, [name], request.now)
    _record(request, "strategy-remove", name, {}, f"strategy {name} is removed")
    return Redirect("strategies", f"Strategy {name} is removed. What it has fetched stays.")


def _record(request: TileRequest, action: str, name: str, arguments: Mapping[str, Any], detail: str) -> None:
    visitor = request.visitor
    record_action(
        request.services.context.engine,
        at=request.now,
        actor=visitor.name,
        via=visitor.via,
        action=action,
        subject=name,
        arguments=arguments,
        succeeded=True,
        detail=detail,
    )


TABS: Final = (
    Tab(
        "strategies",
        "Strategies",
        (Tile("list", "Strategies", _load_list, is_wide=True),),
        (
            Form("strategy-save", Permission.EDIT, _save),
            Form("strategy-dry-run", Permission.EDIT, _preview),
            Form("strategy-switch", Permission.EDIT, _switch),
            Form("strategy-remove", Permission.EDIT, _remove),
        ),
        summary="Reports that are kept warm on a schedule, whatever the forecast says.",
    ),
    Tab(
        "strategy",
        "Strategy",
        (Tile("form", "Definition", _load_form, is_wide=True),),
        is_listed=False,
        summary="Which reports are kept warm, when, and how fast.",
    ),
)
