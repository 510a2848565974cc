"""`adwarm enqueue`: adds a request to the queue."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.options import (
    AccountArgument,
    DateRangeArgument,
    JsonOption,
    PriorityOption,
    ReportOption,
    parse_option,
)
from adwarm.cli.output import print_fields

if TYPE_CHECKING:
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

    With `--wait`, exits with 1 unless the request completes in time.
    """
    from adwarm.model import Priority, ReportKey
    from adwarm.runtime import Runtime

    runtime = Runtime()
    key, priority_class = ReportKey.parse(account, date_range, report), parse_option(Priority.parse, priority)
    runtime.settings.spec(report)  # fails here for an unknown report, not later in a worker
    ticket = runtime.queue.enqueue(key, priority_class, wait_seconds=wait)
    request = _wait_for_request(runtime, ticket.id, wait or 0.0)
    fields = {"id": ticket.id, "key": str(key), "joined": ticket.joined, **_request_fields(request)}
    print_fields(f"Request {ticket.id}", fields, as_json=as_json)
    if wait and fields["status"] != "completed":
        raise typer.Exit(1)


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


def _request_fields(request: "QueuedRequest | None") -> dict[str, Any]:
    from adwarm.store.requests import to_datetime

    if request is None:
        return {"status": "forgotten"}
    return {
        "status": request.status.value,
        "priority": request.priority.name.lower(),
        "enqueued_at": to_datetime(request.enqueued_at),
        "deadline": to_datetime(request.deadline),
        "attempts": request.attempts,
        "error": request.error,
        "result": request.result,
    }
