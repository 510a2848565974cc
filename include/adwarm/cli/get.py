"""`adwarm get`: reads one report."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import (
    AccountArgument,
    AtOption,
    DateRangeArgument,
    JsonOption,
    ReportOption,
    clock_at,
    print_json,
)

if TYPE_CHECKING:
    from adwarm.compression import Shape
    from adwarm.serving import ReadResult

_JSON_SHAPES = ("columnar", "rows")


def get(
    account: AccountArgument,
    date_range: DateRangeArgument,
    *,
    report: ReportOption = "default",
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch on a miss, with critical priority.")] = False,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Print an entry of other days when that of the range is not there.")
    ] = False,
    meta: Annotated[
        bool, typer.Option("--meta", help="Print status, age, source and sizes instead of the report.")
    ] = False,
    shape: Annotated[
        str | None, typer.Option(help="columnar, rows, ndjson, csv or arrow; default: the document as stored.")
    ] = None,
    table: Annotated[str, typer.Option(help="Table of ndjson, csv and arrow: daily or summary.")] = "daily",
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read one report as the read API does, and print it. Without --json, its age goes to standard error.

    When the stored entry is not a hit, the steps of ADWARM_RECOVERY__FALLBACKS answer; a fetch needs --fetch.
    """
    from adwarm.compression import flush_statistics, parse_table
    from adwarm.model import Actor, ReportKey
    from adwarm.runtime import Runtime
    from adwarm.serving.read_chain import require_entry
    from adwarm.store.accounts import find_id

    chosen_shape, chosen_table = _parse_shape(shape, as_json), parse_table(table)
    runtime = Runtime(clock=clock_at(at))
    key = ReportKey.parse(find_id(runtime.context, account), date_range, report)
    if fetch:
        from adwarm.actions.warm_now import name_accounts

        name_accounts(runtime.action_services, [key])
    result = require_entry(
        runtime.read_chain.read(key, Actor.API, may_fetch=fetch, wants_fresh=fetch, allow_partial=allow_partial),
        hint="" if fetch else "; `adwarm get --fetch` fetches it",
    )
    if meta:
        print_json(_result_fields(result))
        return
    if not as_json:
        typer.echo(_describe(result), err=True)
    if chosen_shape is None:
        sys.stdout.buffer.write(runtime.reader.get_body(result) + b"\n")
    else:
        body = runtime.reader.get_shape(result, chosen_shape, chosen_table)
        sys.stdout.buffer.write(body + (b"\n" if chosen_shape in _JSON_SHAPES else b""))
    flush_statistics(runtime.engine, runtime.clock.now())


def _parse_shape(text: str | None, as_json: bool) -> "Shape | None":
    from adwarm.compression import parse_shape
    from adwarm.foundation.errors import BadRequest

    shape = None if text is None else parse_shape(text)
    if as_json and shape is not None and shape not in _JSON_SHAPES:
        raise BadRequest(f"--json prints one JSON document and {shape} is none; use --shape rows, or leave --json out")
    return shape


def _describe(result: "ReadResult") -> str:
    """Return status, age, days, and where the report came from when that is not its stored entry."""
    facts = [str(result.status), f"{result.age_seconds or 0:.0f} s old"]
    if result.entry is not None:
        facts.append(str(result.entry.key.window))
    if result.is_degraded:
        facts.append(f"degraded, from {result.source}")
    note = ", ".join(facts)
    return f"{note}; {result.reason}" if result.reason else note


def _result_fields(result: "ReadResult") -> dict[str, Any]:
    names = ("fetched_at", "expires_at", "source", "api_version", "complete", "settled", "data_version")
    sizes = ("codec", "raw_bytes", "stored_bytes")
    entry = result.entry
    return {
        "status": result.status.value,
        "reason": result.reason,
        "age_seconds": result.age_seconds,
        "served_from": result.source,
        "degraded": result.is_degraded,
        "attempts": result.attempts,
        "actions": list(result.actions),
        "window": None if entry is None else str(entry.key.window),
        **{name: getattr(entry, name) for name in (*names, *sizes)},
    }
