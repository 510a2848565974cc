"""`adwarm db`: the database schema."""

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_fields

app = typer.Typer(help="Create and upgrade the database.", no_args_is_help=True, rich_markup_mode=None)


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
