"""The state of a queued request, and where its answer is, as the commands print it."""

from typing import TYPE_CHECKING, Any

from adwarm.cli.output import format_value

if TYPE_CHECKING:
    from adwarm.model import ReportKey
    from adwarm.runtime import Runtime
    from adwarm.store.requests import QueuedRequest


def request_fields(runtime: "Runtime", queued: "QueuedRequest") -> dict[str, Any]:
    """Return a request, its position and its answer as JSON values."""
    from adwarm.backpressure.request_queue import KEEP_ENDED
    from adwarm.store.requests import to_datetime

    finished = None if queued.finished_at is None else to_datetime(queued.finished_at)
    return {
        "id": queued.id,
        "key": str(queued.key),
        "status": queued.status.value,
        "priority": queued.priority.name.lower(),
        "enqueued_at": to_datetime(queued.enqueued_at),
        "deadline": to_datetime(queued.deadline),
        "attempts": queued.attempts,
        "error": queued.error,
        "error_kind": queued.error_kind,
        "result": queued.result,
        "finished_at": finished,
        "kept_until": finished and finished + KEEP_ENDED,
        **_queue_fields(runtime, queued),
        "answer": answer_fields(runtime, queued.key),
    }


def _queue_fields(runtime: "Runtime", queued: "QueuedRequest") -> dict[str, Any]:
    """Return position, pause and next run of a pending request; empty values for any other."""
    from adwarm.serving.queue_dag import next_run
    from adwarm.store.requests import RequestStatus, to_datetime

    if queued.status is not RequestStatus.PENDING:
        return {"position": None, "not_before": None, "next_run": None, "has_active_worker": None}
    return {
        "position": runtime.queue.find_position(queued.id),
        "not_before": None if queued.not_before is None else to_datetime(queued.not_before),
        "next_run": next_run(runtime.clock.now()),
        "has_active_worker": runtime.queue.status().has_active_worker,
    }


def answer_fields(runtime: "Runtime", key: "ReportKey") -> dict[str, Any]:
    """Return the command that reads the report, and the state of what is stored for it now."""
    from adwarm.foundation.errors import BadRequest

    command = f"adwarm get {key.account_id} {key.date_range}"
    command += "" if key.report == "default" else f" --report {key.report}"
    try:
        stored = runtime.reader.read(key, record_traffic=False)
    except BadRequest as error:  # the report was removed from the settings meanwhile
        return {"command": command, "status": "miss", "reason": str(error), "fetched_at": None, "fresh_until": None}
    entry = stored.entry
    return {
        "command": command,
        "status": stored.status.value,
        "reason": stored.reason,
        "fetched_at": entry and entry.fetched_at,
        "fresh_until": entry and entry.expires_at,
    }


def describe_request(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what to show of a request, in words; empty values are left out."""
    if "answer" not in fields:
        return fields
    result = fields["result"] or {}
    lines = {
        "report": fields["key"],
        "state": f"{fields['status']}, joined an equal request" if fields.get("joined") else fields["status"],
        "position": fields["position"],
        "taken": _pickup(fields),
        "class": fields["priority"],
        "enqueued": fields["enqueued_at"],
        "deadline": fields["deadline"] if fields["finished_at"] is None else None,
        "ended": fields["finished_at"],
        "tries": fields["attempts"] or None,
        "error": fields["error"],
        "result": ", ".join(
            f"{name} {format_value(result[name])}" for name in ("status", "requests") if name in result
        ),
        "answer": describe_answer(fields["answer"]),
        "kept until": fields["kept_until"],
    }
    return {name: value for name, value in lines.items() if value not in {None, ""}}


def _pickup(fields: dict[str, Any]) -> str | None:
    """Return when a pending request is taken."""
    if fields["status"] != "pending":
        return None
    if fields["has_active_worker"]:
        return "a worker is draining the queue now"
    wait = f"not before {fields['not_before']:%H:%M:%S} UTC; then " if fields["not_before"] else ""
    return (
        f"{wait}within seconds by the DAG adwarm_request_queue where a triggerer runs, else in its run at "
        f"{fields['next_run']:%H:%M} UTC"
    )


def describe_answer(answer: dict[str, Any]) -> str:
    """Return what is stored for a report, and the command that reads it."""
    if answer["status"] == "miss":
        return f"none yet: {answer['reason']}"
    until = answer["fresh_until"]
    fresh = "final" if until is None else f"fresh until {format_value(until)}"
    state = fresh if answer["status"] == "hit" else f"stale ({answer['reason']})"
    return f"`{answer['command']}` reads it; {state}"
