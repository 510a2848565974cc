"""What `adwarm doctor` checks about platforms: accounts, quotas, clocks, and who fetches misses.

Calls are made under admission, once, and with short timeouts.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from adwarm.cli.check_run import Check, Finding
from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.foundation.wording import format_count

if TYPE_CHECKING:
    from adwarm.backpressure.status import ScopeStatus
    from adwarm.foundation.gate import Gate
    from adwarm.runtime import Runtime
    from adwarm.settings import SourceSettings
    from adwarm.sources.pool import SourceFactory

_LONGEST_LIST = timedelta(seconds=20)
"""How long the accounts of one connection are listed; with more, the count is a lower bound."""
_NEARLY_USED_PERCENT = 90.0
_SHOWN = 3
DATABASE_CLOCK_SECONDS = 60.0
"""With a larger difference to the database's clock, leases and deadlines mislead."""


def list_connection_checks(runtime: "Runtime") -> list[Check]:
    """Return one check for each connection: how many accounts it can read."""
    try:
        quick = _quick_runtime(runtime)
        sources = quick.source_factories()
    except AdwarmError as error:
        problem = error

        def fail() -> str:
            raise problem

        return [Check("connection default", fail)]
    return [
        Check(f"connection {name}", partial(_check_connection, quick, name, make_source), needs_database=True)
        for name, make_source in sources.items()
    ]


def _quick_runtime(runtime: "Runtime") -> "Runtime":
    """Return a runtime with short timeouts, so that a platform that does not respond is noticed soon."""
    from adwarm.runtime import Runtime

    settings = runtime.settings

    def shorten(source: "SourceSettings") -> "SourceSettings":
        limits = {"read_timeout": min(source.read_timeout, 10.0), "call_timeout": min(source.call_timeout, 15.0)}
        return source.model_copy(update=limits)

    backpressure = settings.backpressure.model_copy(update={"timeout_seconds": 10.0})
    connections = {name: shorten(source) for name, source in settings.connections.items()}
    update = {"source": shorten(settings.source), "connections": connections, "backpressure": backpressure}
    return Runtime(settings.model_copy(update=update), runtime.clock)


def _check_connection(runtime: "Runtime", name: str, make_source: "SourceFactory") -> str:
    from adwarm.maintenance.account_changes import describe_error
    from adwarm.sources.factory import find_capabilities, find_source
    from adwarm.store.denials import lift_outdated

    until = runtime.clock.now() + _LONGEST_LIST
    listed = runtime.account_discovery(with_retries=False).read(name, make_source, until=until)
    if listed.error is not None:
        raise BadRequest(describe_error(listed.error))
    lift_outdated(runtime.engine, listed.connection, listed.credential, listed.version)
    noun = find_capabilities(runtime.settings, name).noun
    if not listed.accounts:
        return f"responds, and lists no {noun}; let the user of its token read some"
    problems = f"; {len(listed.problems):,} need a look: {listed.problems[0]}" if listed.problems else ""
    count = f"at least {len(listed.accounts):,}" if listed.is_cut else f"{len(listed.accounts):,}"
    noun = noun if len(listed.accounts) == 1 else f"{noun}s"
    reasons = Counter(account.status_reason for account in listed.accounts.values() if account.status_reason)
    notes = "; ".join(f"{number:,} {reason}" for reason, number in reasons.most_common(3))
    source = find_source(runtime.settings, name)
    count += f" {noun}" + (f" by the layout {source.layout}" if source.kind in {"parquet", "sql"} else "")
    return count + (f", {sum(reasons.values()):,} not simply active: {notes}" if reasons else "") + problems


def check_fetching(runtime: "Runtime") -> Finding:
    """Return who fetches the misses of the read API, and a note when that is only the schedule of the DAG."""
    from adwarm.serving.drainers import describe_fetching

    fetching = describe_fetching(runtime.settings, runtime.source_factories)
    return Finding(fetching.sentence, warning=fetching.mode == "waits")


def check_fields(runtime: "Runtime") -> Finding:
    """Return which fields of reports the platform refuses, of which accounts and why, and when they are tried again."""
    from adwarm.maintenance.platform_watch import list_refused

    lines = [
        f"{item['field']} by {item['version']} for {item['accounts']}, tried again on {item['again']:%Y-%m-%d}: "
        f"{item['why']}"
        for item in list_refused(runtime.engine, runtime.clock.now())
    ]
    if not lines:
        return Finding("the platform refuses no field of a report")
    more = f"; and {len(lines) - _SHOWN:,} more" if len(lines) > _SHOWN else ""
    advice = "reports are read without them; take them out of ADWARM_REPORTS, or get the permission"
    return Finding(f"refused: {'; '.join(lines[:_SHOWN])}{more}; {advice}", warning=True)


def check_groups(runtime: "Runtime") -> Finding:
    """Return of which accounts and reports the groups of stored days do not add up, and how many are not compared."""
    from adwarm.queries.operation import count_not_compared, list_short_groups

    short, total = list_short_groups(runtime.engine, runtime.settings, runtime.clock.now(), _SHOWN)
    more = f"; and {total - len(short):,} more" if total > len(short) else ""
    texts = [f"{account_id} {report}: {lack}" for account_id, report, lack in short]
    if short:
        texts[-1] += f"{more}; enable the breakdown in Ads Manager, or compare with the platform's own page"
    texts += [
        f"{format_count(count, 'day')} of the report {name} are not compared: no report without breakdowns has them"
        for name, count in count_not_compared(runtime.engine, runtime.settings).items()
    ]
    return Finding("; ".join(texts) or "groups of stored days add up", warning=bool(short))


def check_platform(runtime: "Runtime") -> Finding:
    """Return how long the version of the API and the token of each connection live."""
    from adwarm.maintenance.platform_watch import STEP, list_connections

    connections = list_connections(runtime.engine, runtime.clock.now())
    if not connections:
        return Finding(f"not read yet; `adwarm maintain --step {STEP}` reads it, and maintenance once a day")
    texts = [f"{item['connection']}: {item['version']}; {item['token']}" for item in connections]
    return Finding(
        "; ".join(texts), warning=any(item["version_needs_look"] or item["token_needs_look"] for item in connections)
    )


def check_tier(runtime: "Runtime") -> Finding:
    """Return the calls of each app against what the platform's upper access tier asks for."""
    from adwarm.maintenance.platform_watch import TIER_CALLS, TIER_DAYS, TIER_ERRORS, list_apps

    apps = list_apps(runtime.engine, runtime.clock.now())
    texts = [f"{app.app}: {app.calls:,} calls in {TIER_DAYS} days, {app.error_share:.1%} with an error" for app in apps]
    rule = f"the platform grants its upper tier from {TIER_CALLS:,} calls with under {TIER_ERRORS:.0%} errors"
    return Finding("; ".join([*texts, rule]), warning=any(app.error_share >= TIER_ERRORS for app in apps))


def check_quota(runtime: "Runtime") -> Finding:
    """Return how much of the platform's quota is used, what is not called now, and settings above the quota."""
    from adwarm.foundation.gate import Rule
    from adwarm.store.gates import list_closed

    status = runtime.admission.status()
    used = [scope for scope in status.scopes if scope.usage is not None]
    high = [scope for scope in used if (scope.usage or 0.0) >= _NEARLY_USED_PERCENT]
    closed = list_closed(runtime.engine)
    # A switch has a check of its own; a denied account is the owner's choice.
    gates = [gate for gate in closed if gate.rule not in {Rule.SWITCH, Rule.DENIAL}]
    parts = [_describe_usage(used)]
    if gates:
        parts.append(f"{format_count(len(gates), 'scope')} not called now: {_list(gates)}")
    if high:
        names = ", ".join(scope.scope for scope in high[:_SHOWN])
        parts.append(f"{format_count(len(high), 'scope')} above {_NEARLY_USED_PERCENT:.0f} %: {names}")
    if gates:
        parts.append("calls resume by themselves; `adwarm gate list` says why, and `adwarm gate open` ends one early")
    if excess := _find_excess(runtime, status.scopes):
        parts.append(excess)
    return Finding("; ".join(parts), warning=bool(gates or high or excess))


def _describe_usage(used: "list[ScopeStatus]") -> str:
    if not used:
        return "the platform has reported no figures yet"
    highest = max(used, key=lambda scope: scope.usage or 0.0)
    return (
        f"at most {highest.usage:.0f} % of a quota used ({highest.scope}), {format_count(len(used), 'scope')} reported"
    )


def _list(gates: "list[Gate]") -> str:
    shown = [gate.to_dict() for gate in gates[:_SHOWN]]
    return ", ".join(
        f"{gate['scope']} until {gate['until']:%Y-%m-%d %H:%M} UTC" if gate["until"] else f"{gate['scope']}, tested now"
        for gate in shown
    )


def _find_excess(runtime: "Runtime", scopes: "Sequence[ScopeStatus]") -> str:
    """Return which setting allows more calls than the platform's figures do; empty when none does."""
    planning, window = runtime.settings.planning, runtime.settings.backpressure.quota_window_seconds
    accounts = [scope.quota for scope in scopes if scope.scope.startswith("account:") and scope.quota is not None]
    lowest = min(accounts, default=float("inf")) * 3600.0 / window
    if planning.max_account_calls_per_hour <= lowest:
        return ""
    return (
        f"ADWARM_PLANNING__MAX_ACCOUNT_CALLS_PER_HOUR is {planning.max_account_calls_per_hour:,}, and the platform's "
        f"figures allow about {lowest:,.0f} calls an hour of one account; lower it"
    )


def check_platform_clock(runtime: "Runtime") -> Finding:
    """Compare this machine's clock with the platform's; the check of the connection says why it does not respond."""
    from adwarm.prefetch.batch import MAX_CLOCK_OFFSET_SECONDS
    from adwarm.runtime import source_factory

    try:
        source = source_factory(_quick_runtime(runtime).settings)()
        source.list_account_page(None, 1)  # the offset is known after the first response
    except AdwarmError:
        return Finding("not compared: the check of the connection says what to do first", checked=False)
    offset = source.clock_offset_seconds
    if offset is None:
        return Finding(f"{source.name} reports no time; this machine's clock is used")
    if abs(offset) > MAX_CLOCK_OFFSET_SECONDS:
        side = "behind" if offset > 0 else "ahead of"
        raise BadRequest(
            f"this machine's clock is {abs(offset) / 3600:.1f} h {side} the platform's; correct it: "
            "until then days settle by the platform's clock"
        )
    return Finding(f"within {abs(offset):.0f} s of the platform's")


def check_database_clock(runtime: "Runtime") -> Finding:
    """Compare this machine's clock with that of the database, which decides when leases and grants expire."""
    from adwarm.store.database import database_time, read_transaction

    if runtime.engine.dialect.name == "sqlite":
        return Finding("the database runs on this machine's clock")
    with read_transaction(runtime.engine) as connection:
        offset = database_time(connection) - runtime.clock.now().timestamp()
    if abs(offset) <= DATABASE_CLOCK_SECONDS:
        return Finding(
            f"within {abs(offset):.0f} s of the database's", warning=abs(offset) > DATABASE_CLOCK_SECONDS / 4
        )
    side = "behind" if offset > 0 else "ahead of"
    raise BadRequest(
        f"this machine's clock is {abs(offset):,.0f} s {side} the database's; correct it (`timedatectl set-ntp true`): "
        "freshness and deadlines are wrong by as much"
    )
