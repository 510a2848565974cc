"""`adwarm db`: the database schema."""

from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.terminal import JsonOption, print_fields, print_json, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Create, upgrade and reset the database.", no_args_is_help=True)


@app.command("upgrade")
def upgrade_database(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show the schema and what would run; change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Upgrade the database to the newest schema. Several processes may run this at the same time."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine, upgrade
    from adwarm.store.schema import get_current_revision

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    if plan:
        _print_plan(engine, as_json=as_json)
        return
    before = get_current_revision(engine)
    fields = {"dialect": engine.dialect.name, "before": before, "now": upgrade(engine)}
    print_fields("Database", fields, as_json=as_json)


def _print_plan(engine: "Engine", *, as_json: bool) -> None:
    """Print the schema, the one that is needed, and the migrations between them."""
    from adwarm.store.schema import get_current_revision, get_head_revision, list_pending_migrations

    pending = list_pending_migrations(engine)
    schema = {"dialect": engine.dialect.name, "database": get_current_revision(engine), "needed": get_head_revision()}
    rows = [(step.revision, step.compatible_from, len(step.indexes), step.summary) for step in pending]
    if as_json:
        names = ("revision", "compatible_from", "concurrent_indexes", "summary")
        print_json({**schema, "migrations": [dict(zip(names, row, strict=True)) for row in rows]})
    else:
        print_fields("Database", schema)
        columns = ("schema", "code runs from", "concurrent indexes", "migration")
        print_table("Migrations that would run", columns, rows, "the database has the newest schema")


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
