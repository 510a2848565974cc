"""`adwarm warm`: fetches reports now, or requests them from the queue."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import (
    AtOption,
    JsonOption,
    ReportOption,
    clock_at,
    get_doer,
    parse_option,
    print_json,
    print_table,
    split_commas,
    write_to_stderr,
)
from adwarm.cli.warm_queue import queue_reports, retry_failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adwarm.model import Priority, ReportKey
    from adwarm.prefetch import BatchResult, KeyOutcome
    from adwarm.runtime import Runtime


def warm(
    accounts: Annotated[list[str] | None, typer.Argument(help="Account ids, such as act_1234.")] = None,
    *,
    date_ranges: Annotated[
        list[str] | None, typer.Option("--range", help="Date ranges, separated by commas; may be repeated.")
    ] = None,
    report: ReportOption = "default",
    priority: Annotated[
        str | None, typer.Option(help="critical, high, normal or low; default: low, with --queue normal.")
    ] = None,
    at: AtOption = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="Request them from the queue, which the DAG adwarm_request_queue drains.")
    ] = False,
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Request what failed in the last 24 hours again, naming no reports."),
    ] = False,
    why: Annotated[str, typer.Option("--why", help="With --failed: why; kept with the action.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Fetch reports now, within the shared limits. Fresh reports are skipped, async reports are waited for.

    Exits with 1 when one of the reports could not be fetched. With --queue or --failed, reports are requested instead,
    and a worker fetches them by priority; `adwarm status ID` follows one.
    """
    from adwarm.foundation.errors import BadRequest
    from adwarm.model import Priority
    from adwarm.runtime import Runtime

    if failed:
        if accounts or date_ranges or queue:
            raise BadRequest("--failed finds the reports itself; leave out the accounts, --range and --queue")
        retry_failed(why, as_json=as_json)
        return
    if why:
        raise BadRequest("--why goes with --failed")
    runtime = Runtime(clock=clock_at(at))
    keys = _parse_keys(runtime, accounts or (), split_commas(date_ranges), report)
    chosen = parse_option(Priority.parse, priority or ("normal" if queue else "low"))
    if queue:
        if at:
            raise BadRequest("--at goes with a fetch now; leave it out, or leave out --queue")
        queue_reports(keys, chosen, as_json=as_json)
    else:
        _print_result(_fetch(runtime, keys, chosen), as_json=as_json)


def _parse_keys(
    runtime: "Runtime", accounts: "Sequence[str]", date_ranges: "Sequence[str]", report: str
) -> "list[ReportKey]":
    from adwarm.foundation.errors import BadRequest
    from adwarm.model import ReportKey
    from adwarm.store.accounts import find_id

    if not accounts:
        raise BadRequest("name an account, such as act_1234; or --failed")
    if not date_ranges:
        raise BadRequest("--range names no date range; write one such as yesterday")
    ids = [find_id(runtime.context, account) for account in accounts]
    return list(dict.fromkeys(ReportKey.parse(account, name, report) for account in ids for name in date_ranges))


def _print_result(result: "BatchResult", *, as_json: bool) -> None:
    """Print what was fetched; exits with 1 unless every report is served."""
    from adwarm.prefetch.outcome_texts import describe_result, describe_stored_days

    calls = _calls_by_account(result.outcomes)
    if as_json:
        print_json({**result.summary(), "outcomes": [_outcome_fields(outcome) for outcome in result.outcomes]})
    else:
        print_table(
            describe_result(result),
            ("key", "status", "rows", "requests", "bytes", "expires", "reason"),
            [
                (
                    str(x.request.key),
                    x.status.value,
                    x.rows,
                    x.calls,
                    x.stored_bytes,
                    x.expires_at,
                    x.reason or describe_stored_days(x, calls[x.request.key.account_id]),
                )
                for x in result.outcomes
            ],
        )
    if not all(outcome.status.is_served for outcome in result.outcomes):
        raise typer.Exit(1)


def _fetch(runtime: "Runtime", keys: "Sequence[ReportKey]", priority: "Priority") -> "BatchResult":
    """Fetch the reports, and record that somebody asked for it."""
    from adwarm.actions.audit import audited
    from adwarm.actions.warm_now import describe_keys, name_accounts
    from adwarm.foundation.clock import SystemClock
    from adwarm.prefetch import KeyRequest
    from adwarm.prefetch.outcome_texts import describe_result
    from adwarm.prefetch.progress_log import ProgressLog

    requests = [KeyRequest(key) for key in keys]
    services = replace(runtime.action_services, clock=SystemClock())  # `--at` is not when it was done
    arguments = {"reports": [str(key) for key in keys], "priority": priority.name.lower()}
    with (
        audited(services, get_doer(), "warm_now", describe_keys(keys), arguments) as action,
        ProgressLog(len(requests), write_to_stderr, is_listing=False) as progress,
    ):
        name_accounts(services, keys)
        engine = runtime.prefetch_engine()
        result = engine.run(
            requests,
            priority,
            report_seconds=runtime.settings.account_seconds,
            progress=progress.add,
            heartbeat=progress.tick,
        )
        action.detail = describe_result(result)
    return result


def _calls_by_account(outcomes: "Sequence[KeyOutcome]") -> Counter[str]:
    calls: Counter[str] = Counter()
    for outcome in outcomes:
        calls[outcome.request.key.account_id] += outcome.calls
    return calls


def _outcome_fields(outcome: "KeyOutcome") -> dict[str, Any]:
    return {
        "account_id": outcome.request.key.account_id,
        "date_range": outcome.request.key.date_range,
        "status": outcome.status.value,
        "requests": outcome.calls,
        "rows": outcome.rows,
        "seconds": outcome.seconds,
        "fetched_at": outcome.fetched_at,
        "expires_at": outcome.expires_at,
        "raw_bytes": outcome.raw_bytes,
        "stored_bytes": outcome.stored_bytes,
        "reason": outcome.reason,
        "retry_after": outcome.retry_after,
    }
