"""`adwarm db`: the database schema."""

from typing import Annotated

import typer

from adwarm.cli.terminal import JsonOption, print_fields, print_json, print_table
from adwarm.foundation.errors import BadRequest

app = typer.Typer(help="Create, upgrade and reset the database.", no_args_is_help=True)


@app.command("upgrade")
def upgrade_database(*, as_json: JsonOption = False) -> None:
    """Bring the database to the newest schema. Several processes may run this at the same time."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine, upgrade
    from adwarm.store.schema import get_current_revision

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    before = get_current_revision(engine)
    fields = {"dialect": engine.dialect.name, "before": before, "now": upgrade(engine)}
    print_fields("Database", fields, as_json=as_json)


@app.command("reset")
def reset_database(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete every table of this version with its rows, and create them anew.

    Tables of an earlier version or of others stay; they are named with their rows.
    """
    from adwarm.settings import load_settings
    from adwarm.store import open_engine
    from adwarm.store.schema import count_other_rows, get_current_revision, reset

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    if not yes:
        shown = engine.url.render_as_string(hide_password=True)
        raise BadRequest(f"this deletes everything adwarm stored in {shown}; repeat it with --yes to go on")
    before = get_current_revision(engine)
    fields = {"dialect": engine.dialect.name, "before": before, "now": reset(engine)}
    left = count_other_rows(engine)
    if as_json:
        print_json({**fields, "left": left})
        return
    print_fields("Database", fields)
    if left:
        print_table("Tables that are not of this version, and stay", ("table", "rows"), left.items())
