"""Batches: up to 50 calls in one request, each answered, counted and limited by itself, in order.

A call that has a `name` may be referred to by later ones; its own answer is then null unless it asks for it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import orjson

from graph_simulator.calls import Bill, Call, Reply
from graph_simulator.fault_schedule import Fired
from graph_simulator.graph_errors import GraphError, bad_parameter
from graph_simulator.parameters import folded, is_true, json_value, word_list

MAX_ENTRIES = 50
_VERSION = re.compile(r"v[0-9]+\.[0-9]+")
_SHARED = ("access_token", "appsecret_proof")
_KEYS = frozenset({"method", "relative_url", "body", "name", "omit_response_on_success"})


def batch_body(call: Call, reply: Callable[[Call], Reply], refused: Mapping[str, str]) -> list[dict[str, Any] | None]:
    """Return the answers in the order of the entries; None for an entry that timed out, whatever it did by then.

    An entry that is refused without being made has the headers `refused`.

    Raises:
        GraphError: the batch as a whole is not one.
    """
    entries = _entries(call.params["batch"])
    with_headers = is_true("include_headers", call.params.get("include_headers", "true"))
    needed = {name for item in entries for text in _texts(item) for name in references(text)}
    answers: dict[str, Any] = {}
    found: list[dict[str, Any] | None] = []
    for item in entries:
        name = str(item.get("name", "")) if isinstance(item, dict) else ""
        answered = _reply(item, call, answers, reply, refused)
        if name and answered.status < 400 and answered.wire is None:
            answers[name] = orjson.loads(answered.body)
        silent = name in needed and name in answers and item.get("omit_response_on_success", True)
        found.append(None if silent else _answer(answered, with_headers=with_headers))
    return found


def _reply(
    item: Any, outer: Call, answers: Mapping[str, Any], reply: Callable[[Call], Reply], refused: Mapping[str, str]
) -> Reply:
    """Return the answer to one entry; one whose reference leads nowhere is not made, and is refused by itself."""
    try:
        filled = {**item, **{name: filled_in(text, answers) for name, text in _named_texts(item)}}
        return reply(_entry(filled, outer))
    except GraphError as error:
        return Reply(error.status, refused, orjson.dumps(error.body(0)))


def _texts(item: Any) -> list[str]:
    return [text for _, text in _named_texts(item)]


def _named_texts(item: Any) -> list[tuple[str, str]]:
    if not isinstance(item, dict) or not isinstance(item.get("relative_url"), str):
        raise bad_parameter("each request of a batch needs method and relative_url")
    return [(name, item[name]) for name in ("relative_url", "body") if isinstance(item.get(name), str)]


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


def _entry(item: Any, outer: Call) -> Call:
    strange = sorted(set(item) - _KEYS)
    if strange:
        raise bad_parameter(f'Invalid keys "{", ".join(strange)}" were found in param "batch".')
    path, _, query = item["relative_url"].partition("?")
    parts = [part for part in path.split("/") if part]
    version = parts.pop(0) if parts and _VERSION.fullmatch(parts[0]) else outer.version
    shared = {name: outer.params[name] for name in _SHARED if name in outer.params}
    body = item.get("body")
    given = folded([*parse_qsl(query), *parse_qsl(body if isinstance(body, str) else "")])
    root = outer.url.partition(f"/{outer.version}")[0].rstrip("/")
    return Call(
        version=version,
        parts=tuple(parts),
        params=shared | given,
        url="/".join([root, version, *parts]),
        bearer=None if "access_token" in given else outer.bearer,
        method=str(item.get("method", "GET")).upper(),
        batched=True,
    )


def _answer(found: Reply, *, with_headers: bool) -> dict[str, Any] | None:
    if found.wire is not None:
        return None
    answer: dict[str, Any] = {"code": found.status, "body": found.body.decode()}
    if with_headers:
        answer["headers"] = [{"name": name, "value": value} for name, value in found.headers.items()]
    return answer


_REFERENCE = re.compile(r"\{result=([A-Za-z0-9_-]+):\$((?:\.[A-Za-z0-9_*-]+|\[(?:\d+|\*)\])+)\}")
_STEP = re.compile(r"\.([A-Za-z0-9_*-]+)|\[(\d+|\*)\]")


def references(text: str) -> set[str]:
    """Return the names of the calls that `text` refers to."""
    return {found[1] for found in _REFERENCE.finditer(text)}


def filled_in(text: str, answers: Mapping[str, Any]) -> str:
    """Return `text` with every reference replaced by the values it leads to, joined by commas.

    Raises:
        GraphError: it leads nowhere.
    """
    return _REFERENCE.sub(lambda found: _values(found[1], found[2], answers), text)


def _values(name: str, path: str, answers: Mapping[str, Any]) -> str:
    there = [answers[name]] if name in answers else []
    for step in _STEP.finditer(path):
        there = [value for item in there for value in _below(item, step[1] or step[2])]
    if not there:
        raise bad_parameter(f"Failed to resolve the reference to {name}{path}")
    return ",".join(str(value) for value in there)


def _below(item: Any, step: str) -> list[Any]:
    if step == "*":
        return list(item.values()) if isinstance(item, dict) else list(item) if isinstance(item, list) else []
    if isinstance(item, list):
        return [item[int(step)]] if step.isdecimal() and int(step) < len(item) else []
    return [item[step]] if isinstance(item, dict) and step in item else []


MAX_IDS = 50


def several_body(call: Call, reply: Callable[[Call], Reply]) -> dict[str, Any]:
    """Return the answers by id; each id is a call of its own, as in a batch.

    Raises:
        GraphError: there is no id or too many, or one of them is refused.
    """
    ids = list(dict.fromkeys(word_list(call.params["ids"], "ids")))
    if not ids:
        raise GraphError("Cannot specify an empty identifier", code=2500)
    if len(ids) > MAX_IDS:
        raise bad_parameter(f"Too many IDs. Maximum: {MAX_IDS}. Provided: {len(ids)}.")
    return {name: _body_of(reply(_about(call, name))) for name in ids}


def _about(call: Call, name: str) -> Call:
    root = call.url.rstrip("/").removesuffix("/".join(("", *call.parts))) if call.parts else call.url.rstrip("/")
    parts = (name, *call.parts)
    params = {key: value for key, value in call.params.items() if key != "ids"}
    return replace(
        call, parts=parts, params=params, url="/".join([root, *parts]), batched=True, fired=Fired(), bill=Bill()
    )


def _body_of(found: Reply) -> Any:
    """Return an answer's body.

    Raises:
        GraphError: it is a refusal, or something befell it on its way.
    """
    try:
        body = None if found.wire is not None else orjson.loads(found.body)
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
        status=found.status,
        kind=error["type"],
        transient=error.get("is_transient"),
    )
