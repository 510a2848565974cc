"""Turns a switch: calls, warming or shadow mode, on or off."""

from adwarm.actions.audit import Doer, audited, require_reason
from adwarm.actions.services import ActionServices
from adwarm.store.action_events import clean_text
from adwarm.store.switches import Switch, SwitchState, set_switch

EFFECTS = {
    (Switch.CALLS, False): (
        "No platform is called by any process: not for plans, backfills, probes or accounts, and not for readers, "
        "whose requests wait in the queue. Calls that are under way end; stored reports are served as before."
    ),
    (Switch.CALLS, True): "Calls are made again within seconds: waiting requests first, plans at the next run.",
    (Switch.WARMING, False): (
        "No planned warm is fetched: plans are cut, running batches stop within seconds, strategies wait, backfills "
        "stop. What readers request is fetched as before, and stored reports are served as before."
    ),
    (
        Switch.WARMING,
        True,
    ): "The next run of each DAG plans and warms again, and so do strategies that were due meanwhile.",
    (Switch.SHADOW, True): (
        "Runs that start from now on store their plan and make no call. Batches that are running go on; switch warming "
        "off to stop them."
    ),
    (Switch.SHADOW, False): "Runs that start from now on carry out their plan, unless their parameters ask for shadow.",
}
"""What turning a switch to a position does."""


def turn_switch(services: ActionServices, doer: Doer, name: Switch, why: str, *, is_on: bool) -> str:
    """Turn a switch, and return what happened. Turning it to where it is changes nothing and says so.

    Raises:
        BadRequest: there is no reason.
    """
    position = "on" if is_on else "off"
    with audited(services, doer, f"switch_{name}", position, {"why": why}) as action:
        reason = require_reason(why)
        state = SwitchState(name, is_on, services.clock.now(), clean_text(doer.name, 250), reason)
        before = set_switch(services.context.engine, state)
        is_same = before.is_on is is_on and before.changed_at is not None
        verb = "are" if name is Switch.CALLS else "is"
        action.detail = f"nothing changed: {before}" if is_same else f"{name} {verb} switched {position}: {reason}"
    return action.detail
