"""What `adwarm warm` does with the request queue: `--queue` adds reports to it, `--failed` those that failed."""

from typing import TYPE_CHECKING, Any

import typer

from adwarm.cli.terminal import format_value, get_doer, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adwarm.actions.warm_now import FailedReports, RequestResult
    from adwarm.model import Priority, ReportKey
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
    from adwarm.serving.drainers import next_run
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


def queue_reports(keys: "Sequence[ReportKey]", priority: "Priority", *, as_json: bool) -> None:
    """Queue a request for each report that is not fresh, or join an equal pending one.

    Raises:
        typer.Exit: with 1 when the queue had no room for one.
    """
    from adwarm.actions.warm_now import warm_now
    from adwarm.runtime import Runtime

    runtime = Runtime()
    for name in {key.report for key in keys}:
        runtime.settings.spec(name)  # fails here for an unknown report, not later in a worker
    fresh = [key for key in keys if _is_fresh(runtime, key)]
    stale = [key for key in keys if key not in fresh]
    left_out: list[ReportKey] = []
    rows = []
    if stale:
        result, _ = warm_now(runtime.action_services, get_doer(), stale, priority)
        fresh += result.fresh  # another worker has fetched them in the meantime
        left_out = result.left_out
        queued = [key for key in stale if key not in result.fresh and key not in left_out]
        for key, ticket in zip(queued, result.tickets, strict=True):
            request = runtime.queue.find(ticket.id)
            details = {"status": "forgotten"} if request is None else request_fields(runtime, request)
            rows.append({"id": ticket.id, "key": str(key), "joined": ticket.joined, **details})
    rows += [_fresh_fields(runtime, key) for key in fresh]
    if as_json:
        print_json({"requests": rows, "left_out": [str(key) for key in left_out]})
    else:
        for fields in rows:
            _print_request(fields)
        for key in left_out:
            typer.echo(f"{key} is left out: {result.why}", err=True)
    if left_out:
        raise typer.Exit(1)


def _print_request(fields: dict[str, Any]) -> None:
    """Print a request, or that a report is fresh and which completed request fetched it, if one did."""
    if fields["status"] == "fresh":
        by = f"; request {fields['id']} fetched it" if fields["id"] else ""
        typer.echo(f"{fields['key']} is fresh already, so nothing was queued{by}: {describe_answer(fields['answer'])}")
        return
    print_table(f"Request {fields['id']}", ("", ""), describe_request(fields).items())
    typer.echo(f"`adwarm status {fields['id']}` shows how it is going, and its result for seven days after its end.")


def _is_fresh(runtime: "Runtime", key: "ReportKey") -> bool:
    from adwarm.serving import ReadStatus

    return runtime.reader.read(key, record_traffic=False).status is ReadStatus.HIT


def _fresh_fields(runtime: "Runtime", key: "ReportKey") -> dict[str, Any]:
    """Return that a report is fresh, and the completed request that fetched it, if there was one."""
    done = runtime.queue.find_newest_completed(key)
    answer = answer_fields(runtime, key)
    return {"id": done and done.id, "key": str(key), "joined": False, "status": "fresh", "answer": answer}


def retry_failed(why: str, *, as_json: bool) -> None:
    """Request reports again whose newest request failed in the last 24 hours.

    What is fresh by now, and what was requested again since, is left out.
    """
    from adwarm.actions.warm_now import find_failed_requests, retry_reports
    from adwarm.runtime import Runtime

    services = Runtime().action_services
    failed = find_failed_requests(services)
    result = None
    if failed.keys:
        result, _ = retry_reports(services, get_doer(), failed.keys, why=why)
    if as_json:
        print_json(_fields(failed, result))
        return
    rows = [(count, reason) for reason, count in failed.count_reasons()]
    print_table(f"Failed: {len(failed.keys):,} reports", ("reports", "why"), rows, "nothing to request again")
    if failed.denied:
        typer.echo(
            f"{failed.denied:,} more are of accounts that deny access; `adwarm gate open account:ID` lifts that",
            err=True,
        )
    if result:
        typer.echo(str(result))


def _fields(failed: "FailedReports", result: "RequestResult | None") -> dict[str, Any]:
    reports = [{"key": str(item.key), "status": item.status, "reason": item.reason} for item in failed.failures]
    done = None
    if result is not None:
        done = {"requests": result.ids, "fresh": len(result.fresh), "left_out": len(result.left_out)}
    return {"failed": reports, "denied": failed.denied, "result": done}
