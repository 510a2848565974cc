"""`adwarm enqueue`: adds a request to the queue."""

from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.options import (
    AccountArgument,
    DateRangeArgument,
    JsonOption,
    PriorityOption,
    ReportOption,
    get_doer,
    parse_option,
)
from adwarm.cli.output import print_json, print_table
from adwarm.cli.request import answer_fields, describe_answer, describe_request, request_fields

if TYPE_CHECKING:
    from adwarm.model import ReportKey
    from adwarm.runtime import Runtime
    from adwarm.store.requests import QueuedRequest

_POLL_SECONDS = 0.5


def enqueue(
    account: AccountArgument,
    date_range: DateRangeArgument,
    *,
    report: ReportOption = "default",
    priority: PriorityOption = "normal",
    wait: Annotated[
        float | None, typer.Option("--wait", help="Wait up to this many seconds; also the deadline of the request.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Queue a request for a report, or join an equal pending one. The DAG adwarm_request_queue processes it.

    A report that is fresh already is not queued. With `--wait`, exits with 1 unless the request completes in time.
    """
    from adwarm.actions.warm_now import warm_now
    from adwarm.model import Priority, ReportKey
    from adwarm.runtime import Runtime

    runtime = Runtime()
    key, priority_class = ReportKey.parse(account, date_range, report), parse_option(Priority.parse, priority)
    runtime.settings.spec(report)  # fails here for an unknown report, not later in a worker
    if _is_fresh(runtime, key):
        _print_fresh(runtime, key, as_json=as_json)
        return
    result, _ = warm_now(runtime.action_services, get_doer(), [key], priority_class, wait)
    if not result.tickets:  # another worker has fetched it in the meantime
        _print_fresh(runtime, key, as_json=as_json)
        return
    ticket = result.tickets[0]
    queued = _wait_for_request(runtime, ticket.id, wait or 0.0)
    details = {"status": "forgotten"} if queued is None else request_fields(runtime, queued)
    fields = {"id": ticket.id, "key": str(key), "joined": ticket.joined, **details}
    if as_json:
        print_json(fields)
    else:
        print_table(f"Request {ticket.id}", ("", ""), describe_request(fields).items())
        typer.echo(f"`adwarm request {ticket.id}` shows how it is going, and its result for seven days after its end.")
    if wait and fields["status"] != "completed":
        raise typer.Exit(1)


def _is_fresh(runtime: "Runtime", key: "ReportKey") -> bool:
    from adwarm.serving import ReadStatus

    return runtime.reader.read(key, record_traffic=False).status is ReadStatus.HIT


def _print_fresh(runtime: "Runtime", key: "ReportKey", *, as_json: bool) -> None:
    """Print that nothing was queued, and the completed request that fetched the report, if there was one."""
    done = runtime.queue.find_newest_completed(key)
    answer = answer_fields(runtime, key)
    if as_json:
        print_json({"id": done and done.id, "key": str(key), "joined": False, "status": "fresh", "answer": answer})
        return
    by = f"; request {done.id} fetched it" if done else ""
    typer.echo(f"{key} is fresh already, so nothing was queued{by}: {describe_answer(answer)}")


def _wait_for_request(runtime: "Runtime", request_id: int, seconds: float) -> "QueuedRequest | None":
    """Return the request once it is final, or its state after `seconds`; None when its row is gone."""
    waited = 0.0
    while True:
        request = runtime.queue.find(request_id)
        if request is None or request.status.is_final or waited >= seconds:
            return request
        pause = min(_POLL_SECONDS, seconds - waited)
        runtime.clock.sleep(pause)
        waited += pause
