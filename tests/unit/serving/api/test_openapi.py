"""The API answers as its OpenAPI document says, whatever it is asked."""

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks

from adwarm.model import ReportKey, TokenScope
from adwarm.serving.api.app import describe_api
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.serving.api.conftest import Api

SCHEMA = schemathesis.openapi.from_dict(describe_api())
OPERATIONS = {item.ok().label: item.ok() for item in SCHEMA.get_all_operations()}
load_all_checks()
NAMES = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
]
"""Accounts and ranges have rules beyond their schema, so valid data may be refused; tests of their own prove access."""
STORED = Path(__file__).resolve().parents[4] / "docs/reference/openapi.json"


def _check(api: Api, label: str, examples: int) -> None:
    """Send generated requests for one operation, valid and malformed ones, and check each answer."""
    api.reading.warm(ReportKey("act_1", "last_7d"))
    headers = {"Authorization": api.token(TokenScope.ADMIN, rate_per_second=1e6)}
    operation = OPERATIONS[label]
    checks = CHECKS.get_by_names(NAMES)
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    cases = st.one_of(
        *(operation.as_strategy(generation_mode=mode) for mode in modes if _has_input(operation, mode)),
        operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE).map(_name_stored),
    )

    @settings(
        max_examples=examples,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        deadline=None,
        database=None,
    )
    @given(case=cases)
    def send(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
        if "data" in sent and isinstance(sent["data"], bytes | str):
            sent["content"] = sent.pop("data")
        sent.pop("cookies", None)
        answer = api.client.request(**sent)
        is_excused = answer.status_code in {413, 414} or _is_mistake_lost(case, answer.request.url.params)
        excused = {CHECKS.get_one("negative_data_rejection")} if is_excused else set()
        case.validate_response(answer, checks=[check for check in checks if check not in excused], headers=headers)

    send()


def _name_stored(case: Any) -> Any:
    """Return a case whose path names what is stored, which random text never does."""
    stored = {"account": "act_1", "range": "last_7d"}
    case.path_parameters = {name: stored.get(name, value) for name, value in (case.path_parameters or {}).items()}
    return case


def _is_mistake_lost(case: Any, sent: Any) -> bool:
    """Whether the unknown parameters of a malformed query have no value, and so are not in the request."""
    unknown = set(case.query or {}) - {parameter.name for parameter in case.operation.query}
    return bool(unknown) and not unknown & set(sent)


def _has_input(operation: Any, mode: Any) -> bool:
    """Whether there is anything to get wrong in a request."""
    parts = (operation.path_parameters, operation.headers, operation.query, operation.body)
    return mode is schemathesis.GenerationMode.POSITIVE or any(len(list(part)) for part in parts)


@SQLITE_ONLY
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_operations_conform(api: Api, label: str) -> None:
    """Generated requests, valid and malformed, never cause a 5xx, and each answer matches the document."""
    _check(api, label, 10)


@SQLITE_ONLY
@pytest.mark.slow
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_operations_conform_in_depth(api: Api, label: str) -> None:
    """The same with more requests."""
    _check(api, label, 40)


@SQLITE_ONLY
def test_the_stored_document_is_the_served_one(api: Api) -> None:
    """The document in the repository, from which client types are made, is what the API serves."""
    served = api.get("/v1/openapi.json", api.token()).json()
    assert served == json.loads(STORED.read_text(encoding="utf-8")) == describe_api()
