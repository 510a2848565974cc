"""`adwarm cache`: maintenance of the store."""

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_fields, print_json

app = typer.Typer(help="Maintain the store.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def cache() -> None:
    """Maintain the store."""


@app.command("compact")
def compact_store(*, as_json: JsonOption = False) -> None:
    """Merge the final days of each account and month into one object, and delete objects unreferenced for a day.

    Exits with 1 when an object could not be read.
    """
    from adwarm.maintenance.compaction import compact
    from adwarm.runtime import Runtime

    runtime = Runtime()
    report = compact(runtime.engine, runtime.objects, runtime.clock.now())
    if as_json:
        print_json(report.to_dict())
    else:
        print_fields("Compaction", {**report.to_dict(), "errors": "; ".join(report.errors) or None})
    if report.errors:
        raise typer.Exit(1)
