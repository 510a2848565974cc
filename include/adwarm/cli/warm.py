"""`adwarm warm`: fetches reports now."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.options import AtOption, JsonOption, PriorityOption, ReportOption, clock_at, parse_option
from adwarm.cli.output import print_json, print_table

if TYPE_CHECKING:
    from adwarm.prefetch import KeyOutcome


def warm(
    accounts: Annotated[list[str], typer.Argument(help="Account ids, such as act_1234.")],
    *,
    date_ranges: Annotated[list[str], typer.Option("--range", help="A date range; may be given more than once.")],
    report: ReportOption = "default",
    priority: PriorityOption = "low",
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch reports now, within the shared limits. Fresh reports are skipped.

    Exits with 1 when one of the reports could not be fetched.
    """
    from adwarm.model import Priority, ReportKey
    from adwarm.prefetch import KeyRequest
    from adwarm.runtime import Runtime

    keys = [ReportKey.parse(account, name, report) for account in accounts for name in date_ranges]
    priority_class = parse_option(Priority.parse, priority)
    result = Runtime(clock=clock_at(at)).prefetch_engine().run([KeyRequest(key) for key in keys], priority_class)
    if as_json:
        print_json({**result.summary(), "outcomes": [_outcome_fields(outcome) for outcome in result.outcomes]})
    else:
        print_table(
            f"{len(result.outcomes)} keys, {result.calls} upstream requests",
            ("key", "status", "requests", "bytes", "expires", "reason"),
            [
                (str(x.request.key), x.status.value, x.calls, x.stored_bytes, x.expires_at, x.reason)
                for x in result.outcomes
            ],
        )
    if not all(outcome.status.is_served for outcome in result.outcomes):
        raise typer.Exit(1)


def _outcome_fields(outcome: "KeyOutcome") -> dict[str, Any]:
    return {
        "account_id": outcome.request.key.account_id,
        "date_range": outcome.request.key.date_range,
        "status": outcome.status.value,
        "requests": outcome.calls,
        "fetched_at": outcome.fetched_at,
        "expires_at": outcome.expires_at,
        "raw_bytes": outcome.raw_bytes,
        "stored_bytes": outcome.stored_bytes,
        "reason": outcome.reason,
        "retry_after": outcome.retry_after,
    }
