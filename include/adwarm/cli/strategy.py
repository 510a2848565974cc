"""`adwarm strategy`: strategies, which keep named reports warm on a schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adwarm.cli.terminal import JsonOption, print_fields, print_json, print_table, split_commas
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from adwarm.planning.strategy_changes import StrategyChange
    from adwarm.planning.strategy_use import StrategyReport
    from adwarm.runtime import Runtime

COLUMNS = ("name", "status", "schedule", "fresh", "oldest", "used", "wasted", "calls", "next run", "note")
"""Columns of the table of strategies; used, wasted and calls are those of the last 30 days."""
_HOUR_SECONDS = 3600


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


app = typer.Typer(help="Keep named reports warm on a schedule.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="Name of the strategy.")]
_SHOWN_TIMES = 5
_SHOWN_RUNS = 5
_USAGE = ("used_30d", "wasted_30d", "open_30d", "calls_30d", "runs_30d")


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
        print_table("Strategies", COLUMNS, rows, "none; create one with `adwarm strategy set`")


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
        document = {"due": times, "runs": [{field: getattr(run, field) for field in run.__slots__} for run in runs]}
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
    rows = [(x.run_id, x.decided_at, x.fetched, x.failed, x.cut, x.calls) for x in runs]
    print_table("Latest runs", columns, rows, "none yet")


@app.command("set")
def set_strategy(
    name: NameArgument,
    *,
    date_ranges: Annotated[
        list[str] | None, typer.Option("--range", help="Date ranges, separated by commas; may be repeated.")
    ] = None,
    accounts: Annotated[
        list[str] | None,
        typer.Option("--account", help="Account ids, separated by commas; may be repeated."),
    ] = None,
    all_accounts: Annotated[bool, typer.Option("--all-accounts", help="Every stored account.")] = False,
    excluded: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Accounts to leave out, separated by commas; may be repeated."),
    ] = None,
    no_exclusions: Annotated[bool, typer.Option("--no-exclusions", help="Leave out no account.")] = False,
    report: Annotated[str | None, typer.Option(help="Name of a report in the settings.")] = None,
    priority: Annotated[str | None, typer.Option(help="critical, high, normal or low.")] = None,
    cron: Annotated[str | None, typer.Option(help="When it is due: five fields, such as '0 7 * * mon-fri'.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA zone of the schedule, such as Europe/Berlin.")] = None,
    max_calls_per_hour: Annotated[int | None, typer.Option(help="Upstream calls that it may make in an hour.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Reports fetched before the next pause.")] = None,
    delay_seconds: Annotated[float | None, typer.Option(help="Pause between two batches.")] = None,
    max_parallel_batches: Annotated[int | None, typer.Option(help="Batches that run at the same time.")] = None,
    open_hours: Annotated[int | None, typer.Option(help="Hours after a due time in which it may still fetch.")] = None,
    retire_unused: Annotated[bool | None, typer.Option(help="Disable it when nobody used it for 30 days.")] = None,
    opened_only: Annotated[bool | None, typer.Option(help="Warm only what was opened in the last 30 days.")] = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enabled/--disabled", help="Plan it, anew if it was retired; or keep it, and plan it no more."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a strategy, or change the given options of one and leave the others.

    A new strategy needs a date range. It is due at once, then on its schedule.
    """
    values = {
        "date_ranges": _split("--range", date_ranges),
        "accounts": _split("--account", accounts),
        "excluded_accounts": [] if no_exclusions else _split("--exclude", excluded),
        "report": report,
        "priority": priority,
        "cron": cron,
        "time_zone": time_zone,
        "max_calls_per_hour": max_calls_per_hour,
        "batch_size": batch_size,
        "delay_seconds": delay_seconds,
        "max_parallel_batches": max_parallel_batches,
        "open_hours": open_hours,
        "retire_unused": retire_unused,
        "opened_only": opened_only,
    }
    given: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    given |= {"accounts": None} if all_accounts else {}
    if (all_accounts and accounts) or (no_exclusions and excluded):
        raise BadRequest("give either accounts, or --all-accounts and --no-exclusions, not both of one kind")
    _change(name, given, enabled, as_json=as_json)


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


@app.command("import")
def import_strategies(
    file: Annotated[Path, typer.Argument(help="A TOML file with a table strategies.NAME for each strategy.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create or change the strategies of a TOML file.

    The whole file is checked first. Fields that it leaves out, and strategies that it does not name, stay as they are.
    """
    from adwarm.planning.strategy_changes import apply_changes, check_changes
    from adwarm.runtime import Runtime

    definitions = _read_toml(file)
    runtime = Runtime()
    at = runtime.clock.now()
    changes = check_changes(runtime.engine, runtime.settings, definitions, at)
    if not dry_run:
        apply_changes(runtime.engine, runtime.settings, changes, at)
    _, reports, _ = _load(runtime)
    others = [name for name in reports if name not in definitions]
    if as_json:
        groups = {
            kind: [change.strategy.name for change in changes if change.kind == kind]
            for kind in ("added", "changed", "unchanged")
        }
        print_json({**groups, "not_in_file": others, "dry_run": dry_run})
        return
    rows = [(change.strategy.name, change.kind, _describe_changes(change)) for change in changes]
    rows += [(name, "not in the file", "left as it is") for name in others]
    title = f"{file}: nothing is written, because of --dry-run" if dry_run else f"{file}: imported"
    print_table(title, ("strategy", "change", "fields"), rows)


def _split(option: str, texts: list[str] | None) -> list[str] | None:
    """Return the values of an option, or None when it is not given, which leaves the field as it is.

    Raises:
        BadRequest: it is given without a value.
    """
    values = split_commas(texts)
    if texts and not values:
        raise BadRequest(f"{option} {texts[0]!r} has no value; leave it out, or write one")
    return values or None


def _load(runtime: "Runtime") -> "tuple[Runtime, dict[str, StrategyReport], datetime]":
    from adwarm.planning.strategy_use import report_strategies

    at = runtime.clock.now()
    return runtime, {report.stored.name: report for report in report_strategies(runtime.context, at)}, at


def _find(reports: "Mapping[str, StrategyReport]", name: str) -> "StrategyReport":
    from adwarm.planning.strategy_changes import unknown_strategy

    if name not in reports:
        raise unknown_strategy(name, reports)
    return reports[name]


def _change(name: str, given: dict[str, Any], enabled: bool | None, *, as_json: bool) -> None:
    """Store the given fields and whether the strategy is planned, and print what has changed."""
    from adwarm.planning.strategy_changes import apply_changes, check_changes, set_strategies_enabled
    from adwarm.runtime import Runtime

    runtime = Runtime()
    changes = []
    if given or enabled is None:
        changes = check_changes(runtime.engine, runtime.settings, {name: given}, runtime.clock.now())
        apply_changes(runtime.engine, runtime.settings, changes, runtime.clock.now())
    if enabled is not None:
        set_strategies_enabled(runtime.engine, [name], runtime.clock.now(), enabled=enabled)
    if changes:
        _print_change(runtime, changes[0], as_json=as_json)
    else:
        _print_enabled(name, is_enabled=bool(enabled), as_json=as_json)


def _print_enabled(name: str, *, is_enabled: bool, as_json: bool) -> None:
    change = "enabled" if is_enabled else "disabled"
    if as_json:
        print_json({"name": name, "change": change})
    else:
        typer.echo(f"strategy {name} is {change}")


def _print_change(runtime: "Runtime", change: "StrategyChange", *, as_json: bool) -> None:
    _, reports, at = _load(runtime)
    next_run = reports[change.strategy.name].next_run
    if as_json:
        changes = {key: {"before": pair[0], "after": pair[1]} for key, pair in change.changes.items()}
        print_json({"name": change.strategy.name, "change": change.kind, "fields": changes, "next_run": next_run})
        return
    fields = {key: f"{_text(old, key)} -> {_text(new, key)}" for key, (old, new) in change.changes.items()}
    if change.is_new:
        fields = {key: _text(new, key) for key, (_, new) in change.changes.items()}
    due = "at the next run of the DAG" if next_run == at else next_run or "never; it is disabled"
    print_fields(f"Strategy {change.strategy.name}: {change.kind}", {**fields, "next run": due})


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


def _read_toml(file: Path) -> dict[str, dict[str, Any]]:
    """Return the definitions in a TOML file by name.

    Raises:
        BadRequest: the file cannot be read, is not TOML, or holds something else than strategies.
    """
    import tomllib

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(f"{file} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise BadRequest(f"{file} is not valid TOML: {error}") from None
    hint = "write a table [strategies.NAME] for each strategy"
    strategies = document.pop("strategies", None)
    if not isinstance(strategies, dict) or not strategies:
        raise BadRequest(f"{file} holds no strategies; {hint}")
    if document:
        raise BadRequest(f"{file} holds {next(iter(document))!r}, which is no strategy; {hint}")
    for name, values in strategies.items():
        if not isinstance(values, dict):
            raise BadRequest(f"{file}: {name!r} is not a table; {hint}")
    return strategies
