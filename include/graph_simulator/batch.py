"""Batches: up to 50 calls in one request, each answered, counted and limited by itself, in order.

A call that has a `name` may be referred to by later ones; its own answer is then null unless it asks for it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from graph_simulator.call import Call, Reply
from graph_simulator.errors import GraphError, bad_parameter
from graph_simulator.parameter_values import folded, is_true, json_value
from graph_simulator.references import filled_in, references

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
