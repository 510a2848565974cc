"""`adwarm errors`: the error history and the alerts that it raised; previews of what is sent."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import (
    JsonOption,
    parse_timestamp,
    print_json,
    print_lines,
    print_note,
    print_table,
)

if TYPE_CHECKING:
    from adwarm.recovery.channels import Channel
    from adwarm.runtime import Runtime
    from adwarm.store.alerts import Delivery
    from adwarm.store.error_events import ErrorEvent, PeriodCount

_ALERT_COLUMNS = ("id", "state", "kind", "of", "since", "last", "errors", "sent to", "next step")
_SEND_SECONDS = 10.0
_BY_DAG = "sent by the DAG"
_COLUMNS = ("at", "source", "kind", "about", "message")
_COUNT_COLUMNS = ("from", "source", "kind", "errors")
_PERIODS = ("hour", "day")


def print_alerts(limit: int, *, open_only: bool, as_json: bool) -> None:
    """List alerts, the newest first. Those without a recent error are resolved first."""
    from adwarm.runtime import Runtime
    from adwarm.store import alerts as alert_rows

    runtime = Runtime()
    if runtime.alerts.resolve_quiet():
        runtime.notice_sender.wait(_SEND_SECONDS)
    listed = alert_rows.list_alerts(runtime.engine, open_only=open_only, limit=limit)
    notices: dict[int, list[Delivery]] = {alert.id: [] for alert in listed}
    for delivery in alert_rows.list_deliveries(runtime.engine, list(notices)):
        notices[delivery.alert_id].append(delivery)
    if as_json:
        print_json([{**asdict(alert), "notices": [_notice(item) for item in notices[alert.id]]} for alert in listed])
        return
    rows = [
        (
            alert.id,
            "open" if alert.resolved_at is None else "resolved",
            alert.kind,
            alert.scope,
            alert.opened_at,
            alert.last_at,
            alert.errors,
            _describe_notices(notices[alert.id]),
            alert.next_step,
        )
        for alert in listed
    ]
    print_table("Open alerts" if open_only else "Alerts, the newest first", _ALERT_COLUMNS, rows, "none")


@dataclass(frozen=True)
class SentMessage:
    """Result of the test message of one channel."""

    channel: str
    result: str
    reason: str | None = None


def print_digest(runtime: "Runtime", *, as_json: bool) -> None:
    """Print the weekly digest as it would be sent now: how warm, what it cost, what to do, which ads need action."""
    from adwarm.queries.digest import build_digest

    title, text = build_digest(runtime.context, runtime.clock.now())
    channels = [channel.name for channel in runtime.settings.alerts.channels]
    is_on = runtime.settings.alerts.enabled and runtime.settings.alerts.weekly_digest
    if as_json:
        print_json({"title": title, "text": text, "is_on": is_on, "channels": ["log", *channels]})
        return
    print_lines([(0, title), *((2, line) for line in text.splitlines())])
    print_note(
        f"sent on Mondays through: {', '.join(['log', *channels])}"
        if is_on
        else "not sent; ADWARM_ALERTS__WEEKLY_DIGEST=true sends it on Mondays"
    )


def send_tests(*, as_json: bool) -> None:
    """Send one test message through each channel now. Exits with 1 when one of them fails.

    Notifiers of Airflow need a task: their message is queued, and the next run of adwarm_maintenance sends it.
    """
    from adwarm.runtime import Runtime

    runtime = Runtime()
    sender = runtime.notice_sender
    results = [_send_test(item) for item in sender.channels]
    queued = tuple(sender.unusable)
    if queued:
        _queue_test(runtime, queued)
        results += [SentMessage(name, _BY_DAG, "the next run of adwarm_maintenance sends it") for name in queued]
    if as_json:
        print_json([asdict(item) for item in results])
    else:
        rows = [(item.channel, item.result, item.reason) for item in results]
        print_table("Test of the channels", ("channel", "result", "reason"), rows)
    if any(item.result == "failed" for item in results):
        raise typer.Exit(1)


def _send_test(channel: "Channel") -> SentMessage:
    from adwarm.recovery.channels import describe_failure
    from adwarm.recovery.messages import build_test_message

    try:
        channel.send(build_test_message(channel.name))
    except Exception as error:
        return SentMessage(channel.name, "failed", describe_failure(channel, error))
    return SentMessage(channel.name, "delivered")


def _queue_test(runtime: "Runtime", channels: tuple[str, ...]) -> None:
    """Open an alert that says it is a test, for channels that only a task of Airflow can use."""
    from adwarm.store.alerts import Channels, NewAlert, open_or_extend

    now = runtime.clock.now()
    new = NewAlert(
        at=now,
        kind="Test",
        scope=f"channels at {now:%Y-%m-%d %H:%M:%S.%f}",  # each test is an alert of its own
        reason="This is a test of the channels. Nothing has failed.",
        next_step="Nothing is left to do.",
    )
    open_or_extend(runtime.engine, new, Channels(queued=channels), now)


def _notice(delivery: "Delivery") -> dict[str, Any]:
    fields = asdict(delivery)
    return {name: fields[name] for name in ("notice", "channel", "created_at", "delivered_at", "attempts", "error")}


def _describe_notices(deliveries: "list[Delivery]") -> str:
    """Return the channels that got a notice, and those that did not, with the reason of the last attempt."""
    sent = list(dict.fromkeys(item.channel for item in deliveries if item.delivered_at is not None))
    waiting = [item for item in deliveries if item.delivered_at is None]
    texts = [
        f"{item.channel} ({'given up' if item.is_given_up else 'not yet'}: {item.error or 'queued'})"
        for item in waiting
    ]
    return ", ".join([*sent, *texts]) or "-"


def errors(
    *,
    account: Annotated[str | None, typer.Option(help="Only errors about this account.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only errors of this class, such as Throttled.")] = None,
    since: Annotated[str | None, typer.Option(help="Only errors from this time on (ISO 8601).")] = None,
    limit: Annotated[int, typer.Option(help="The most errors to list.", min=1, max=20_000)] = 50,
    counts: Annotated[
        str | None, typer.Option(metavar="hour|day", help="Count errors by hour or day, source and class instead.")
    ] = None,
    alerts: Annotated[
        bool, typer.Option("--alerts", help="List the alerts that errors have raised instead, with their notices.")
    ] = False,
    open_only: Annotated[bool, typer.Option("--open", help="With --alerts: leave out resolved ones.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List failed calls, the newest first, or count them over time. Times are UTC. Messages contain no secret.

    With --alerts, those without a recent error are resolved first.
    """
    from adwarm.foundation.errors import BadRequest
    from adwarm.runtime import Runtime
    from adwarm.store.accounts import find_id
    from adwarm.store.error_events import ErrorFilter

    if alerts:
        if any((account, kind, since, counts)):
            raise BadRequest("--alerts goes with --open and --limit; the other options choose errors")
        print_alerts(limit, open_only=open_only, as_json=as_json)
        return
    if open_only:
        raise BadRequest("--open goes with --alerts")
    if counts not in (None, *_PERIODS):
        raise BadRequest(f"--counts {counts[:20]!r} is not known; write hour or day")
    runtime = Runtime()
    error_filter = ErrorFilter(
        account_id=find_id(runtime.context, account) if account else None,
        kind=kind,
        since=parse_timestamp(since, "--since") if since else None,
    )
    log = runtime.errors
    if counts is None:
        _print_errors(list(log.list_recent(limit, error_filter)), limit, as_json=as_json)
    else:
        _print_counts(log.count_by_period("day" if counts == "day" else "hour", error_filter), counts, as_json=as_json)


def _print_errors(events: "list[ErrorEvent]", limit: int, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(event) for event in events])
        return
    rows = [
        (event.at, _describe_source(event), event.kind, _describe_subject(event), event.message) for event in events
    ]
    title = f"The newest {limit:,} errors" if len(events) == limit else "Errors, the newest first"
    print_table(title, _COLUMNS, rows, "none")


def _describe_source(event: "ErrorEvent") -> str:
    """Return the source with the connection, if there was one."""
    return f"{event.source} ({event.connection})" if event.connection else event.source


def _describe_subject(event: "ErrorEvent") -> str | None:
    """Return what the error is about; a report key names its account already."""
    account, subject = event.account_id or "", event.subject or ""
    return (subject if account in subject.split() else f"{account} {subject}".strip()) or None


def _print_counts(counts: "list[PeriodCount]", period: str, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(item) for item in counts])
    else:
        rows = [(item.start, item.source, item.kind, item.errors) for item in counts]
        print_table(f"Errors by {period}", _COUNT_COLUMNS, rows, "none")
