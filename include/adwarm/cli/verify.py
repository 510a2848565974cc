"""`adwarm verify`: checks stored data against its checksums."""

from typing import Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json, print_table


def verify(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Mark corrupt data, so that it is fetched again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every stored entry and partition object against its checksum. Exits with 1 when anything is corrupt."""
    from adwarm.compression import flush_statistics
    from adwarm.maintenance.integrity import verify_store
    from adwarm.runtime import Runtime

    runtime = Runtime()
    report = verify_store(runtime.context, repair=repair)
    flush_statistics(runtime.engine, runtime.clock.now())
    if as_json:
        print_json(report.to_dict())
    else:
        title = f"{report.entries:,} entries and {report.objects:,} objects checked, {len(report.corrupt)} corrupt"
        print_table(title, ("what", "why"), report.corrupt, "nothing is corrupt")
    if report.corrupt:
        raise typer.Exit(1)
