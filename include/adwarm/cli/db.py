"""`adwarm db`: the database schema."""

from pathlib import Path
from typing import Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_fields, print_json, print_table
from adwarm.foundation.errors import BadRequest

app = typer.Typer(help="Create, upgrade, export and reset the database.", no_args_is_help=True, rich_markup_mode=None)


@app.command("upgrade")
def upgrade_database(*, as_json: JsonOption = False) -> None:
    """Upgrade the database to the newest schema. Several processes may run this at the same time."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine, upgrade
    from adwarm.store.schema import get_current_revision

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    before = get_current_revision(engine)
    fields = {"dialect": engine.dialect.name, "before": before, "now": upgrade(engine)}
    print_fields("Database", fields, as_json=as_json)


@app.command("current")
def current_revision(*, as_json: JsonOption = False) -> None:
    """Show the revision of the schema, and the one that this version of adwarm needs."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine
    from adwarm.store.schema import get_current_revision, get_head_revision

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    fields = {"dialect": engine.dialect.name, "database": get_current_revision(engine), "needed": get_head_revision()}
    print_fields("Database", fields, as_json=as_json)


@app.command("export")
def export_database(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to; created if absent.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Write every table as JSON lines into FOLDER, also from a database that cannot be upgraded."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine
    from adwarm.store.schema import export_tables

    settings = load_settings()
    counts = export_tables(open_engine(settings.database, settings.sql), folder)
    if as_json:
        print_json({"folder": str(folder), "rows": counts})
    else:
        print_table(f"Rows written to {folder}", ("table", "rows"), list(counts.items()), "the database has no tables")


@app.command("reset")
def reset_database(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete every row of adwarm's tables and create the newest schema."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine
    from adwarm.store.schema import get_current_revision, reset

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    if not yes:
        shown = engine.url.render_as_string(hide_password=True)
        raise BadRequest(f"this deletes everything adwarm stored in {shown}; repeat it with --yes to go on")
    before = get_current_revision(engine)
    print_fields("Database", {"dialect": engine.dialect.name, "before": before, "now": reset(engine)}, as_json=as_json)
