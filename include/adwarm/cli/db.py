"""`adwarm db`: the database schema."""

from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_fields, print_json, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from adwarm.store.migration_scripts import Migration

app = typer.Typer(help="Create, upgrade, check, reset the database.", no_args_is_help=True, rich_markup_mode=None)


@app.command("upgrade")
def upgrade_database(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="List what would run, and change nothing.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print its statements, and change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Upgrade the database to the newest schema. Several processes may run this at the same time."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine, upgrade
    from adwarm.store.schema import get_current_revision, list_pending_migrations, render_upgrade

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    if plan or sql:
        pending = list_pending_migrations(engine)
        statements = render_upgrade(engine) if sql else []
        _print_plan(pending, statements, as_json=as_json)
        return
    before = get_current_revision(engine)
    fields = {"dialect": engine.dialect.name, "before": before, "now": upgrade(engine)}
    print_fields("Database", fields, as_json=as_json)


def _print_plan(pending: "list[Migration]", statements: list[str], *, as_json: bool) -> None:
    rows = [(step.revision, step.compatible_from, len(step.indexes), step.summary) for step in pending]
    if as_json:
        names = ("revision", "compatible_from", "concurrent_indexes", "summary")
        document: dict[str, object] = {"migrations": [dict(zip(names, row, strict=True)) for row in rows]}
        print_json(document | ({"statements": statements} if statements else {}))
    elif statements:
        typer.echo("\n".join(f"{statement.rstrip(';')};" for statement in statements))
    else:
        columns = ("schema", "code runs from", "concurrent indexes", "migration")
        print_table("Migrations that would run", columns, rows, "the database has the newest schema")


@app.command("check")
def check_database(*, as_json: JsonOption = False) -> None:
    """Compare the tables of the database with those that this version needs; differences exit with 1."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine
    from adwarm.store.schema import find_differences, get_current_revision, get_head_revision, require_current

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    require_current(engine)
    found, revision = find_differences(engine), get_current_revision(engine)
    is_newer = revision != get_head_revision()  # and compatible, so that additions are expected
    if as_json:
        print_json({"revision": revision, "is_newer": is_newer, "differences": found})
    else:
        rows = [(difference,) for difference in found]
        print_table(f"Differences from schema {get_head_revision()}", ("difference",), rows, "none")
    if found and not is_newer:
        raise typer.Exit(1)


@app.command("downgrade")
def downgrade_database(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="Schema to go back to.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Delete what later schemas have added without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Go back to an older schema, before an older version is installed. Stop every process of adwarm first."""
    from adwarm.settings import load_settings
    from adwarm.store import open_engine
    from adwarm.store.schema import downgrade, get_current_revision

    settings = load_settings()
    engine = open_engine(settings.database, settings.sql)
    if revision == "base":
        raise BadRequest("`adwarm db reset` deletes everything")
    if not yes:
        raise BadRequest(f"this deletes what schemas after {revision} have added; repeat it with --yes to go on")
    before = get_current_revision(engine)
    downgrade(engine, revision)
    fields = {"dialect": engine.dialect.name, "before": before, "now": get_current_revision(engine)}
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
