"""`adwarm maintain`: steps of maintenance without Airflow, and a check of all that is stored."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import JsonOption, print_json, print_note, print_table, split_commas
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.wording import format_count

if TYPE_CHECKING:
    from adwarm.maintenance.integrity import IntegrityResult
    from adwarm.maintenance.runner import StepReport
    from adwarm.maintenance.steps import MaintenanceParts
    from adwarm.runtime import Runtime
    from adwarm.store import Context

_REPORT_COLUMNS = ("step", "did", "seconds", "left")
_STATE_COLUMNS = ("step", "last run", "result", "complete since", "error")
_DIFFERENCE_COLUMNS = ("at", "account", "days", "compared", "figure", "expected", "actual")
_SHOWN = timedelta(days=7)


def maintain(
    *,
    step: Annotated[
        list[str] | None, typer.Option("--step", help="Run only this step, also when it is not due; may be repeated.")
    ] = None,
    list_steps: Annotated[
        bool, typer.Option("--list", help="Show the steps and their last runs, and run none.")
    ] = False,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Repeat each step until it has looked at everything.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check all that is stored against its checksums, and run no step.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="With --verify: set damaged data aside, so that it is fetched again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the steps of maintenance that are due, like the DAG adwarm_maintenance. Exits with 1 when one has failed.

    A step that runs elsewhere at the moment, or whose process was killed a minute ago, is left out; one that --step
    names exits with 1 then.

    With --verify every entry, partition, aggregate and forecast snapshot is checked; exits with 1 when anything is
    damaged. With --repair, damaged entries are marked, and the repair step requests them again; damaged days are
    deleted, and the next warm of a report that needs them fetches them. A copy of the damaged bytes is kept.
    """
    from adwarm.maintenance.steps import check_step_names
    from adwarm.runtime import Runtime

    if verify and (step or list_steps or until_done):
        raise BadRequest("--verify runs no step; leave out --step, --list and --until-done")
    if repair and not verify:
        raise BadRequest("--repair goes with --verify")
    names = check_step_names(split_commas(step))
    runtime = Runtime()
    if verify:
        _verify(runtime, repair=repair, as_json=as_json)
        return
    if list_steps:
        _show_steps(runtime.context, names, runtime.clock.now(), as_json=as_json)
        return
    parts = runtime.maintenance_parts()
    reports = [_run(parts, name, run_now=bool(step), until_done=until_done) for name in names]
    if as_json:
        print_json({"steps": [report.to_dict() for report in reports]})
    else:
        rows = [(item.name, str(item), item.seconds, "more" if item.has_more else None) for item in reports]
        print_table("Maintenance", _REPORT_COLUMNS, rows)
        problems = [(item.name, text) for item in reports for text in item.problems]
        if problems:
            print_table("Problems", ("step", "problem"), problems)
    if any(report.status == "failed" or (step and report.status == "held") for report in reports):
        raise typer.Exit(1)


def _run(parts: "MaintenanceParts", name: str, *, run_now: bool, until_done: bool) -> "StepReport":
    """Run a step; with `until_done` again and again while it gets on."""
    from adwarm.maintenance.runner import add_reports
    from adwarm.maintenance.steps import run_if_due

    report = total = run_if_due(parts, name, run_now=run_now)
    while until_done and report.has_more and any(report.counts.values()):
        report = run_if_due(parts, name, run_now=run_now)
        total = add_reports(total, report)
    return total


def maintenance_fields(context: "Context", now: datetime) -> dict[str, Any]:
    """Return the steps with their last runs, and the differences that reconciliation has found in the last week."""
    from adwarm.maintenance.steps import describe_steps
    from adwarm.store.reconciliations import list_figures

    differences = list_figures(context.engine, now - _SHOWN, only_differing=True)
    return {"steps": describe_steps(context, now), "differences": [asdict(item) for item in differences]}


def print_maintenance(fields: dict[str, Any]) -> None:
    """Print what `maintenance_fields` returned."""
    print_table("Maintenance", _STATE_COLUMNS, [_state_row(item) for item in fields["steps"]])
    if fields["differences"]:
        print_table(
            "Figures of the last 7 days that differ from the platform's",
            _DIFFERENCE_COLUMNS,
            [_difference_row(item) for item in fields["differences"]],
        )


def _show_steps(context: "Context", names: list[str], now: datetime, *, as_json: bool) -> None:
    fields = maintenance_fields(context, now)
    fields["steps"] = [item for item in fields["steps"] if item["step"] in names]
    if as_json:
        print_json(fields)
    else:
        print_maintenance(fields)


def _state_row(item: dict[str, Any]) -> tuple[Any, ...]:
    return item["step"], item["started_at"], _describe_state(item), item["complete_at"], item["error"]


def _describe_state(item: dict[str, Any]) -> str:
    from adwarm.maintenance.runner import describe_counts

    if item["started_at"] is None:
        return "never run"
    if item["is_running"]:
        return "running"
    if item["finished_at"] is None:
        return "stopped before its end"
    if item["error"]:
        return "failed"
    text = f"skipped: {item['skipped']}" if item["skipped"] else describe_counts(item["counts"])
    return f"{text}; more is left" if item["has_more"] and not item["skipped"] else text


def _difference_row(item: dict[str, Any]) -> tuple[Any, ...]:
    days = f"{item['since']}..{item['until']}"
    return item["at"], item["account_id"], days, item["comparison"], item["metric"], item["expected"], item["actual"]


def _verify(runtime: "Runtime", *, repair: bool, as_json: bool) -> None:
    """Check every stored object; exits with 1 when anything is damaged."""
    from adwarm.compression import flush_statistics
    from adwarm.maintenance.integrity import recording_damage, verify_store

    on_damage = recording_damage(runtime.pipeline)
    result = verify_store(runtime.context, repair=repair, at=runtime.clock.now(), on_damage=on_damage)
    flush_statistics(runtime.engine, runtime.clock.now())
    if as_json:
        print_json(result.to_dict())
    else:
        _print_result(result)
    if result.problems:
        raise typer.Exit(1)


def _print_result(result: "IntegrityResult") -> None:
    counts = [
        (kind, counts.checked, counts.damaged, counts.repaired, counts.bytes) for kind, counts in result.kinds.items()
    ]
    print_table("Checked", ("kind", "checked", "damaged", "repaired", "bytes"), counts)
    if not result.entries + result.objects:
        print("nothing is stored yet")
        return
    checked = f"{format_count(result.entries, 'entry', 'entries')} and {format_count(result.objects, 'object')} checked"
    problems = f"{len(result.problems):,} damaged or unreadable" if result.problems else "all whole"
    print_table(f"{checked}, {problems}", ("what", "why"), result.corrupt, "nothing is damaged")
    if any(counts.repaired for counts in result.kinds.values()):
        print_note(
            "set aside: warming a report fetches the days it lacks; `adwarm maintain` requests damaged entries again"
        )
