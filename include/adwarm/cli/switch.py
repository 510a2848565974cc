"""`adwarm switch`: calls, warming and shadow mode, each on or off."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.options import JsonOption, get_doer, parse_option
from adwarm.cli.output import print_json, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from sqlalchemy import Engine

_POSITIONS = {"on": True, "off": False}


def switch(
    name: Annotated[str | None, typer.Argument(help="calls, warming or shadow; default: show all.")] = None,
    position: Annotated[str | None, typer.Argument(help="on or off.")] = None,
    *,
    why: Annotated[str, typer.Option("--why", help="Why; kept with the switch and with the action.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Switch calls, warming or shadow mode on or off, or show every switch.

    While `calls` is off, no platform is called at all, within seconds and by every process. While `warming` is off, no
    planned warm is fetched; while `shadow` is on, plans are saved and not carried out; what readers request is fetched
    in both.
    """
    from adwarm.actions.switching import turn_switch
    from adwarm.runtime import Runtime
    from adwarm.store.switches import Switch

    runtime = Runtime()
    if name is not None:
        chosen = parse_option(Switch, name, "is not a switch; write calls, warming or shadow")
        if position not in _POSITIONS:
            raise BadRequest(f"say `adwarm switch {chosen} on` or `adwarm switch {chosen} off`")
        done = turn_switch(runtime.action_services, get_doer(), chosen, why, is_on=_POSITIONS[position])
        typer.echo(done, err=True)
    fields = switch_fields(runtime.engine)
    if as_json:
        print_json(fields)
    else:
        print_switches(fields)


def switch_fields(engine: "Engine") -> dict[str, dict[str, Any]]:
    """Return every switch as JSON values, by name."""
    from adwarm.store.switches import list_switches

    return {
        str(name): {
            "is_on": state.is_on,
            "changed_at": state.changed_at,
            "changed_by": state.changed_by or None,
            "why": state.why or None,
        }
        for name, state in list_switches(engine).items()
    }


def print_switches(fields: dict[str, dict[str, Any]]) -> None:
    """Print the switches as a table."""
    rows = [
        (name, "on" if row["is_on"] else "off", row["changed_at"], row["changed_by"], row["why"])
        for name, row in fields.items()
    ]
    print_table("Switches", ("switch", "position", "since", "by", "why"), rows)
