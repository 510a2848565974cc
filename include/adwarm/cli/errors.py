"""`adwarm errors`: the error history, and the alerts that it raised."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.alerts import print_alerts
from adwarm.cli.options import JsonOption, parse_timestamp
from adwarm.cli.output import print_json, print_table

if TYPE_CHECKING:
    from adwarm.store.error_events import ErrorEvent, PeriodCount

_COLUMNS = ("at", "source", "kind", "about", "message")
_COUNT_COLUMNS = ("from", "source", "kind", "errors")
_PERIODS = ("hour", "day")


def errors(
    *,
    source: Annotated[str | None, typer.Option(help="Only errors of this source, such as meta.")] = None,
    account: Annotated[str | None, typer.Option(help="Only errors about this account.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only errors of this class, such as Throttled.")] = None,
    since: Annotated[str | None, typer.Option(help="Only errors from this time on (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option(help="Only errors before this time (ISO 8601).")] = None,
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
    from adwarm.model import normalize_account_id
    from adwarm.runtime import Runtime
    from adwarm.store.error_events import ErrorFilter

    if alerts:
        if any((source, account, kind, since, until, counts)):
            raise BadRequest("--alerts goes with --open and --limit; the other options choose errors")
        print_alerts(limit, open_only=open_only, as_json=as_json)
        return
    if open_only:
        raise BadRequest("--open goes with --alerts")
    if counts not in (None, *_PERIODS):
        raise BadRequest(f"--counts {counts[:20]!r} is not known; write hour or day")
    wanted = ErrorFilter(
        source=source,
        account_id=normalize_account_id(account) if account else None,
        kind=kind,
        since=parse_timestamp(since, "--since") if since else None,
        until=parse_timestamp(until, "--until") if until else None,
    )
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        raise BadRequest("--since must be before --until")
    log = Runtime().errors
    if counts is None:
        _print_errors(list(log.list_recent(limit, wanted)), limit, as_json=as_json)
    else:
        _print_counts(log.count_by_period("day" if counts == "day" else "hour", wanted), counts, as_json=as_json)


def _print_errors(found: "list[ErrorEvent]", limit: int, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(event) for event in found])
        return
    rows = [(event.at, _describe_source(event), event.kind, _describe_subject(event), event.message) for event in found]
    title = f"The newest {limit:,} errors" if len(found) == limit else "Errors, the newest first"
    print_table(title, _COLUMNS, rows, "none")


def _describe_source(event: "ErrorEvent") -> str:
    """Return the source with the connection, if there was one."""
    return f"{event.source} ({event.connection})" if event.connection else event.source


def _describe_subject(event: "ErrorEvent") -> str | None:
    """Return what the error is about; a report key names its account already."""
    account, subject = event.account_id or "", event.subject or ""
    return (subject if account in subject.split() else f"{account} {subject}".strip()) or None


def _print_counts(found: "list[PeriodCount]", period: str, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(item) for item in found])
    else:
        rows = [(item.start, item.source, item.kind, item.errors) for item in found]
        print_table(f"Errors by {period}", _COUNT_COLUMNS, rows, "none")
