"""`adwarm warm`: fetches reports now."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.options import (
    AtOption,
    JsonOption,
    PriorityOption,
    ReportOption,
    clock_at,
    get_doer,
    parse_option,
    split_commas,
)
from adwarm.cli.output import print_json, print_table, write_to_stderr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adwarm.model import Priority, ReportKey
    from adwarm.prefetch import BatchResult, KeyOutcome
    from adwarm.runtime import Runtime


def warm(
    accounts: Annotated[list[str], typer.Argument(help="Account ids, such as act_1234.")],
    *,
    date_ranges: Annotated[
        list[str], typer.Option("--range", help="Date ranges, separated by commas; may be repeated.")
    ],
    report: ReportOption = "default",
    priority: PriorityOption = "low",
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch reports now, within the shared limits. Fresh reports are skipped.

    Exits with 1 when one of the reports could not be fetched.
    """
    from adwarm.foundation.errors import BadRequest
    from adwarm.model import Priority, ReportKey
    from adwarm.prefetch.outcome_text import describe_result, describe_stored_days
    from adwarm.runtime import Runtime

    names = split_commas(date_ranges)
    if not names:
        raise BadRequest("--range names no date range; write one such as yesterday")
    keys = [ReportKey.parse(account, name, report) for account in accounts for name in names]
    priority_class = parse_option(Priority.parse, priority)
    result = _fetch(Runtime(clock=clock_at(at)), keys, priority_class)
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
    from adwarm.prefetch.outcome_text import describe_result
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
        result = engine.run(requests, priority, progress=progress.add, heartbeat=progress.tick)
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
