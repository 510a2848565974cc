"""Several calls in one request: batches, references between their entries, and one query for several `ids`.

Each entry of a batch, and each id, is a call of its own: served, counted and limited by itself, in order.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import orjson

from graph_simulator.calls import Call, CallWork, Reply
from graph_simulator.error_responses import GraphError, bad_parameter
from graph_simulator.fault_schedule import ActiveFaults
from graph_simulator.parameters import boolean, fold_parameters, json_value, string_list

MAX_ENTRIES = 50
MAX_IDS = 50
_VERSION = re.compile(r"v[0-9]+\.[0-9]+")
_INHERITED = ("access_token", "appsecret_proof")
_ENTRY_KEYS = frozenset({"method", "relative_url", "body", "name", "omit_response_on_success"})
_REFERENCE = re.compile(r"\{result=([A-Za-z0-9_-]+):\$((?:\.[A-Za-z0-9_*-]+|\[(?:\d+|\*)\])+)\}")
_STEP = re.compile(r"\.([A-Za-z0-9_*-]+)|\[(\d+|\*)\]")


def batch_body(
    call: Call, reply: Callable[[Call], Reply], error_headers: Mapping[str, str]
) -> list[dict[str, Any] | None]:
    """Return the responses in the order of the entries.

    A response is None for an entry that timed out, and for a named entry that a later one refers to, unless it asks for
    its response.

    Args:
        error_headers: the headers of an entry that is rejected before it is served.

    Raises:
        GraphError: the batch as a whole is not valid.
    """
    entries = _entries(call.params["batch"])
    with_headers = boolean("include_headers", call.params.get("include_headers", "true"))
    referenced = {name for entry in entries for _, text in _texts(entry) for name in references(text)}
    results: dict[str, Any] = {}
    responses: list[dict[str, Any] | None] = []
    for entry in entries:
        name = str(entry.get("name", "")) if isinstance(entry, dict) else ""
        served = _serve(entry, call, results, reply, error_headers)
        result = _result(served)
        if name and result is not None:
            results[name] = result
        omitted = name in referenced and name in results and entry.get("omit_response_on_success", True)
        responses.append(None if omitted else _response(served, with_headers=with_headers))
    return responses


def ids_body(call: Call, reply: Callable[[Call], Reply]) -> dict[str, Any]:
    """Return the bodies by id of a query with `ids`.

    Raises:
        GraphError: there is no id, there are too many, or the call about one of them fails.
    """
    ids = list(dict.fromkeys(string_list(call.params["ids"], "ids")))
    if not ids:
        raise GraphError("Cannot specify an empty identifier", code=2500)
    if len(ids) > MAX_IDS:
        raise bad_parameter(f"Too many IDs. Maximum: {MAX_IDS}. Provided: {len(ids)}.")
    return {name: _body_of(reply(_call_about(call, name))) for name in ids}


def references(text: str) -> set[str]:
    """Return the names of the entries that `text` refers to, as in `{result=name:$.data.*.id}`."""
    return {match[1] for match in _REFERENCE.finditer(text)}


def resolve_references(text: str, results: Mapping[str, Any]) -> str:
    """Return `text` with each reference replaced by the values it selects, joined by commas.

    Raises:
        GraphError: a reference selects nothing.
    """
    return _REFERENCE.sub(lambda match: _selected(match[1], match[2], results), text)


def _selected(name: str, path: str, results: Mapping[str, Any]) -> str:
    selected = [results[name]] if name in results else []
    for step in _STEP.finditer(path):
        selected = [value for item in selected for value in _children(item, step[1] or step[2])]
    if not selected:
        raise bad_parameter(f"Failed to resolve the reference to {name}{path}")
    return ",".join(str(value) for value in selected)


def _children(item: Any, step: str) -> list[Any]:
    if step == "*":
        return list(item.values()) if isinstance(item, dict) else list(item) if isinstance(item, list) else []
    if isinstance(item, list):
        return [item[int(step)]] if step.isdecimal() and int(step) < len(item) else []
    return [item[step]] if isinstance(item, dict) and step in item else []


def _entries(text: str) -> list[Any]:
    entries = json_value("batch", text)
    if not isinstance(entries, list) or not entries:
        raise bad_parameter("batch must be a list of requests")
    if len(entries) > MAX_ENTRIES:
        raise GraphError(
            f"Too many requests in batch message. Maximum batch size is {MAX_ENTRIES}",
            code=100,
            kind="GraphBatchException",
        )
    return entries


def _texts(entry: Any) -> list[tuple[str, str]]:
    """Return the parts of an entry that may contain references, with their keys."""
    if not isinstance(entry, dict) or not isinstance(entry.get("relative_url"), str):
        raise bad_parameter("each request of a batch needs method and relative_url")
    return [(key, entry[key]) for key in ("relative_url", "body") if isinstance(entry.get(key), str)]


def _serve(
    entry: Any,
    envelope: Call,
    results: Mapping[str, Any],
    reply: Callable[[Call], Reply],
    error_headers: Mapping[str, str],
) -> Reply:
    """Serve one entry. An entry that is not valid is rejected by itself, without being served."""
    try:
        resolved = {**entry, **{key: resolve_references(text, results) for key, text in _texts(entry)}}
        return reply(_call_of_entry(resolved, envelope))
    except GraphError as error:
        return Reply(error.status, error_headers, orjson.dumps(error.body(0)))


def _call_of_entry(entry: Any, envelope: Call) -> Call:
    extra = sorted(set(entry) - _ENTRY_KEYS)
    if extra:
        raise bad_parameter(f'Invalid keys "{", ".join(extra)}" were found in param "batch".')
    path, _, query = entry["relative_url"].partition("?")
    parts = [part for part in path.split("/") if part]
    version = parts.pop(0) if parts and _VERSION.fullmatch(parts[0]) else envelope.version
    inherited = {name: envelope.params[name] for name in _INHERITED if name in envelope.params}
    body = entry.get("body")
    own = fold_parameters([*parse_qsl(query), *parse_qsl(body if isinstance(body, str) else "")])
    root = envelope.url.partition(f"/{envelope.version}")[0].rstrip("/")
    return Call(
        version=version,
        parts=tuple(parts),
        params=inherited | own,
        url="/".join([root, version, *parts]),
        bearer=None if "access_token" in own else envelope.bearer,
        method=str(entry.get("method", "GET")).upper(),
        batched=True,
    )


def _result(served: Reply) -> Any:
    """Return what references to an entry can use; None if it failed, or a fault made its body unreadable."""
    if served.status >= 400 or served.wire is not None:
        return None
    try:
        return orjson.loads(served.body)
    except orjson.JSONDecodeError:
        return None


def _response(served: Reply, *, with_headers: bool) -> dict[str, Any] | None:
    if served.wire is not None:
        return None
    response: dict[str, Any] = {"code": served.status, "body": served.body.decode()}
    if with_headers:
        response["headers"] = [{"name": name, "value": value} for name, value in served.headers.items()]
    return response


def _call_about(call: Call, name: str) -> Call:
    root = call.url.rstrip("/").removesuffix("/".join(("", *call.parts))) if call.parts else call.url.rstrip("/")
    parts = (name, *call.parts)
    params = {key: value for key, value in call.params.items() if key != "ids"}
    url = "/".join([root, *parts])
    # The faults and the work are those of the envelope: the call about one id has its own.
    return replace(call, parts=parts, params=params, url=url, batched=True, faults=ActiveFaults(), work=CallWork())


def _body_of(served: Reply) -> Any:
    """Return the body of a response.

    Raises:
        GraphError: the response is an error, or a fault made it unreadable.
    """
    try:
        body = None if served.wire is not None else orjson.loads(served.body)
    except orjson.JSONDecodeError:
        body = None
    if body is None:
        raise GraphError("An unknown error occurred", code=1, status=500)
    if "error" not in body:
        return body
    error = body["error"]
    raise GraphError(
        error["message"],
        code=error["code"],
        subcode=error.get("error_subcode"),
        status=served.status,
        kind=error["type"],
        transient=error.get("is_transient"),
    )
