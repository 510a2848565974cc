"""What `adwarm status` shows of one id, of the requests, and of what people did."""

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from adwarm.cli.output import print_json, print_table
from adwarm.cli.request_fields import describe_request, request_fields
from adwarm.foundation.errors import NotFound

if TYPE_CHECKING:
    from adwarm.runtime import Runtime

_REQUEST_ID = re.compile(r"(?:request-)?(\d{1,18})", re.ASCII)
_REQUEST_COLUMNS = ("id", "report", "status", "class", "enqueued", "ended", "error")
_ACTION_COLUMNS = ("id", "at", "who", "via", "action", "what", "done", "detail")


def print_id(runtime: "Runtime", identifier: str, *, as_json: bool) -> None:
    """Follow an id from plan or request over errors and fetch to the stored entry and its reads.

    Of a request, its state, position, deadline and error come first, and where its answer is.

    Raises:
        BadRequest: it is no id.
        NotFound: nothing has it.
    """
    from adwarm.planning.trace import trace

    number = _REQUEST_ID.fullmatch(identifier)
    text = f"request-{number[1]}" if number else identifier
    fields: dict[str, Any] = {"id": text}
    if number:
        queued = runtime.queue.find(int(number[1]))
        if queued is None:
            raise NotFound(
                f"there is no request {number[1]}; `adwarm status --requests` lists the newest; each is kept a "
                "week after its end"
            )
        fields = request_fields(runtime, queued)
    steps = trace(runtime.context, text)
    if as_json:
        print_json({**fields, "steps": [asdict(step) for step in steps]})
        return
    if "answer" in fields:
        print_table(f"Request {fields['id']}", ("", ""), describe_request(fields).items())
    rows = [(step.at, step.step, step.id, step.detail) for step in steps]
    print_table(f"Trace of {text}", ("at", "step", "id", "detail"), rows)


def print_requests(runtime: "Runtime", limit: int, *, as_json: bool) -> None:
    """List the newest requests."""
    from adwarm.store.requests import to_datetime

    listed = runtime.queue.list_newest(limit)
    rows = [
        {
            "id": item.id,
            "key": str(item.key),
            "status": item.status.value,
            "priority": item.priority.name.lower(),
            "enqueued_at": to_datetime(item.enqueued_at),
            "finished_at": None if item.finished_at is None else to_datetime(item.finished_at),
            "error": item.error,
        }
        for item in listed
    ]
    if as_json:
        print_json(rows)
    else:
        print_table("Requests, the newest first", _REQUEST_COLUMNS, [tuple(row.values()) for row in rows], "none yet")


def print_actions(runtime: "Runtime", before: int | None, limit: int, *, as_json: bool) -> None:
    """List the actions of people on the page and the command line, newest first, failed ones included."""
    from adwarm.store.action_events import list_actions

    listed = list_actions(runtime.engine, before, limit)
    if as_json:
        print_json([asdict(item) for item in listed])
        return
    rows = [(x.id, x.at, x.actor, x.via, x.action, x.subject, "yes" if x.succeeded else "no", x.detail) for x in listed]
    print_table("Actions, the newest first", _ACTION_COLUMNS, rows, "none yet")
