"""`adwarm report`: the queries of reports, and the switch to a changed one."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import JsonOption, print_json, print_table

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from adwarm.store.report_versions import ReportVersion

app = typer.Typer(
    help="Queries of reports: which one is in use, and which one is prepared after a change of settings.",
    no_args_is_help=True,
)


@app.command("list")
def list_reports(
    *,
    sql: Annotated[
        str | None,
        typer.Option("--sql", metavar="REPORT", help="Print the SQL by which DuckDB reads its stored days as a view."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the queries of each report: active, preparing with the share that is warm, and retired.

    With --sql, print instead how DuckDB reads the stored days of a report: as the view `days`.
    """
    from adwarm.runtime import Runtime
    from adwarm.store import report_versions

    if sql is not None:
        _print_sql(sql, as_json=as_json)
        return

    rows = [_fields(item) for item in report_versions.list_versions(Runtime().engine)]
    if as_json:
        print_json(rows)
        return
    titles = ("report", "query", "state", "since", "warm", "level", "breakdowns", "attribution", "attribution_windows")
    print_table("Queries of reports", titles, [[_cell(row[name]) for name in titles] for row in rows])


@app.command("switch")
def switch_report(
    report: Annotated[str, typer.Argument(help="Name of a report in the settings.")], *, as_json: JsonOption = False
) -> None:
    """Switch a report to its changed query now, however much of it is warm."""
    from adwarm.foundation.errors import NotFound
    from adwarm.runtime import Runtime
    from adwarm.store import report_versions

    runtime = Runtime()
    switched = report_versions.switch(runtime.engine, report, runtime.clock.now())
    if switched is None:
        raise NotFound(f"no changed query of the report {report[:40]!r} is prepared; `adwarm report list` shows them")
    if as_json:
        print_json(_fields(switched))
    else:
        typer.echo(f"{report} is switched to the query {switched.spec.hash}; readers notice within seconds")


def _print_sql(report: str, *, as_json: bool) -> None:
    from adwarm.runtime import Runtime
    from adwarm.stored_days import write_duckdb_view

    sql = write_duckdb_view(Runtime().context.settings, report)
    if as_json:
        print_json({"report": report, "sql": sql})
    else:
        typer.echo(sql, nl=False)


def list_preparing_fields(engine: "Engine") -> list[dict[str, Any]]:
    """Return the queries that are prepared, as JSON values."""
    from adwarm.store import report_versions

    return [_fields(item) for item in report_versions.list_versions(engine) if item.state == "preparing"]


def print_preparing(rows: list[dict[str, Any]]) -> None:
    """Print a line for each query that is prepared."""
    for row in rows:
        typer.echo(f"Report {row['report']} gets another query: {row['warm'] or 0:.0%} of its expected opens are warm")


def _fields(item: "ReportVersion") -> dict[str, Any]:
    return {
        "report": item.report,
        "query": item.spec.hash,
        "state": str(item.state),
        "since": item.since.isoformat(timespec="seconds"),
        "warm": item.coverage,
        "level": item.spec.level,
        "fields": list(item.spec.fields),
        "attribution": item.spec.attribution,
        "attribution_windows": list(item.spec.attribution_windows),
        "breakdowns": list(item.spec.breakdowns),
        "action_breakdowns": list(item.spec.action_breakdowns),
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.0%}" if isinstance(value, float) else str(value)
