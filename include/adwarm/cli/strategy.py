"""`adwarm strategy`: strategies, which keep named reports warm on a schedule."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adwarm.cli.terminal import JsonOption, print_fields, print_json, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from adwarm.planning.strategy_changes import StrategyChange
    from adwarm.planning.strategy_use import StrategyReport
    from adwarm.runtime import Runtime

COLUMNS = ("name", "status", "schedule", "fresh", "oldest", "used", "wasted", "calls", "next run", "note")
"""Columns of the table of strategies; used, wasted and calls are those of the last 30 days."""
_HOUR_SECONDS = 3600
app = typer.Typer(help="Keep named reports warm on a schedule.", no_args_is_help=True)
_STANDARD_INPUT = "-"
_SHOWN_TIMES = 5
_SHOWN_RUNS = 5
_USAGE = ("used_30d", "wasted_30d", "open_30d", "calls_30d", "runs_30d")


def report_fields(report: "StrategyReport", at: datetime) -> dict[str, Any]:
    """Return a strategy with its definition and figures as values for JSON."""
    usage, coverage = report.usage, report.coverage
    return {
        "name": report.stored.name,
        "status": report.status,
        "note": report.note,
        "about": report.about,
        "keys": coverage.keys if coverage else None,
        "fresh": coverage.fresh if coverage else None,
        "oldest_seconds": (at - coverage.oldest_at).total_seconds() if coverage and coverage.oldest_at else None,
        "used_30d": usage.used if usage else 0,
        "wasted_30d": usage.wasted if usage else 0,
        "open_30d": usage.open if usage else 0,
        "calls_30d": usage.calls if usage else 0,
        "runs_30d": usage.runs if usage else 0,
        "last_run": usage.last_at if usage else None,
        "next_run": report.next_run,
        "definition": definition_fields(report),
    }


def definition_fields(report: "StrategyReport") -> dict[str, Any]:
    """Return what the user has defined; of a row that is not valid what it holds."""
    strategy = report.stored.strategy
    values = asdict(strategy) if strategy is not None else dict(report.stored.values)
    return {name: value for name, value in values.items() if name != "name"}


def table_row(report: "StrategyReport", at: datetime) -> Sequence[Any]:
    """Return the cells of a strategy in the order of `COLUMNS`."""
    fields, definition = report_fields(report, at), definition_fields(report)
    seconds, keys = fields["oldest_seconds"], fields["keys"]
    return (
        escape(fields["name"]),
        fields["status"],
        f"{definition.get('cron')} {definition.get('time_zone')}",
        "-" if keys is None else f"{fields['fresh']:,} of {keys:,}",
        "-" if seconds is None else f"{seconds / _HOUR_SECONDS:,.1f} h",
        fields["used_30d"],
        fields["wasted_30d"],
        fields["calls_30d"],
        "due now" if fields["next_run"] == at else fields["next_run"],
        fields["note"] or fields["about"],
    )


@app.callback()
def strategy() -> None:
    """Keep named reports warm on a schedule. The DAG adwarm_strategy_warming plans what is due every 15 minutes."""


@app.command("list")
def list_strategies(
    name: Annotated[str | None, typer.Argument(help="Only this strategy, with all that is known of it.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the strategies: how much of each is fresh, what the last 30 days brought, and when it runs next.

    With NAME: definition, next due times in its zone, coverage, use and latest runs.
    """
    from adwarm.runtime import Runtime

    if name is not None:
        _print_strategy(name, as_json=as_json)
        return
    _, reports, at = _load(Runtime())
    if as_json:
        print_json([report_fields(report, at) for report in reports.values()])
    else:
        rows = [table_row(report, at) for report in reports.values()]
        print_table("Strategies", COLUMNS, rows, "none; `adwarm strategy set --file` makes some")


def _print_strategy(name: str, *, as_json: bool) -> None:
    from adwarm.planning.strategy_schedule import list_due_times
    from adwarm.runtime import Runtime
    from adwarm.store import strategy_warms

    runtime, reports, at = _load(Runtime())
    report = _find(reports, name)
    strategy = report.stored.strategy
    times = [] if strategy is None else list_due_times(strategy, at, _SHOWN_TIMES)
    runs = strategy_warms.list_runs(runtime.engine, name, _SHOWN_RUNS)
    fields = report_fields(report, at)
    if as_json:
        document = {"due": times, "runs": [run._asdict() for run in runs]}
        print_json({**fields, **document})
        return
    definition = {key: _text(value, key) for key, value in definition_fields(report).items()}
    print_fields(f"Strategy {name}: {report.status}", definition)
    if report.note:
        typer.echo(f"Note: {report.note}")
    print_fields(
        "Next due", {str(number): f"{moment:%a %Y-%m-%d %H:%M %Z}" for number, moment in enumerate(times, start=1)}
    )
    cells = table_row(report, at)
    coverage = {"fresh": cells[3], "oldest": cells[4], "next run": cells[8]}
    print_fields("Now, and in the last 30 days", {**coverage, **{key[:-4]: fields[key] for key in _USAGE}})
    columns = ("run", "decided", "fetched", "failed", "cut", "calls")
    print_table("Latest runs", columns, [tuple(run) for run in runs], "none yet")


@app.command("set")
def set_strategies(
    *,
    file: Annotated[
        str, typer.Option(help="TOML file with a table strategies.NAME for each strategy; -: standard input.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create or change the strategies of a TOML file.

    The whole file is checked first. Fields that it leaves out, and strategies that it does not name, stay as they are.
    A new strategy needs a date range. It is due at once, then on its schedule.
    """
    from adwarm.planning.strategy_changes import apply_changes, check_changes
    from adwarm.runtime import Runtime

    definitions = _read_toml(file)
    runtime = Runtime()
    at = runtime.clock.now()
    changes = check_changes(runtime.context, definitions, at)
    if not dry_run:
        apply_changes(runtime.context, changes, at)
    _, reports, _ = _load(runtime)
    others = [name for name in reports if name not in definitions]
    if as_json:
        print_json({"strategies": [_change_fields(change) for change in changes], "not_in_file": others}
                   | {"dry_run": dry_run})  # fmt: skip
        return
    rows = [
        (change.strategy.name, change.kind, _describe_changes(change), _next_run(reports, change, at, dry_run))
        for change in changes
    ]
    rows += [(name, "not in the file", "left as it is", reports[name].next_run) for name in others]
    title = "Nothing is written, because of --dry-run" if dry_run else "Strategies"
    print_table(title, ("strategy", "change", "fields", "next run"), rows)


@app.command("remove")
def remove_strategies(
    names: Annotated[list[str], typer.Argument(help="Names.")], *, as_json: JsonOption = False
) -> None:
    """Remove strategies. What they have fetched stays."""
    from adwarm.planning.strategy_changes import remove_strategies as remove
    from adwarm.runtime import Runtime

    runtime = Runtime()
    remove(runtime.engine, names, runtime.clock.now())
    if as_json:
        print_json({"removed": names})
    else:
        typer.echo("\n".join(f"strategy {name} is removed" for name in names))


def _change_fields(change: "StrategyChange") -> dict[str, Any]:
    fields = {key: {"before": before, "after": after} for key, (before, after) in change.changes.items()}
    return {"name": change.strategy.name, "change": change.kind, "fields": fields}


def _next_run(reports: "Mapping[str, StrategyReport]", change: "StrategyChange", at: datetime, dry_run: bool) -> Any:
    if dry_run:
        return None
    next_run = reports[change.strategy.name].next_run
    return "due now" if next_run == at else next_run or "never; it is disabled"


def _load(runtime: "Runtime") -> "tuple[Runtime, dict[str, StrategyReport], datetime]":
    from adwarm.planning.strategy_use import report_strategies

    at = runtime.clock.now()
    return runtime, {report.stored.name: report for report in report_strategies(runtime.context, at)}, at


def _find(reports: "Mapping[str, StrategyReport]", name: str) -> "StrategyReport":
    from adwarm.planning.strategy_schedule import check_names

    check_names([name], reports)
    return reports[name]


def _describe_changes(change: "StrategyChange") -> str:
    return "; ".join(
        f"{key} {_text(new, key)}" if change.is_new else f"{key} {_text(old, key)} -> {_text(new, key)}"
        for key, (old, new) in change.changes.items()
    )


def _text(value: object, key: str) -> str:
    """Return the value of a field for a cell."""
    if value is None and key == "accounts":
        return "all"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def _read_toml(file: str) -> dict[str, dict[str, Any]]:
    """Return the definitions in a TOML file by name; `-` reads standard input."""
    import tomllib

    try:
        content = sys.stdin.buffer.read() if file == _STANDARD_INPUT else Path(file).read_bytes()
        document = tomllib.loads(content.decode())
    except OSError as error:
        raise BadRequest(f"{file} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise BadRequest(f"{file} is not valid TOML: {error}") from None
    hint = "write a table [strategies.NAME] for each strategy"
    strategies = document.pop("strategies", None)
    if not isinstance(strategies, dict) or not strategies:
        raise BadRequest(f"{file} holds no strategies; {hint}")
    if document:
        raise BadRequest(f"{file} holds {next(iter(document))!r}, which is not a strategy; {hint}")
    for name, values in strategies.items():
        if not isinstance(values, dict):
            raise BadRequest(f"{file}: {name!r} is not a table; {hint}")
    return strategies
