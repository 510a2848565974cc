"""Commands of the request queue: enqueue, and the queue's part of status."""

from typing import Annotated, Any

import typer

from adwarm.cli.options import PriorityOption, ReportOption, parse_option
from adwarm.cli.output import JsonOption, print_fields, print_json, print_table

_POLL_SECONDS = 0.5


def enqueue(
    account: Annotated[str, typer.Argument(help="Account id, such as act_1234.")],
    date_range: Annotated[str, typer.Argument(help="A preset such as last_7d, or YYYY-MM-DD..YYYY-MM-DD.")],
    report: ReportOption = "default",
    priority: PriorityOption = "normal",
    wait: Annotated[
        float | None, typer.Option("--wait", help="Wait for the end this many seconds; it is the deadline too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Queue a request for a report, or join the equal one on its way. The DAG adwarm_request_queue carries it out."""
    from adwarm.model import Priority, ReportKey
    from adwarm.runtime import Runtime

    runtime = Runtime()
    key, urgency = ReportKey.parse(account, date_range, report), parse_option(Priority.parse, priority)
    runtime.settings.spec(report)  # a report that does not exist is refused here, not by a worker later
    ticket = runtime.queue.enqueue(key, urgency, wait_seconds=wait)
    found = _wait_for_request(runtime, ticket.id, wait or 0.0)
    document = {"id": ticket.id, "key": str(key), "joined": ticket.joined, **_request_fields(found)}
    if as_json:
        print_json(document)
    else:
        print_fields(f"Request {ticket.id}", document)
    if wait and document["status"] != "completed":
        raise typer.Exit(1)


def print_queue(queue: dict[str, Any]) -> None:
    """Print the queue by class."""
    classes = {name: row for name, row in queue.items() if isinstance(row, dict)}
    columns = ("class", "pending", "processing", "oldest seconds")
    print_table(
        f"Queue: {queue['pending']} of {queue['size']} pending",
        columns,
        [(name, row["pending"], row["processing"], row["oldest_seconds"]) for name, row in classes.items()],
    )


def _wait_for_request(runtime: Any, request_id: int, seconds: float) -> Any:
    """Return the request once it has ended, or as it is when the time is up."""
    waited = 0.0
    while True:
        found = runtime.queue.find(request_id)
        if found is None or found.status.is_final or waited >= seconds:
            return found
        pause = min(_POLL_SECONDS, seconds - waited)
        runtime.clock.sleep(pause)
        waited += pause


def _request_fields(found: Any) -> dict[str, Any]:
    from adwarm.store.requests import to_datetime

    if found is None:
        return {"status": "forgotten"}
    return {
        "status": found.status.value,
        "priority": found.priority.name.lower(),
        "enqueued_at": to_datetime(found.enqueued_at),
        "deadline": to_datetime(found.deadline),
        "attempts": found.attempts,
        "error": found.error,
        "result": found.result,
    }
