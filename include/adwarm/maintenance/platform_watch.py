"""Watches what the platform ends: versions of its API and tokens; and the use on which it grants its upper access tier.

| of each connection               | is read                          | alerted                                        |
|----------------------------------|----------------------------------|------------------------------------------------|
| the ends of the token and of its | once a day, and at once when the | `TokenExpires`, 14, 7 and 1 days before        |
| access to data                   | token is new                     |                                                |
| the end of the API version       | the same; from a table           | `ApiVersion`, at the same times                |
| the version that answers         | the same; and of stored entries  | `ApiVersion`, when it is another one, or warns |

What was read is the state of the step, which the page and `adwarm doctor` show.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, func, select

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, BadRequest, Refused, Transient, VersionEnded
from adwarm.foundation.gate import to_datetime
from adwarm.foundation.wording import format_count
from adwarm.maintenance.platform_calls import PlatformCalls
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.recovery import RecoveryPipeline
from adwarm.sources.protocol import ChangingPlatform, InsightsSource
from adwarm.store import accounts, maintenance_steps, read_transaction
from adwarm.store.accounts import table as account
from adwarm.store.denials import EVERY_ACCOUNT, FIELD_PERIOD, list_refused_fields
from adwarm.store.entries import table as entry
from adwarm.store.error_events import error_event
from adwarm.store.read_traffic import list_calls

STEP: Final = "watch_platform"
NOTICE_DAYS: Final = (14, 7, 1)
"""An alert comes at most this many days before something ends."""
TIER_CALLS, TIER_DAYS, TIER_ERRORS = 500, 15, 0.15
"""What the platform grants its upper tier on: calls in so many days, and a share of errors below this one (of its last
500 calls). Until 2026-05-04 it was 1,500: developers.meta.com/blog/updates-to-ads-management-standard-access-feature"""
_DAY = timedelta(days=1)
_KEEP = timedelta(days=7)
Facts = dict[str, Any]
NOTHING: Final[Facts] = {"ends": None, "answered": [], "warning": "", "token": None}
"""What is known of a connection before it is read."""


def make_watch_platform(calls: PlatformCalls, pipeline: RecoveryPipeline, clock: Clock) -> Step:
    """Return the step."""

    def watch_platform(cursor: Any, budget: StepBudget) -> StepResult:
        """Read what is due, and alert about what ends; a connection that the budget leaves is read by the next run."""
        now, counts, problems, news = clock.now(), Counter[str](), list[str](), dict[str, dict[str, str]]()
        connections: dict[str, Facts] = {
            name: facts for name, facts in (cursor or {}).items() if _age(facts, now) < _KEEP
        }
        for source in _iter_sources(calls, problems):
            if not isinstance(source, ChangingPlatform) or budget.is_used_up:
                continue
            name, old = source.connection, connections.get(source.connection, {})
            if _is_due(old, source, now):
                connections[name] = _read(calls, source, source, old, now)
                counts["read"] += 1
                problems += [f"{name}: {text}" for text in connections[name]["problems"].values()]
            for kind, text in _take_news(connections[name], now).items():
                news.setdefault(kind, {})[name] = f"connection {name}: {text}"
        for kind, texts in news.items():
            counts["alerts"] += 1
            scope = f"connection:{min(texts)}" if len(texts) == 1 else format_count(len(texts), "connection")
            pipeline.alert(scope, kind, "; ".join(texts.values()))
        if not connections:
            return StepResult(skipped="; ".join(problems) or "no connection has a platform that changes")
        return StepResult(dict(counts), connections, problems, keeps_state=True)

    return watch_platform


def _iter_sources(calls: PlatformCalls, problems: list[str]) -> Iterator[InsightsSource]:
    """Yield the source of each connection; one that is not valid, or none at all, is a problem and no error."""
    try:
        for name in calls.factories():
            try:
                yield calls.get_source(name)
            except AdwarmError as error:
                problems.append(f"{name}: {error}")
    except BadRequest as error:
        problems.append(str(error))


def _age(facts: Facts, now: datetime) -> timedelta:
    return now - datetime.fromisoformat(facts["read_at"])


def _is_due(old: Facts, source: InsightsSource, now: datetime) -> bool:
    is_new = (old.get("credential"), old.get("asked")) != (source.credential, source.capabilities.api_version)
    return is_new or old["is_soon"] or _age(old, now) >= _DAY


def _read(calls: PlatformCalls, source: InsightsSource, platform: ChangingPlatform, old: Facts, now: datetime) -> Facts:
    """Return what the platform says of a connection; what it does not say now is what it said before."""
    version = source.capabilities.api_version
    same_version, same_token = old.get("asked") == version, old.get("credential") == source.credential
    known_names = (*(("ends", "answered", "warning") if same_version else ()), *(("token",) if same_token else ()))
    facts: Facts = {
        **NOTHING,
        **{name: old[name] for name in known_names},
        "alerted": old.get("alerted", []),
        "credential": source.credential,
        "asked": version,
        "app": next((str(scope) for scope in source.scopes("")), ""),
        "read_at": now.isoformat(),
        "is_soon": False,
        "problems": {},
    }

    def read_version() -> None:
        answer = calls.call(source, "", platform.read_api_version)
        since = datetime.fromisoformat(old["read_at"]) if same_version else now
        stored = _list_stored_versions(calls.context.engine, source.connection, since)
        facts["answered"] = sorted({answer.answered, *stored} - {version})
        facts["ends"], facts["warning"] = answer.ends and f"{answer.ends}T00:00:00+00:00", answer.warning

    def read_token() -> None:
        life = calls.call(source, "", platform.read_token_life)
        facts["token"] = [end and end.isoformat() for end in (life.expires_at, life.data_access_until)]

    for what, read in (("version", read_version), ("token", read_token)):
        try:
            read()
        except AdwarmError as error:
            has_ended = isinstance(error, VersionEnded)
            facts["problems"][what] = str(error) if has_ended else f"the end of the {what} is not known: {error}"
            facts["is_soon"] = facts["is_soon"] or isinstance(error, Transient | Refused)
    return facts


def _list_stored_versions(engine: Engine, connection: str, since: datetime) -> list[str]:
    """Return the versions that answered the connection's fetches of reports since then."""
    of_connection = entry.join(account, account.c.id == entry.c.account_id)
    query = select(entry.c.api_version).distinct().select_from(of_connection)
    query = query.where(account.c.connection == connection, entry.c.fetched_at >= since, entry.c.api_version != "")
    with read_transaction(engine) as transaction:
        return list(transaction.execute(query).scalars())


def _take_news(facts: Facts, now: datetime) -> dict[str, str]:
    """Return what was not alerted yet, by kind of alert, and note that it was."""
    alerted, news = set(facts["alerted"]), list(_list_news(facts, now))
    facts["alerted"] = [mark for _, mark, _ in news]
    new = [(kind, text) for kind, mark, text in news if mark not in alerted]
    return {kind: "; ".join(text for other, text in new if other == kind) for kind, _ in new}


def _list_news(facts: Facts, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Yield what to alert: kind of the alert, a mark that is the same while nothing changes, and a text."""
    for kind, what, end in _list_ends(facts):
        due = [days for days in NOTICE_DAYS if end - now <= days * _DAY]
        if due:
            yield kind, f"{what} {end} {min(due)}", f"{what} {_describe_end(end, now)}"
    if answered := ", ".join(facts["answered"]):
        text = f"the platform upgrades calls by version {facts['asked']} of the API by itself, to {answered}"
        yield "ApiVersion", f"{facts['asked']} {answered}", text
    if warning := facts["warning"]:
        yield "ApiVersion", warning, f"the platform warns: {warning}"


def _list_ends(facts: Facts) -> Iterator[tuple[str, str, datetime]]:
    token = facts["token"] or (None, None)
    ends = (
        ("TokenExpires", "the access token ends", token[0]),
        ("TokenExpires", "the token's access to data ends", token[1]),
        ("ApiVersion", f"version {facts['asked']} of the API ends", facts["ends"]),
    )
    yield from ((kind, what, datetime.fromisoformat(end)) for kind, what, end in ends if end)


def _describe_end(end: datetime, now: datetime) -> str:
    days = math.ceil((end - now) / _DAY)
    left = f"in {format_count(days, 'day')}" if days > 0 else "which is over"
    return f"on {end:%Y-%m-%d}, {left}"


def list_connections(engine: Engine, now: datetime) -> list[dict[str, Any]]:
    """Return each connection that was read: its name, when, `version` and `token` in words, and which needs a look."""
    rows = []
    for name, facts in sorted(_load(engine).items()):
        news, problems = list(_list_news(facts, now)), facts["problems"]
        kinds = {kind for kind, _, _ in news}
        ends: dict[str, list[str]] = {"ApiVersion": [], "TokenExpires": []}
        for kind, what, end in _list_ends(facts):
            ends[kind].append(f"{what} {_describe_end(end, now)}")
        own = [text for kind, _, text in news if kind == "ApiVersion" and text not in ends[kind]]
        unknown = [] if "version" in problems else [f"no end of version {facts['asked']} of the API is known"]
        version = [*(ends["ApiVersion"] or unknown), *own]
        token = ends["TokenExpires"] or (["the access token never ends"] if facts["token"] else [])
        rows.append({
            "connection": name,
            "read_at": datetime.fromisoformat(facts["read_at"]),
            "version": "; ".join([*version, *filter(None, [problems.get("version")])]),
            "token": "; ".join([*token, *filter(None, [problems.get("token")])]),
            "version_needs_look": "ApiVersion" in kinds or "version" in problems,
            "token_needs_look": "TokenExpires" in kinds or "token" in problems,
        })
    return rows


def list_refused(engine: Engine, now: datetime) -> list[dict[str, Any]]:
    """Return the fields that the platform refuses: by which version, for which accounts, until when, and its words."""
    rows = []
    for gate in list_refused_fields(engine, now):
        version, again = gate.data["credential"].rpartition("@")[2], to_datetime(gate.since) + FIELD_PERIOD
        for name, why in gate.data["fields"].items():
            ids = gate.data["accounts"][name]
            whose = ", ".join(ids) if len(ids) < EVERY_ACCOUNT else f"every account of {gate.scope}"
            rows.append({"field": name, "version": version, "accounts": whose, "again": again, "why": why})
    return rows


@dataclass(frozen=True, slots=True)
class AppUsage:
    """The calls of an app in the last `TIER_DAYS`, and how many of them the platform answered by an error."""

    app: str
    calls: int
    errors: int

    @property
    def error_share(self) -> float:
        """The share of calls that were answered by an error, 0 to 1."""
        return min(1.0, self.errors / self.calls) if self.calls else 0.0


def list_apps(engine: Engine, now: datetime) -> list[AppUsage]:
    """Return the use of each app of a connection that was read, as of now.

    The calls and errors of no known connection, such as calls about no account, count where there is only one app.
    """
    app_of, since = {name: facts["app"] for name, facts in _load(engine).items()}, now - TIER_DAYS * _DAY
    if not app_of:
        return []
    owner = {name: item.connection for name, item in accounts.get_many(engine).items()}
    only = next(iter(app_of.values())) if len(set(app_of.values())) == 1 else None
    calls, errors = Counter[str | None](), Counter[str | None]()
    for name, count in list_calls(engine, since).items():
        calls[app_of.get(owner.get(name, ""), only)] += count
    query = select(error_event.c.connection, func.count()).where(error_event.c.code.is_not(None))
    query = query.where(error_event.c.at >= since).group_by(error_event.c.connection)
    with read_transaction(engine) as transaction:
        for connection, count in transaction.execute(query):
            errors[app_of.get(connection, only)] += count
    return [AppUsage(app, calls[app], errors[app]) for app in sorted(set(app_of.values()))]


def _load(engine: Engine) -> Mapping[str, Facts]:
    state = maintenance_steps.find_state(engine, STEP)
    return (state.cursor if state else None) or {}
