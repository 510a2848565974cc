"""`adwarm db`: the schema."""

import typer

from adwarm.cli.output import JsonOption, print_fields, print_json

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


def _print_schema(facts: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        print_fields("Database", facts)
