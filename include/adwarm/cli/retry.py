"""`adwarm retry`: requests again what failed."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.options import JsonOption, get_doer
from adwarm.cli.output import print_json, print_table

if TYPE_CHECKING:
    from adwarm.actions.retrying import FailedReports
    from adwarm.actions.warm_now import RequestResult


def retry(
    *,
    run: Annotated[str | None, typer.Option("--run", help="The failed warms of this run, by its id.")] = None,
    hours: Annotated[int, typer.Option("--hours", help="Requests that failed this recently.", min=1, max=168)] = 24,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be requested.")] = False,
    why: Annotated[str, typer.Option("--why", help="Why; kept with the action.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Request reports again whose last request failed, or, with --run, whose warm failed in a run.

    What is fresh by now, and what was requested again since, is left out.
    """
    from adwarm.actions.retrying import find_failed_requests, find_failed_warms, retry_reports
    from adwarm.runtime import Runtime

    services = Runtime().action_services
    failed = find_failed_warms(services, run) if run else find_failed_requests(services, timedelta(hours=hours))
    result = None
    if failed.keys and not dry_run:
        result, _ = retry_reports(services, get_doer(), failed.keys, run_id=run, why=why)
    if as_json:
        print_json(_fields(failed, result))
        return
    rows = [(count, reason) for reason, count in failed.count_reasons()]
    print_table(f"Failed: {len(failed.keys):,} reports", ("reports", "why"), rows, "nothing to request again")
    if failed.denied:
        typer.echo(f"{failed.denied:,} more are of accounts that deny access; `adwarm allow` lifts that", err=True)
    if result:
        typer.echo(str(result))


def _fields(failed: "FailedReports", result: "RequestResult | None") -> dict[str, Any]:
    reports = [{"key": str(item.key), "status": item.status, "reason": item.reason} for item in failed.failures]
    done = None
    if result is not None:
        done = {"requests": result.ids, "fresh": len(result.fresh), "left_out": len(result.left_out)}
    return {"failed": reports, "denied": failed.denied, "result": done}
