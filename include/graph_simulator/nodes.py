"""Responses about accounts and the objects in them: the fields of one node, and lists of nodes by pages."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from operator import lt
from typing import Any

from graph_simulator.account_edges import FIELDS, edge_fields, find_item, list_items
from graph_simulator.ad_objects import EDGES, Node, list_objects, object_fields, requested_fields
from graph_simulator.ads import Metric
from graph_simulator.calls import Call
from graph_simulator.creatives import split_creative
from graph_simulator.dataset import Dataset
from graph_simulator.date_ranges import DateRange, local_time
from graph_simulator.error_responses import bad_parameter
from graph_simulator.filters import TextTest, filter_parts, text_test
from graph_simulator.levels import ACTIVE, ENDED, FOUNDED, object_name
from graph_simulator.page_cursors import paging, requested_page
from graph_simulator.parameters import json_value, string_list

_TOTAL_COUNT = frozenset({"true", "1", "total_count", '["total_count"]'})


def me_body(call: Call) -> dict[str, Any]:
    """Return the user of the token, or its business users: none.

    Raises:
        GraphError: there is no such field.
    """
    if len(call.parts) > 1:
        return {"data": []}
    values, names = (
        {"id": "900000000000001", "name": "Simulated user"},
        string_list(call.params.get("fields", "id,name")),
    )
    unknown = [name for name in names if name not in values]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type (User)")
    return _shown(values, [*names, "id"])


def items_body(dataset: Dataset, call: Call, account: str, now: datetime, *, empty_between: bool) -> dict[str, Any]:
    """Return an item that is no ad object, when the path ends with its id, else one page of those at an edge.

    Raises:
        GraphError: there is no such field.
    """
    today, names = dataset.today(account, now), string_list(call.params.get("fields", "id"))
    item = find_item(dataset, call.parts[0], today)
    if item is not None:
        return _shown(item[2], edge_fields(item[1], names))
    edge = call.parts[1]
    fields = edge_fields(edge, [] if "fields" not in call.params else names)
    body = _paged(call, list_items(dataset, account, edge, today, call.params), empty_between=empty_between)
    return body | {"data": [_shown(item, fields or tuple(item)) for item in body["data"]]}


def account_body(dataset: Dataset, account: str, fields: str, now: datetime) -> dict[str, Any]:
    """Return the requested fields of an account, and its id.

    Raises:
        GraphError: there is no such field.
    """
    number, names = account.removeprefix("act_"), string_list(fields)
    offset = local_time(now, dataset.zone_of(account)).utcoffset() or timedelta()
    values: dict[str, Any] = {
        "id": account,
        "account_id": number,
        "name": f"Simulated account {number}",
        "account_status": 1,
        "currency": "USD",
        "timezone_name": dataset.zone_of(account),
        "created_time": "2020-01-01T00:00:00+0000",
        "disable_reason": 0,
        "is_personal": 0,
        "timezone_id": 1,
        "timezone_offset_hours_utc": offset / timedelta(hours=1),
        "amount_spent": str(_spent_cents(dataset, account, now)) if "amount_spent" in names else "0",
        "balance": "0",
        "spend_cap": "0",
        "min_daily_budget": 100,
        "owner": "900000000000001",
        "age": float((now.date() - FOUNDED).days),
        "capabilities": [],
    }
    unknown = [name for name in names if name not in FIELDS["account"]]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type (AdAccount)")
    return _shown(values, [*names, "id"])


def _spent_cents(dataset: Dataset, account: str, now: datetime) -> int:
    """Return what the account spent in the last 400 days, which stand for its life."""
    today = dataset.today(account, now)
    totals = dataset.ad_totals(account, [DateRange(today - timedelta(days=400), today)], now)
    return int(totals.totals[Metric.SPEND_CENTS].sum())


def accounts_body(dataset: Dataset, call: Call, now: datetime, *, empty_between: bool) -> dict[str, Any]:
    """Return one page of the accounts that the token of the call can read."""
    fields = call.params.get("fields", "id,account_id")
    readable = [account for account in dataset.account_ids() if dataset.config.may_read(call.token, account)]
    body = _paged(call, readable, empty_between=empty_between)
    return body | {"data": [account_body(dataset, account, fields, now) for account in body["data"]]}


def objects_body(
    dataset: Dataset, call: Call, account: str, node: Node | None, now: datetime, *, empty_between: bool
) -> dict[str, Any]:
    """Return the object itself when the path ends with it, else one page of the objects at the edge that it names.

    Only active objects are listed, unless `effective_status` or `filtering` says otherwise.

    Raises:
        GraphError: there is no such field or filter.
    """
    text, nested = split_creative(call.params.get("fields", "id"))
    today, names = dataset.today(account, now), string_list(text)

    def show(values: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
        shown = _shown(values, fields)
        if nested is not None and "creative" in shown:
            shown["creative"] = nested.fill(shown["creative"]["id"], call.url, now)
        return shown

    if node is not None and len(call.parts) == 1:
        return show(object_fields(dataset, node, today), requested_fields(node.level, names))
    level = EDGES[call.parts[1]]
    fields, is_listed = requested_fields(level, names), _object_filter(call.params, level)
    objects = [item for item in list_objects(dataset, account, node, level, today) if is_listed(item)]
    body = _paged(call, objects, empty_between=empty_between)
    return body | {
        "data": [
            show(_values_of(dataset, Node(account, level, it["id"]), it, fields, today), fields) for it in body["data"]
        ]
    }


def _values_of(
    dataset: Dataset, node: Node, listed: Mapping[str, Any], fields: Sequence[str], today: date
) -> Mapping[str, Any]:
    # The full set of fields is computed only when the listed ones do not suffice: lists have thousands of objects.
    return listed if set(fields) <= set(listed) else object_fields(dataset, node, today)


def _shown(values: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return the values of the fields; a field without a value is left out, as on the platform."""
    return {name: values[name] for name in dict.fromkeys(fields) if name in values}


def _object_filter(params: Mapping[str, str], level: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return the predicate of `effective_status` and `filtering` on listed objects.

    Raises:
        GraphError: there is no such filter.
    """
    statuses = string_list(params["effective_status"], "effective_status") if "effective_status" in params else [ACTIVE]
    tests: list[tuple[str, TextTest]] = []
    entries = json_value("filtering", params.get("filtering", "[]"))
    for entry in entries if isinstance(entries, list) else [None]:
        name, operator, value = filter_parts(entry)
        values = [str(item) for item in value] if isinstance(value, list) else [str(value)]
        match name.removeprefix(f"{level}."), operator:
            case "effective_status", "IN":
                statuses = values
            case "delivery_info", "IN":
                statuses = [status for status in (ACTIVE, ENDED) if status.lower() in values]
            case ("id" | "name") as own, _ if values:
                tests.append((own, text_test(operator, values)))
            case "updated_time", "GREATER_THAN":
                tests.append(("updated_time", partial(lt, _iso_time(value))))
            case _:
                raise bad_parameter(f"filtering does not take {name} {operator}")

    def is_listed(item: Mapping[str, Any]) -> bool:
        named = {**item, "name": _name_of(item, level)} if tests else item
        return named["effective_status"] in statuses and all(test(named[name]) for name, test in tests)

    return is_listed


def _name_of(item: Mapping[str, str], level: str) -> str:
    return object_name(level, int(item["id"][9:13]), int(item["id"][13:]))


def _iso_time(value: Any) -> str:
    return datetime.fromtimestamp(int(value), UTC).isoformat() if str(value).isdecimal() else str(value)


def _paged(call: Call, items: Sequence[Any], *, empty_between: bool) -> dict[str, Any]:
    page = requested_page(len(items), call.params, empty_between=empty_between)
    body: dict[str, Any] = {"data": list(items[page.start : page.stop])}
    if items:
        body["paging"] = paging(page, call.url, call.params)
    if "summary" in call.params:
        if call.params["summary"].lower() not in _TOTAL_COUNT:
            raise bad_parameter("summary must be true or total_count")
        body["summary"] = {"total_count": len(items)}
    return body
