"""`adwarm backfill` and `adwarm notify-data`: historical days, and days that arrived or were restated at the source."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.terminal import (
    AccountArgument,
    AtOption,
    JsonOption,
    ReportOption,
    clock_at,
    parse_day,
    parse_timestamp,
    print_fields,
    print_json,
    split_commas,
    write_to_stderr,
)

if TYPE_CHECKING:
    from adwarm.model import Account, Window
    from adwarm.prefetch.backfill import Estimate
    from adwarm.runtime import Runtime
    from adwarm.sources.protocol import InsightsSource

app = typer.Typer(
    help="Backfill historical days.",
    no_args_is_help=True,
)
FromOption = Annotated[str, typer.Option("--from", help="First day, such as 2026-08-01.")]
ToOption = Annotated[str, typer.Option("--to", help="Last day, included.")]
AccountsOption = Annotated[
    list[str] | None, typer.Option("--accounts", help="Ids separated by commas; default: all known accounts.")
]


@app.callback()
def backfill() -> None:
    """Backfill historical days."""


@app.command("run")
def run(
    *,
    since: FromOption,
    until: ToOption,
    accounts: AccountsOption = None,
    report: ReportOption = "default",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the requests and hours that it takes, and make no upstream call."),
    ] = False,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch the missing days, newest first, at low priority. It may be stopped at any time; a rerun resumes.

    The estimate of requests and hours, given what is stored, is printed first. An account that was denied less than a
    day ago is not called, unless `adwarm gate open` lifts it. The command exits with 1 until it can be read.
    """
    from adwarm.foundation.wording import format_count
    from adwarm.prefetch.backfill import run_backfill
    from adwarm.runtime import Runtime
    from adwarm.store.accounts import add_named

    runtime, window = Runtime(clock=clock_at(at)), _parse_window(since, until)
    if dry_run:
        cost = _estimate(runtime, _select_accounts(runtime, accounts, report), window, report)
        print_fields(f"Backfill {window}", cost.to_dict(), as_json=as_json)
        return
    chosen = [*_select_accounts(runtime, accounts, report), *_denied_accounts(runtime, accounts)]
    chosen = chosen or _discover_accounts(runtime, report)
    names = "named" if accounts else "none named: every active account"
    typer.echo(f"{format_count(len(chosen), 'account')}, {names}", err=True)
    typer.echo(f"estimate: {_estimate(runtime, chosen, window, report)}", err=True)
    add_named(runtime.context, split_commas(accounts), runtime.clock.now())
    engine = runtime.prefetch_engine()
    result = run_backfill(engine, chosen, window, report=report, write=write_to_stderr)
    fields = result.to_dict()
    if as_json:
        print_json(fields)
    else:
        reasons = fields.pop("reasons")
        print_fields(f"Backfill {window}", fields)
        for name, reason in reasons.items():
            typer.echo(f"{name}: {reason}", err=True)
    if result.reasons:
        raise typer.Exit(1)


def _parse_window(since: str, until: str) -> "Window":
    from adwarm.model import Window

    return Window(parse_day(since), parse_day(until))


def _select_accounts(runtime: "Runtime", names: Sequence[str] | None, report: str) -> list["Account"]:
    """Return the named accounts, or all active ones that can have the report."""
    from adwarm.foundation.errors import BadRequest
    from adwarm.sources.factory import find_capabilities
    from adwarm.sources.units import check_query
    from adwarm.store import accounts

    settings = runtime.settings
    chosen = accounts.list_selected(runtime.context, split_commas(names), runtime.clock.now())
    refused = {}
    for connection in sorted({account.connection for account in chosen}):
        try:
            check_query(find_capabilities(settings, connection), settings.spec(report))
        except BadRequest as error:
            refused[connection] = f"accounts of the connection {connection} cannot have the report {report}: {error}"
    able = [account for account in chosen if account.connection not in refused]
    if refused and (names or not able):
        raise BadRequest("; ".join(refused.values()))
    for reason in refused.values():
        typer.echo(f"left out: {reason}", err=True)
    return able


def _denied_accounts(runtime: "Runtime", names: Sequence[str] | None) -> list["Account"]:
    """Return all denied accounts unless accounts are named, so that the result lists them with the reason."""
    from adwarm.store import accounts

    stored = [] if names else accounts.list_as_of(runtime.engine, runtime.clock.now()).values()
    return [account for account in stored if account.status == "denied"]


def _discover_accounts(runtime: "Runtime", report: str) -> list["Account"]:
    """Store the accounts that the connections list, and return the active ones."""
    result = runtime.account_discovery().run(runtime.source_factories())
    chosen = _select_accounts(runtime, None, report)
    if result.errors and not chosen:
        raise next(iter(result.errors.values()))
    return chosen


def _make_source(runtime: "Runtime") -> "InsightsSource":
    from adwarm.runtime import source_factory

    return source_factory(runtime.settings, runtime.clock)()


def _estimate(runtime: "Runtime", chosen: Sequence["Account"], window: "Window", report: str) -> "Estimate":
    from adwarm.foundation.errors import BadRequest
    from adwarm.prefetch.backfill import estimate, find_missing_spans, validate_range

    if not chosen:
        raise BadRequest(
            "no accounts are known yet; name some with --accounts, or run the backfill: it lists those of the source"
        )
    now = runtime.clock.now()
    validate_range(window, now, [partial(_make_source, runtime)])
    missing = find_missing_spans(runtime.context, chosen, window, now, report)
    return estimate(runtime.context, ((item.account, item.spans) for item in missing), report)


def notify_data(
    account: AccountArgument,
    *,
    days: Annotated[str, typer.Option("--days", help="One day, or the first and the last: 2026-11-01..2026-11-24.")],
    arrived: Annotated[
        str | None, typer.Option("--arrived", help="When the data was there (ISO 8601); default: now.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say that data of an account has arrived or changed; it is fetched again, and warmed where opens are expected.

    The reports that contain a day are no longer fresh. The next run of adwarm_intelligent_warming warms those that are
    likely to be opened, within its budget. Days that were fetched after the data had arrived are left as they are.
    """
    from adwarm.planning.arrival_notice import Reporter
    from adwarm.planning.arrival_notice import notify_data as notify
    from adwarm.runtime import Runtime

    runtime = Runtime()
    at = parse_timestamp(arrived, "--arrived") if arrived else None
    notice = notify(runtime.context, account, days, now=runtime.clock.now(), by=Reporter("cli"), arrived_at=at)
    if as_json:
        print_json(notice.to_dict())
    else:
        typer.echo(str(notice))
