"""`adwarm actions`: what people did on the page and the command line."""

from dataclasses import asdict
from typing import Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json, print_table

app = typer.Typer(help="Show what people did.", no_args_is_help=True, rich_markup_mode=None)
_COLUMNS = ("id", "at", "who", "via", "action", "what", "done", "detail")


@app.callback()
def actions() -> None:
    """Show what people did."""


@app.command("list")
def list_recorded(
    *,
    before: Annotated[int | None, typer.Option("--before", help="Only actions before the one with this id.")] = None,
    limit: Annotated[int, typer.Option(help="Actions to show.", min=1, max=1000)] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the actions of people on the page and the command line, newest first, failed ones included."""
    from adwarm.runtime import Runtime
    from adwarm.store.action_events import list_actions

    listed = list_actions(Runtime().engine, before, limit)
    if as_json:
        print_json([asdict(item) for item in listed])
        return
    rows = [(x.id, x.at, x.actor, x.via, x.action, x.subject, "yes" if x.succeeded else "no", x.detail) for x in listed]
    print_table("Actions, the newest first", _COLUMNS, rows, "none yet")
