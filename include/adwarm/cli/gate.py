"""`adwarm gate`: what is not called now; opens gates before their time, and turns the switches."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import JsonOption, get_doer, parse_option, print_json, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

app = typer.Typer(
    help="What is not called now, until when and why: list it, open it before its time, turn the switches.",
    no_args_is_help=True,
)
_COLUMNS = ("scope", "rule", "state", "since", "until", "opened_by", "why")
_POSITIONS = {"on": True, "off": False}
WhyOption = Annotated[str, typer.Option("--why", help="Why; kept with the action.")]


@app.command("list")
def list_closed(*, as_json: JsonOption = False) -> None:
    """List what is not called now: until when, why, and what opens it; and the position of each switch."""
    from adwarm.actions.open_gates import find_human_cause, list_gates
    from adwarm.runtime import Runtime

    runtime = Runtime()
    gates, switches = list_gates(runtime.action_services), switch_fields(runtime.engine)
    if as_json:
        print_json({"gates": [gate.to_dict() for gate in gates], "switches": switches})
    else:
        print_gates([{**gate.to_dict(), "for a human": find_human_cause(gate) or None} for gate in gates])
        print_switches(switches)


@app.command("open")
def open_scopes(
    scopes: Annotated[list[str], typer.Argument(help="Such as account:act_1234 or source:meta, from the list.")],
    *,
    why: WhyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let scopes be called again before their time: end parks and isolations, lift denials, test behind open breakers.

    The platform asked for a park: calls before its end may make it longer.
    """
    from adwarm.actions.open_gates import list_gates, open_gates, parse_scope
    from adwarm.runtime import Runtime

    services = Runtime().action_services
    opened = []
    for scope in [parse_scope(services.context, name) for name in scopes]:
        gates = [gate.to_dict() for gate in list_gates(services, scope)]
        opened.append({"scope": scope, "ended": gates, "detail": open_gates(services, get_doer(), scope, why)})
        if not as_json:
            typer.echo(opened[-1]["detail"])
    if as_json:
        print_json(opened)


@app.command("switch")
def switch(
    name: Annotated[str, typer.Argument(help="calls, warming or shadow.")],
    position: Annotated[str, typer.Argument(help="on or off.")],
    *,
    why: WhyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Switch calls, warming or shadow mode on or off.

    While `calls` is off, no platform is called at all, within seconds and by every process. While `warming` is off, no
    planned warm is fetched; while `shadow` is on, plans are saved and not carried out; what readers request is fetched
    in both.
    """
    from adwarm.actions.open_gates import turn_switch
    from adwarm.runtime import Runtime
    from adwarm.store.switches import Switch

    runtime = Runtime()
    chosen = parse_option(Switch, name, "is not a switch; write calls, warming or shadow")
    if position not in _POSITIONS:
        raise BadRequest(f"say `adwarm gate switch {chosen} on` or `adwarm gate switch {chosen} off`")
    done = turn_switch(runtime.action_services, get_doer(), chosen, why, is_on=_POSITIONS[position])
    if as_json:
        print_json(switch_fields(runtime.engine))
    else:
        typer.echo(done)


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


def print_gates(gates: "Sequence[dict[str, Any]]", note: str = "") -> None:
    """Print what is not called now as a table."""
    columns = [*_COLUMNS, *(["for a human"] if any(gate.get("for a human") for gate in gates) else [])]
    print_table(
        f"Not called now{note}",
        [name.replace("_", " ") for name in columns],
        [[gate[name] for name in columns] for gate in gates],
        "nothing; every scope may be called",
    )
