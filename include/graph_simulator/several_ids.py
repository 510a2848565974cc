"""One question about several ids (`ids=`): an answer by id, or the first refusal for all of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from graph_simulator.call import Bill, Call, Reply
from graph_simulator.errors import GraphError, bad_parameter
from graph_simulator.faults.schedule import Fired
from graph_simulator.parameter_values import word_list

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
