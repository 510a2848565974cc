"""`adwarm cache`: what is stored, put in order."""

import typer

from adwarm.cli.output import JsonOption, print_fields, print_json

app = typer.Typer(help="Look after what is stored.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def cache() -> None:
    """Look after what is stored."""


@app.command("compact")
def compact_store(as_json: JsonOption = False) -> None:
    """Bring the final days of each account and month together, and delete what nothing has pointed at for a day."""
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
