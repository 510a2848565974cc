"""`adwarm cache`: maintenance of the store."""

from typing import Annotated

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
    report = compact(runtime.context, runtime.clock.now())
    if as_json:
        print_json(report.to_dict())
    else:
        print_fields("Compaction", {**report.to_dict(), "errors": "; ".join(report.errors) or None})
    if report.errors:
        raise typer.Exit(1)


@app.command("recompress")
def recompress(
    *,
    cpu_seconds: Annotated[
        float | None, typer.Option("--cpu-seconds", min=0, help="CPU time to use; default: the setting's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be recompressed, and change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recompress the entries for which a stronger level pays: their reads times the bytes saved against the CPU time.

    Runs at once; the DAG adwarm_maintenance does the same in quiet hours.
    """
    from adwarm.maintenance.recompression import RecompressionPolicy, recompress_by_benefit
    from adwarm.runtime import Runtime

    runtime = Runtime()
    seconds = runtime.settings.compression.recompress_cpu_seconds if cpu_seconds is None else cpu_seconds
    result = recompress_by_benefit(runtime.context, runtime.clock.now(), RecompressionPolicy(seconds, dry_run))
    print_fields(str(result), result.to_dict(), as_json=as_json)
