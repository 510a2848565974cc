"""`adwarm backup` and `adwarm restore`: an installation into a folder or a bucket, and back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_fields, print_json, print_note, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from adwarm.maintenance.restore import RestoreResult

TargetArgument = Annotated[
    str, typer.Argument(metavar="FOLDER", help="Folder or URL of the backups, such as /backup or s3://bucket/adwarm.")
]


def backup(
    target: TargetArgument,
    *,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help="Delete all but this many of the newest backups afterwards.")
    ] = None,
    list_backups: Annotated[bool, typer.Option("--list", help="List the backups in FOLDER, and make none.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up database, objects, open log and review pages into FOLDER, while everything runs.

    Objects that an earlier backup in FOLDER holds are not copied again. Settings and their secrets are not part of it.
    Exits with 1 when rows name objects that the store does not have.
    """
    from adwarm.foundation.clock import SystemClock
    from adwarm.maintenance.backup import create_backup
    from adwarm.runtime import Runtime

    if list_backups:
        _list(target, as_json=as_json)
        return
    result = create_backup(Runtime().context, target, SystemClock().now(), keep=keep)
    print_fields("Backup", result.to_dict(), as_json=as_json)
    if result.manifest.missing:
        print_note("some rows name objects that the store does not have; `adwarm verify --repair` sets them aside")
        raise typer.Exit(1)


def restore(
    target: TargetArgument,
    *,
    name: Annotated[
        str | None, typer.Option("--backup", metavar="NAME", help="Which one; default: the newest complete one.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Delete what the database holds.")] = False,
    allow_problems: Annotated[
        bool, typer.Option("--allow-problems", help="Restore what is whole when parts of the backup are damaged.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the whole backup against its checksums, and restore nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup from FOLDER into this installation: its database must be empty, and nothing else may run.

    Everything is checked first. The tables come last, in one transaction: a restore that was killed has changed no
    row. A backup of SQLite can be restored into PostgreSQL, and the other way round.
    """
    from adwarm.maintenance.restore import check_backup, restore_backup
    from adwarm.runtime import Runtime

    if dry_run:
        result = check_backup(target, name)
        _print(result, as_json=as_json)
        if result.problems:
            raise typer.Exit(1)
        return
    on_progress = (lambda _text: None) if as_json else print_note
    result = restore_backup(
        Runtime().context, target, name, replace=replace, allow_problems=allow_problems, on_progress=on_progress
    )
    _print(result, as_json=as_json)
    on_progress("restored; `adwarm verify` checks every object, then start the DAGs and `adwarm serve` again")


def _print(result: "RestoreResult", *, as_json: bool) -> None:
    fields = result.to_dict()
    problems = fields["problems"] if as_json else fields.pop("problems")
    print_fields("Restore", fields, as_json=as_json)
    if problems and not as_json:
        print_table("Problems", ("",), [(problem,) for problem in problems])


def _list(target: str, *, as_json: bool) -> None:
    from adwarm.foundation.errors import AdwarmError
    from adwarm.maintenance.backup_folder import BackupFolder

    folder, rows = BackupFolder(target), []
    for name in folder.list_names():
        row: dict[str, Any] = {"name": name, "at": None, "rows": None, "objects": None, "schema": None, "problem": None}
        try:
            manifest = folder.read_manifest(name)
            row |= {"at": manifest.at, "rows": manifest.rows, "objects": manifest.object_count}
            row |= {"schema": manifest.schema, "problem": "objects are missing" if manifest.missing else None}
        except BadRequest as error:
            row["problem"] = str(error)
        except AdwarmError:
            row["problem"] = "incomplete"
        rows.append(row)
    if as_json:
        print_json(rows)
    else:
        columns = ("name", "at", "rows", "objects", "schema", "problem")
        print_table(f"Backups in {folder.url}", columns, [[row[name] for name in columns] for row in rows], "none")
