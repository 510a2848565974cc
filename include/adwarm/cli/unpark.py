"""`adwarm unpark`: lets a scope be called again before its time."""

from dataclasses import asdict
from typing import Annotated

import typer

from adwarm.cli.options import JsonOption, get_doer
from adwarm.cli.output import print_json, print_table

_COLUMNS = ("scope", "kind", "since", "until", "why", "for a human")


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
    from adwarm.actions.unparking import list_blocks
    from adwarm.actions.unparking import unpark as end_blocks
    from adwarm.runtime import Runtime

    services = Runtime().action_services
    if scope is None:
        blocks = list_blocks(services)
        if as_json:
            print_json([asdict(block) for block in blocks])
            return
        rows = [(x.scope, x.kind, x.since, x.until, x.why, x.human_cause or None) for x in blocks]
        print_table("Held back", _COLUMNS, rows, "nothing; every scope may be called")
        return
    blocks = list_blocks(services, scope)
    done = end_blocks(services, get_doer(), scope, why)
    if as_json:
        print_json({"scope": scope, "ended": [asdict(block) for block in blocks], "detail": done})
    else:
        typer.echo(done)
