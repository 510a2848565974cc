"""`adwarm unpark`: lets a scope be called again before its time."""

from typing import Annotated

import typer

from adwarm.cli.options import JsonOption, get_doer
from adwarm.cli.output import print_json, print_table

_COLUMNS = ("scope", "account", "rule", "state", "since", "until", "lifted by", "why", "for a human")


def unpark(
    scope: Annotated[
        str | None, typer.Argument(help="Such as account:act_1234 or source:meta; default: list what is held back.")
    ] = None,
    *,
    why: Annotated[str, typer.Option("--why", help="Why; kept with the action.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Let a scope be called again before its time: end its park or isolation, and test what is behind an open breaker.

    The platform asked for a park: calls before its end may make it longer. Without SCOPE, lists what is held back,
    until when and why.
    """
    from adwarm.actions.unparking import find_human_cause, list_gates
    from adwarm.actions.unparking import unpark as open_gates
    from adwarm.runtime import Runtime

    services = Runtime().action_services
    if scope is None:
        gates = list_gates(services)
        if as_json:
            print_json([gate.to_dict() for gate in gates])
            return
        rows = [(*gate.to_dict().values(), find_human_cause(gate) or None) for gate in gates]
        print_table("Held back", _COLUMNS, rows, "nothing; every scope may be called")
        return
    gates = list_gates(services, scope)
    done = open_gates(services, get_doer(), scope, why)
    if as_json:
        print_json({"scope": scope, "ended": [gate.to_dict() for gate in gates], "detail": done})
    else:
        typer.echo(done)
