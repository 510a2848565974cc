"""Error faults have the platform's shape."""

import json
from typing import Any

import pytest

from graph_simulator.fault_kinds import ACCESS_FAULTS, SERVING_FAULTS, FaultKind
from tests.unit.graph_simulator.conftest import drive

SHAPES: list[tuple[FaultKind, int, dict[str, Any]]] = [
    (FaultKind.DENIED, 403, {"code": 200}),
    (FaultKind.DENIED_10, 403, {"code": 10}),
    (FaultKind.DENIED_100, 400, {"code": 100, "message": "(#100) Missing permissions"}),
    (FaultKind.DENIED_100_33, 400, {"code": 100, "error_subcode": 33, "type": "GraphMethodException"}),
    (FaultKind.DENIED_275, 400, {"code": 275}),
    (FaultKind.NO_CAPABILITY, 400, {"code": 3}),
    (FaultKind.TOKEN_DEAD, 400, {"code": 190, "error_subcode": 463}),
    (FaultKind.TOKEN_104, 400, {"code": 104}),
    (FaultKind.TOKEN_2500, 400, {"code": 2500}),
    (FaultKind.LOAD_SHEDDING, 400, {"code": 4, "error_subcode": 1504022, "is_transient": True}),
    (FaultKind.TRANSIENT_1, 500, {"code": 1}),
    (FaultKind.TRANSIENT_2, 500, {"code": 2, "is_transient": True}),
    (FaultKind.FINAL_1, 500, {"code": 1, "error_subcode": 2853001, "is_transient": False}),
    (FaultKind.ERROR_IN_200, 200, {"code": 2, "is_transient": True}),
    (FaultKind.FLAKY_100, 400, {"code": 100}),
    (FaultKind.TOO_MANY_429, 429, {"code": 613}),
]


def test_the_shape_of_an_error(subtests: pytest.Subtests) -> None:
    """Status, code, subcode and `is_transient` are the platform's; each error has a message, a type and a trace id."""
    for kind, status, shape in SHAPES:
        with subtests.test(kind=kind, status=status, shape=shape):
            reply = drive({"fault": [{"kind": kind.value}]}).insights()
            error = json.loads(reply.body)["error"]
            assert reply.status == status
            assert {name: error[name] for name in shape} == shape
            assert error["message"]
            assert error["type"]
            assert error["fbtrace_id"]
            assert ("error_subcode" in error, "is_transient" in error) == (
                "error_subcode" in shape,
                "is_transient" in shape,
            )


def test_every_error_fault_is_covered() -> None:
    """The table above has every kind of fault that responds with an error."""
    assert {kind for kind, _, _ in SHAPES} == {*ACCESS_FAULTS, *SERVING_FAULTS}


def test_a_denied_account_looks_like_a_missing_one() -> None:
    """100/33 has the same text as for an unknown account; other accounts succeed."""
    driven = drive({"fault": [{"kind": "denied_100_33", "accounts": ["act_1"]}]}, accounts=("1", "2"))
    denied, missing = (json.loads(driven.insights(name).body)["error"]["message"] for name in ("act_1", "act_3"))
    assert denied == missing.replace("act_3", "act_1")
    assert driven.insights("act_2").status == 200


def test_retry_after() -> None:
    """HTTP 429 has Retry-After in seconds; no other response has it."""
    driven = drive({"fault": [{"kind": "too_many_429", "seconds": 37, "calls": 1}]})
    assert driven.insights().headers["retry-after"] == "37"
    assert "retry-after" not in driven.insights().headers
