"""Accounts and what is in them as nodes of the graph: an account's facts, and nodes listed by pages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from adwarm.simulator.call import Call
from adwarm.simulator.errors import bad_parameter
from adwarm.simulator.objects import EDGES, Node, objects_below
from adwarm.simulator.paging import page_of, paging
from adwarm.simulator.query import ACTIVE, page_limit, word_list
from adwarm.simulator.world import World

_OBJECT_FIELDS = ("id", "effective_status")
_ACCOUNT_FIELDS = ("id", "account_id", "name", "account_status", "currency", "timezone_name")


def account_body(world: World, account: str, fields: str) -> dict[str, Any]:
    """Return the wanted facts about an account.

    Raises:
        GraphError: there is no such field.
    """
    number = account.removeprefix("act_")
    everything = {
        "id": account,
        "account_id": number,
        "name": f"Simulated account {number}",
        "account_status": 1,
        "currency": "USD",
        "timezone_name": world.zone_of(account),
    }
    wanted = word_list(fields)
    unknown = [name for name in wanted if name not in _ACCOUNT_FIELDS]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type (AdAccount)")
    return {name: everything[name] for name in dict.fromkeys([*wanted, "id"])}


def accounts_body(world: World, call: Call, *, empty_between: bool) -> dict[str, Any]:
    """Return one page of the accounts that the call's token reads."""
    fields = call.params.get("fields", "id,account_id")
    own = [account for account in world.account_ids() if world.config.may_read(call.token, account)]
    found = _paged(call, own, empty_between=empty_between)
    return found | {"data": [account_body(world, account, fields) for account in found["data"]]}


def objects_body(
    world: World, call: Call, account: str, node: Node | None, now: datetime, *, empty_between: bool
) -> Any:
    """Return one page of the objects below an account or an object; the active ones, unless told otherwise.

    Raises:
        GraphError: there is no such field.
    """
    wanted = word_list(call.params.get("fields", "id"))
    unknown = [name for name in wanted if name not in _OBJECT_FIELDS]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]})")
    standings = word_list(call.params.get("effective_status", ACTIVE))
    there = objects_below(world, account, node, EDGES[call.parts[1]], world.today(account, now))
    found = _paged(call, [item for item in there if item["effective_status"] in standings], empty_between=empty_between)
    return found | {"data": [{name: item[name] for name in {"id", *wanted}} for item in found["data"]]}


def _paged(call: Call, there: Sequence[Any], *, empty_between: bool) -> dict[str, Any]:
    page = page_of(len(there), page_limit(call.params), call.params.get("after"), empty_between=empty_between)
    data = list(there[page.start : page.stop])
    return {"data": data, "paging": paging(page, call.url, call.params)} if there else {"data": []}
