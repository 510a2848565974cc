"""Commands that do something: warm, get, simulate."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from adwarm.cli.arguments import AtOption, PriorityOption, ReportOption, clock_at, parse_option
from adwarm.cli.output import JsonOption, print_json, print_table

_ACTOR_HINT = "is not an actor; write human, embedded, api or warmer"
AccountsArgument = Annotated[list[str], typer.Argument(help="Account ids, such as act_1234.")]


def warm(
    accounts: AccountsArgument,
    date_ranges: Annotated[list[str], typer.Option("--range", help="A date range; may be given more than once.")],
    report: ReportOption = "default",
    priority: PriorityOption = "low",
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make reports fresh now, under the shared limits; what is fresh already is skipped."""
    from adwarm.model import Priority, ReportKey
    from adwarm.prefetch import KeyRequest
    from adwarm.runtime import Runtime

    keys = [ReportKey.parse(account, name, report) for account in accounts for name in date_ranges]
    urgency = parse_option(Priority.parse, priority)
    done = Runtime(clock=clock_at(at)).prefetch_engine().run([KeyRequest(key) for key in keys], urgency)
    if as_json:
        print_json({**done.summary(), "outcomes": [_outcome_fields(item) for item in done.outcomes]})
    else:
        columns = ("key", "status", "requests", "bytes", "expires", "reason")
        rows = [
            (str(x.request.key), x.status.value, x.calls, x.stored_bytes, x.expires_at, x.reason) for x in done.outcomes
        ]
        print_table(f"{len(done.outcomes)} keys, {done.calls} upstream requests", columns, rows)
    if not all(item.status.is_served for item in done.outcomes):
        raise typer.Exit(1)


def get(
    account: Annotated[str, typer.Argument(help="Account id, such as act_1234.")],
    date_range: Annotated[str, typer.Argument(help="A preset such as last_7d, or YYYY-MM-DD..YYYY-MM-DD.")],
    report: ReportOption = "default",
    actor: Annotated[str, typer.Option(help="Who reads: human, embedded, api or warmer.")] = "api",
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch on a miss, with critical priority.")] = False,
    meta: Annotated[
        bool, typer.Option("--meta", help="Print what is known of the answer instead of the answer.")
    ] = False,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read one report through the one read path, and print its JSON. A note on its age goes to standard error."""
    from adwarm.foundation.errors import NotFound
    from adwarm.model import Actor, ReportKey
    from adwarm.runtime import Runtime
    from adwarm.serving import read_or_fetch

    runtime = Runtime(clock=clock_at(at))
    key, who = ReportKey.parse(account, date_range, report), parse_option(Actor, actor, _ACTOR_HINT)
    answer = (
        read_or_fetch(runtime.reader, runtime.prefetch_engine, key, who) if fetch else runtime.reader.read(key, who)
    )
    if answer.entry is None:
        raise NotFound(f"{key}: {answer.reason}; `adwarm get --fetch` fetches it")
    if meta:
        print_json(_result_fields(answer))
        return
    if not as_json:
        note = f"{answer.status}, {answer.age_seconds or 0:.0f} s old, {answer.entry.key.window}"
        typer.echo(f"{note}; {answer.reason}" if answer.reason else note, err=True)
    sys.stdout.buffer.write(runtime.reader.get_body(answer) + b"\n")


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8900,
    accounts: Annotated[int, typer.Option(help="Accounts that exist; 0: every well-formed id.", min=0)] = 0,
    ads: Annotated[int, typer.Option(help="Ads of an account.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal rows.", min=0)] = 7,
    zone: Annotated[str, typer.Option(help="Time zone of the accounts.")] = "UTC",
    hourly_limit: Annotated[int, typer.Option(help="Calls per account and hour; 0: no limit.", min=0)] = 0,
    latency_ms: Annotated[float, typer.Option(help="Least time of an answer.", min=0)] = 0.0,
    faults: Annotated[Path | None, typer.Option(help="TOML file with limits, size law and faults.")] = None,
    time_scale: Annotated[float, typer.Option(help="Platform seconds in one real second.", min=0.001)] = 1.0,
    at: AtOption = None,
    decoys: Annotated[float, typer.Option(help="Share of healthy ads that only seem to tire.", min=0, max=1)] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Run the simulated ad platform until interrupted. Its access token is `simulated-token`."""
    from adwarm.foundation.errors import BadRequest, Transient
    from graph_simulator.config import SimulatorConfig
    from graph_simulator.error_responses import InvalidValue, ServerUnavailable
    from graph_simulator.fault_profile import FaultProfile, load_fault_profile
    from graph_simulator.server import run_forever

    try:
        config = SimulatorConfig(
            accounts=accounts or "any",
            ads=ads,
            seed=seed,
            zone=zone,
            hourly_limit=hourly_limit or None,
            latency_ms=latency_ms,
            time_scale=time_scale,
            now=None if at is None else clock_at(at).now(),
            decoys=decoys,
            fault_profile=FaultProfile() if faults is None else load_fault_profile(faults),
        )
    except InvalidValue as error:
        raise BadRequest(str(error)) from None
    url = f"http://{host}:{port}"
    if as_json:
        print_json({"url": url, "token": "simulated-token"})
        sys.stdout.flush()
    else:
        typer.echo(f"simulated Graph API on {url}, token simulated-token; stop with Ctrl-C")
    try:
        run_forever(config, host, port)
    except ServerUnavailable as error:
        raise Transient(str(error)) from None


def _outcome_fields(item: Any) -> dict[str, Any]:
    return {
        "account_id": item.request.key.account_id,
        "date_range": item.request.key.date_range,
        "status": item.status.value,
        "requests": item.calls,
        "fetched_at": item.fetched_at,
        "expires_at": item.expires_at,
        "raw_bytes": item.raw_bytes,
        "stored_bytes": item.stored_bytes,
        "reason": item.reason,
        "retry_after": item.retry_after,
    }


def _result_fields(answer: Any) -> dict[str, Any]:
    entry = answer.entry
    names = ("fetched_at", "expires_at", "source", "api_version", "complete", "settled", "degraded", "data_version")
    sizes = ("codec", "raw_bytes", "stored_bytes")
    return {
        "status": answer.status.value,
        "reason": answer.reason,
        "age_seconds": answer.age_seconds,
        "window": str(entry.key.window),
        **{name: getattr(entry, name) for name in (*names, *sizes)},
    }
