"""Batches: up to 50 calls in one request, each answered, counted and limited by itself."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from adwarm.simulator.call import Call, Reply
from adwarm.simulator.errors import GraphError, bad_parameter

MAX_ENTRIES = 50
_VERSION = re.compile(r"v[0-9]+\.[0-9]+")
_SHARED = ("access_token", "appsecret_proof")


def batch_body(call: Call, reply: Callable[[Call], Reply]) -> list[dict[str, Any] | None]:
    """Return the answers in the order of the entries; None for an entry that timed out, whatever it did by then.

    Raises:
        GraphError: the batch as a whole is not one.
    """
    calls = [_entry(item, call) for item in _entries(call.params["batch"])]
    with_headers = call.params.get("include_headers", "true").lower() != "false"
    return [_answer(reply(entry), with_headers=with_headers) for entry in calls]


def _entries(text: str) -> list[Any]:
    try:
        entries = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise bad_parameter("batch must be valid JSON") from None
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
    if not isinstance(item, dict) or not isinstance(item.get("relative_url"), str):
        raise bad_parameter("each request of a batch needs method and relative_url")
    path, _, query = item["relative_url"].partition("?")
    parts = [part for part in path.split("/") if part]
    version = parts.pop(0) if parts and _VERSION.fullmatch(parts[0]) else outer.version
    shared = {name: outer.params[name] for name in _SHARED if name in outer.params}
    body = item.get("body")
    given = dict(parse_qsl(query)) | dict(parse_qsl(body if isinstance(body, str) else ""))
    root = outer.url.partition(f"/{outer.version}")[0]
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
