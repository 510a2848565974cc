"""Accounts as nodes of the graph: their facts one by one, and listed by pages."""

from typing import Any

from adwarm.simulator.call import Call
from adwarm.simulator.errors import bad_parameter
from adwarm.simulator.paging import page_of, paging
from adwarm.simulator.query import page_limit, word_list
from adwarm.simulator.world import World

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
    """Return one page of the accounts there are."""
    accounts = world.account_ids()
    page = page_of(len(accounts), page_limit(call.params), call.params.get("after"), empty_between=empty_between)
    fields = call.params.get("fields", "id,account_id")
    data = [account_body(world, account, fields) for account in accounts[page.start : page.stop]]
    return {"data": data, "paging": paging(page, call.url, call.params)} if accounts else {"data": []}
