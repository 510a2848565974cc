"""One question about several ids has an answer by id, or one refusal for all."""

import json
from typing import Any

from tests.unit.graph_simulator.conftest import TIME_RANGE, error_codes, make_simulator

ASKED = {"level": "ad", "fields": "ad_id,spend", "time_range": TIME_RANGE}


def test_an_answer_by_id() -> None:
    """Each id has what it would have been answered alone, and `next` leads to its own next page."""
    driven = make_simulator()
    found = driven.get("insights", ids="act_1,act_2", limit=2, **ASKED)
    assert list(found) == ["act_1", "act_2"]
    for account, body in found.items():
        assert body == driven.get(f"{account}/insights", limit=2, **ASKED)
        assert body["paging"]["next"].startswith(f"http://host/v26.0/{account}/insights?")


def test_objects_and_edges_by_id() -> None:
    """Without an edge the objects themselves are answered; campaigns are one as well."""
    driven = make_simulator()
    assert driven.get("", ids='["act_1","act_2"]', fields="currency") == {
        "act_1": {"currency": "USD", "id": "act_1"},
        "act_2": {"currency": "USD", "id": "act_2"},
    }
    assert driven.get("campaigns", ids="act_1")["act_1"] == driven.get("act_1/campaigns")


def test_each_id_is_a_call() -> None:
    """Ids count against the limits one by one; the question itself does not."""
    driven = make_simulator(hourly_limit=2)
    driven.get("insights", ids="act_1,act_2", **ASKED)
    assert driven.platform.calls.counts()["accounts"] == {"act_1": 1, "act_2": 1}
    entries, _ = driven.platform.calls.entries()
    assert [(entry.route, entry.batched) for entry in entries] == [
        ("insights", True),
        ("insights", True),
        ("batch", False),
    ]


def test_one_refusal_refuses_all() -> None:
    """An id that is not there, a mistake in the question, and a fault on the way are the answer to the whole."""
    driven = make_simulator({"fault": [{"kind": "html_500", "accounts": ["act_9"]}]}, accounts=("1", "9"))
    assert error_codes(driven.call("insights", ids="act_1,act_5", **ASKED)) == (100, 33)
    assert error_codes(driven.call("insights", ids="act_1", fields="colour")) == (100, None)
    broken = driven.call("insights", ids="act_1,act_9", **ASKED)
    assert (broken.status, error_codes(broken)) == (500, (1, None))


def test_none_and_too_many() -> None:
    """No id is error 2500, more than fifty are error 100, and a path with an id takes no `ids`."""
    driven = make_simulator()
    assert error_codes(driven.call("insights", ids="[]")) == (2500, None)
    many: Any = json.loads(driven.call("", ids=",".join(f"act_{n}" for n in range(1, 52))).body)
    assert many["error"]["message"] == "(#100) Too many IDs. Maximum: 50. Provided: 51."
    assert error_codes(driven.call("act_1/insights", ids="act_2", **ASKED)) == (100, None)
