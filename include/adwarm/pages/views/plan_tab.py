"""The tabs *Plan* and *Why*: what is expected, what is planned and cut, and why a report was warm or not."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from adwarm import charts
from adwarm.foundation.clock import floor_to, utc
from adwarm.foundation.errors import BadRequest
from adwarm.model import ALL_ACCOUNTS, PRESETS, ReportKey, Warm, WarmReason, WarmStatus, check_account_id
from adwarm.pages.tab import InvalidField, Tab, Tile, TileRequest, check_field
from adwarm.patterns.hour_of_week import SHORT_DAYS
from adwarm.planning.moments import read_moment
from adwarm.planning.why_not_warm import Step
from adwarm.store import access_patterns, jobs, warm_usage, warms
from adwarm.store.access_patterns import SEVERAL_ZONES, PatternHour
from adwarm.store.accounts import find_id, list_names
from adwarm.store.snapshots import list_outlook
from adwarm.store.warms import WarmFilter

_HOUR: Final = timedelta(hours=1)
_RUNS: Final = 12
FIRST_ROWS: Final = 10
PAGE_ROWS: Final = 50
MOST_PAGES: Final = 200
MOST_OFFERED: Final = 1_000
"""Accounts that a form offers as one types; others are typed whole."""
_FILTERS: Final = ("run", "dag", "account", "range", "status", "reason")


def load_week(request: TileRequest) -> Mapping[str, Any]:
    """Return the heat map of the week: of one account, or of all."""
    try:
        account = _read_account(request)
    except InvalidField as error:
        return {"account": request.get("account"), "rows": [], "problem": str(error), "wrong": error.field}
    rows = access_patterns.list_hours(request.services.context.engine, account or ALL_ACCOUNTS)
    if len(rows) != 7 * 24:
        return {"account": account, "rows": []}
    ordered = sorted(rows, key=lambda row: (row.weekday, row.hour))
    zone = ordered[0].time_zone
    place = "each reader's own time zone" if zone in {"", SEVERAL_ZONES} else zone
    who = account or "all accounts"
    title = f"Opens to expect per hour of the week, {who}, in {place}"
    return {
        "account": account,
        "rows": ordered,
        "place": place,
        "chart": charts.heat_map([row.opens_per_hour for row in ordered], title, "opens to expect"),
        "days": [(name, _sum_parts(ordered[day * 24 : day * 24 + 24])) for day, name in enumerate(SHORT_DAYS)],
        "weeks": ordered[0].observed_weeks,
        "computed_at": ordered[0].computed_at,
    }


def load_outlook(request: TileRequest) -> Mapping[str, Any]:
    """Return the next 24 hours as the last run expects them."""
    hours = list_outlook(request.services.context.engine, floor_to(request.now, _HOUR))
    if not hours:
        return {"hours": []}
    labels = [f"{hour.hour:%H:%M}" for hour in hours]
    calls = (
        charts.Series("expected calls", [hour.expected_calls for hour in hours], "c1"),
        charts.Series("calls that the budget allows", [hour.call_quota for hour in hours], "c2"),
    )
    work = (
        charts.Series("expected opens", [hour.expected_opens for hour in hours], "c3"),
        charts.Series("warms that fall due", [float(hour.due_warms) for hour in hours], "c4"),
    )
    return {
        "hours": hours,
        "planned_at": max(hour.planned_at for hour in hours),
        "opens": sum(hour.expected_opens for hour in hours),
        "warms": sum(hour.due_warms for hour in hours),
        "calls": sum(hour.expected_calls for hour in hours),
        "work": charts.bar_chart(work, labels, "Expected opens and due warms of the next 24 hours, by UTC hour"),
        "quota": charts.line_chart(calls, labels, "Expected calls against the hourly budget, by UTC hour"),
    }


def load_runs(request: TileRequest) -> Mapping[str, Any]:
    """Return the newest runs, each with a link to its plan."""
    return {"runs": jobs.list_latest(request.services.context.engine, _RUNS)}


def load_keys(request: TileRequest) -> Mapping[str, Any]:
    """Return a page of the keys of one plan: planned and cut."""
    engine = request.services.context.engine
    page, dag = _read_page(request), request.get("dag")
    run_id = read_run(request) or (jobs.find_newest_run(engine, dag) if dag else warms.find_newest_run(engine))
    choices = {"statuses": [*map(str, WarmStatus)], "reasons": [*map(str, WarmReason)]}
    chosen = {name: request.get(name) for name in _FILTERS}
    try:
        account = _read_account(request)
    except InvalidField as error:
        return {"run_id": run_id, "chosen": chosen, **choices, "problem": str(error), "wrong": error.field}
    if run_id is None:
        return {"run_id": None, "chosen": chosen, **choices}
    fields = WarmFilter(account, chosen["range"][:40], chosen["status"][:16], chosen["reason"][:24])
    counts = warm_usage.count_run(engine, run_id)
    size = PAGE_ROWS if request.get("page") else FIRST_ROWS
    rows = warms.list_page(engine, run_id, fields, page * size, size + 1)
    has_more = len(rows) > size
    return {
        "run_id": run_id,
        "chosen": chosen,
        **choices,
        "counts": counts,
        "rows": [_describe_row(request, row) for row in rows[:size]],
        "page": page,
        "previous": _link_page(request, page - 1) if page else None,
        "next": _link_page(request, page + 1) if has_more and page + 1 < MOST_PAGES else None,
        "all": _link_page(request, 0) if has_more and size == FIRST_ROWS else None,
    }


def load_question(request: TileRequest) -> Mapping[str, Any]:
    """Return the values of the form that asks whether a report was warm, and the accounts that it offers."""
    try:
        if (words := _read_words(request)) and words[1]:
            check_field("at", partial(read_moment, zone_name="UTC", now=request.now), words[1])
        wrong = ""
    except InvalidField as error:
        wrong = error.field
    return {
        "chosen": {name: request.get(name) for name in ("account", "range", "report", "at")},
        "reports": sorted(request.services.context.settings.reports),
        "ranges": PRESETS,
        "accounts": list_names(request.services.context.engine, MOST_OFFERED),
        "wrong": wrong,
    }


def load_answer(request: TileRequest) -> Mapping[str, Any]:
    """Return why a report was warm or not.

    Raises:
        BadRequest: account, date range, report or moment is not valid.
    """
    words = _read_words(request)
    if words is None:
        return {"answer": None}
    explainer, (key, text) = request.services.get_explainer(), words
    moment = explainer.read_moment(key.account_id, text, request.now) if text else request.now
    answer = explainer.explain(key, moment, request.now)
    return {"answer": answer, "steps": [(step, _list_facts(step)) for step in answer.steps]}


def _read_words(request: TileRequest) -> tuple[ReportKey, str] | None:
    """Return the report and the words for the moment of a question; None when it names no report."""
    account, date_range = request.get("account"), request.get("range")
    if not account or not date_range:
        return None
    if not account.removeprefix("act_").isdigit():  # an id of Meta's is no name
        names = dict(list_names(request.services.context.engine, MOST_OFFERED))
        if account not in names:
            account = next((key for key, name in names.items() if (name or "").lower() == account.lower()), account)
    parse = partial(request.services.get_explainer().read_key, check_field("account", check_account_id, account))
    key = check_field("range", partial(parse, report=request.get("report") or "default"), date_range)
    return key, request.get("at")


def read_run(request: TileRequest) -> str:
    """Return the run that the query names, as the store has it; empty when it names none.

    `run` is the id in the table of runs, or with `dag` the id that Airflow has given it.
    """
    run, dag = request.get("run"), request.get("dag")
    joined = f"{dag}/{run}" if run and dag and not run.startswith(f"{dag}/") else run
    return joined[:250]


def link_why(request: TileRequest, key: ReportKey, at: datetime) -> str:
    """Return the relative URL that explains a key at a moment."""
    moment = f"{utc(at):%Y-%m-%dT%H:%M:%S}+00:00"
    return request.link("why", account=key.account_id, range=key.date_range, report=key.report, at=moment)


def _describe_row(request: TileRequest, row: Warm) -> dict[str, Any]:
    explanation = row.explanation or {}
    rejected = explanation.get("cut") or row.error
    moment = row.predicted_open or row.warm_at or row.decided_at  # when a reader would ask for it
    return {
        "row": row,
        "key": row.key,
        "why": explanation.get("why") or "",
        "cost": explanation.get("cost") or "",
        "rejected": rejected or "",
        "link": link_why(request, row.key, moment),
    }


def _link_page(request: TileRequest, page: int) -> str:
    chosen = {name: request.get(name) or None for name in _FILTERS}
    return request.link("plan", **chosen, page=page) + "#keys"


def _read_account(request: TileRequest) -> str:
    text = request.get("account")
    return check_field("account", partial(find_id, request.services.context), text) if text else ""


def _read_page(request: TileRequest) -> int:
    text = request.get("page") or "0"
    if not text.isascii() or not text.isdigit() or int(text[:6]) >= MOST_PAGES:
        raise BadRequest(f"page {text[:20]!r} is not valid; write a number below {MOST_PAGES}")
    return int(text)


def _sum_parts(rows: list[PatternHour]) -> list[float]:
    """Return the opens of one day in four parts of six hours."""
    return [sum(row.opens_per_hour for row in rows[start : start + 6]) for start in range(0, 24, 6)]


def _list_facts(step: Step) -> list[tuple[str, str]]:
    """Return the facts of a step as text; those that are not known are left out."""
    return [(name, _plain(value)) for name, value in step.facts.items() if value is not None]


def _plain(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else str(value)


TABS: Final = (
    Tab(
        "plan",
        "Plan",
        (
            Tile("question", "Was this warm?", load_question, is_wide=True),
            Tile("outlook", "The next 24 hours", load_outlook, refresh_seconds=60),
            Tile("week", "When reports are opened", load_week),
            Tile("runs", "The last runs", load_runs, refresh_seconds=60, is_wide=True, is_folded=True),
            Tile("keys", "Reports of one plan", load_keys, is_wide=True),
        ),
    ),
    Tab(
        "why",
        "Was this warm?",
        (
            Tile("ask", "Report and moment", load_question, template="plan/question.html", is_wide=True),
            Tile("answer", "Answer", load_answer, is_wide=True),
        ),
        is_listed=False,
    ),
)
