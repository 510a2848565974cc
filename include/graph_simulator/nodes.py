"""Accounts and what is in them as nodes of the graph: an account's facts, and nodes listed by pages."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from graph_simulator.call import Call
from graph_simulator.dataset import World
from graph_simulator.errors import bad_parameter
from graph_simulator.facts import fact_fields
from graph_simulator.filters import ACTIVE, filter_parts
from graph_simulator.objects import EDGES, Node, object_facts, objects_below
from graph_simulator.paging import asked_page, paging
from graph_simulator.parameter_values import json_value, word_list

_ACCOUNT_FIELDS = frozenset({
    "id",
    "account_id",
    "name",
    "account_status",
    "currency",
    "timezone_name",
    "timezone_id",
    "timezone_offset_hours_utc",
    "created_time",
    "amount_spent",
    "balance",
    "spend_cap",
    "min_daily_budget",
    "disable_reason",
    "owner",
    "age",
    "business",
    "business_name",
    "business_country_code",
    "business_city",
    "business_street",
    "business_street2",
    "business_zip",
    "business_state",
    "capabilities",
    "end_advertiser",
    "end_advertiser_name",
    "extended_credit_invoice_group",
    "failed_delivery_checks",
    "fb_entity",
    "funding_source",
    "funding_source_details",
    "has_migrated_permissions",
    "io_number",
    "is_attribution_spec_system_default",
    "is_direct_deals_enabled",
    "is_in_3ds_authorization_enabled_market",
    "is_notifications_enabled",
    "is_personal",
    "is_prepay_account",
    "is_tax_id_required",
    "line_numbers",
    "media_agency",
    "min_campaign_group_spend_cap",
    "offsite_pixels_tos_accepted",
    "partner",
    "tax_id",
    "tax_id_status",
    "tax_id_type",
    "tos_accepted",
    "user_tasks",
    "user_tos_accepted",
})
_TOTAL = frozenset({"true", "1", "total_count", '["total_count"]'})


def account_body(world: World, account: str, fields: str) -> dict[str, Any]:
    """Return the wanted facts about an account.

    Raises:
        GraphError: there is no such field.
    """
    number = account.removeprefix("act_")
    everything: dict[str, Any] = {
        "id": account,
        "account_id": number,
        "name": f"Simulated account {number}",
        "account_status": 1,
        "currency": "USD",
        "timezone_name": world.zone_of(account),
        "created_time": "2020-01-01T00:00:00+0000",
        "disable_reason": 0,
        "is_personal": 0,
    }
    wanted = word_list(fields)
    unknown = [name for name in wanted if name not in _ACCOUNT_FIELDS]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type (AdAccount)")
    return _shown(everything, [*wanted, "id"])


def accounts_body(world: World, call: Call, *, empty_between: bool) -> dict[str, Any]:
    """Return one page of the accounts that the call's token reads."""
    fields = call.params.get("fields", "id,account_id")
    own = [account for account in world.account_ids() if world.config.may_read(call.token, account)]
    found = _paged(call, own, empty_between=empty_between)
    return found | {"data": [account_body(world, account, fields) for account in found["data"]]}


def objects_body(
    world: World, call: Call, account: str, node: Node | None, now: datetime, *, empty_between: bool
) -> Any:
    """Return one page of the objects below an account or an object, or the object itself when no edge is named.

    Only active ones are listed, unless the call says otherwise.

    Raises:
        GraphError: there is no such field or filter.
    """
    today, wanted = world.today(account, now), word_list(call.params.get("fields", "id"))
    if node is not None and len(call.parts) == 1:
        return _shown(object_facts(world, node, today), fact_fields(node.level, wanted))
    level = EDGES[call.parts[1]]
    fields, keeps = fact_fields(level, wanted), _kept(call.params, level)
    there = objects_below(world, account, node, level, today)
    found = _paged(call, [item for item in there if keeps(item)], empty_between=empty_between)
    return found | {"data": [_facts(world, account, level, item, fields, today) for item in found["data"]]}


def _facts(
    world: World, account: str, level: str, item: Mapping[str, Any], fields: Sequence[str], today: date
) -> dict[str, Any]:
    """Return the wanted facts about a listed object; everything about it is gathered only when that is needed."""
    known = item if set(fields) <= set(item) else object_facts(world, Node(account, level, item["id"]), today)
    return _shown(known, fields)


def _shown(facts: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return the wanted facts; what is not set is left out, as on the platform."""
    return {name: facts[name] for name in dict.fromkeys(fields) if name in facts}


def _kept(params: Mapping[str, str], level: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return what the call's standing and filters let through.

    Raises:
        GraphError: there is no such filter.
    """
    named = word_list(params["effective_status"], "effective_status") if "effective_status" in params else None
    standings, ids, since = named, None, ""
    entries = json_value("filtering", params.get("filtering", "[]"))
    for entry in entries if isinstance(entries, list) else [None]:
        name, operator, value = filter_parts(entry)
        match name.removeprefix(f"{level}."), operator:
            case "effective_status", "IN":
                standings = [str(word) for word in _values(value)]
            case "id", "IN":
                ids = {str(word) for word in _values(value)}
            case "updated_time", "GREATER_THAN":
                since = datetime.fromtimestamp(int(value), UTC).isoformat() if str(value).isdecimal() else str(value)
            case _:
                raise bad_parameter(f"filtering does not take {name} {operator}")
    active = standings if standings is not None else [ACTIVE]
    return lambda item: (
        item["effective_status"] in active and (ids is None or item["id"] in ids) and item["updated_time"] > since
    )


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _paged(call: Call, there: Sequence[Any], *, empty_between: bool) -> dict[str, Any]:
    page = asked_page(len(there), call.params, empty_between=empty_between)
    body: dict[str, Any] = {"data": list(there[page.start : page.stop])}
    if there:
        body["paging"] = paging(page, call.url, call.params)
    if "summary" in call.params:
        if call.params["summary"].lower() not in _TOTAL:
            raise bad_parameter("summary must be true or total_count")
        body["summary"] = {"total_count": len(there)}
    return body
