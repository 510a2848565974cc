"""`adwarm db`: the schema."""

from pathlib import Path
from typing import Annotated

import typer

from adwarm.cli.output import JsonOption, print_fields, print_json, print_table
from adwarm.foundation.errors import BadRequest

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to; created if absent.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Delete without asking again.")]

app = typer.Typer(help="Create and upgrade the database.", no_args_is_help=True, rich_markup_mode=None)


@app.command("upgrade")
def upgrade_database(as_json: JsonOption = False) -> None:
    """Bring the database to the newest schema; safe to run from several places at once."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine, upgrade
    from adwarm.store.schema import get_current_revision

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    before = get_current_revision(engine)
    _print_schema({"dialect": engine.dialect.name, "before": before, "now": upgrade(engine)}, as_json)


@app.command("current")
def current_revision(as_json: JsonOption = False) -> None:
    """Show the schema's revision, and the one this code needs."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine
    from adwarm.store.schema import get_current_revision, get_head_revision

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    _print_schema(
        {"dialect": engine.dialect.name, "database": get_current_revision(engine), "needed": get_head_revision()},
        as_json,
    )


@app.command("export")
def export_database(folder: FolderArgument, as_json: JsonOption = False) -> None:
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
def reset_database(yes: YesOption = False, as_json: JsonOption = False) -> None:
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
    _print_schema({"dialect": engine.dialect.name, "before": before, "now": reset(engine)}, as_json)


def _print_schema(facts: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        print_fields("Database", facts)
