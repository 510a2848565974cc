"""`adwarm backfill`: what a backfill of history will cost, and the backfill itself."""

from datetime import date
from functools import partial
from typing import Annotated, Any

import typer

from adwarm.cli.options import AtOption, ReportOption, clock_at, parse_option
from adwarm.cli.output import JsonOption, print_fields, print_json

app = typer.Typer(help="Fill the past: say what it costs, and do it.", no_args_is_help=True, rich_markup_mode=None)
FromOption = Annotated[str, typer.Option("--from", help="First day, such as 2026-08-01.")]
ToOption = Annotated[str, typer.Option("--to", help="Last day, included.")]
AccountsOption = Annotated[
    list[str] | None, typer.Option("--accounts", help="Ids with commas between; all known accounts by default.")
]


@app.command("estimate")
def estimate_backfill(
    since: FromOption,
    until: ToOption,
    accounts: AccountsOption = None,
    report: ReportOption = "default",
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many requests and hours a backfill will take, given what is stored. Calls nothing."""
    from adwarm.runtime import Runtime

    runtime = Runtime(clock=clock_at(at))
    found = _estimate(runtime, _select_accounts(runtime, accounts), _parse_window(since, until), report)
    if as_json:
        print_json(found.to_dict())
    else:
        print_fields(f"Backfill {since}..{until}", found.to_dict())


@app.command("run")
def run(
    since: FromOption,
    until: ToOption,
    accounts: AccountsOption = None,
    report: ReportOption = "default",
    batch: Annotated[int, typer.Option(help="Accounts taken together.", min=1)] = 50,
    ask_denied: Annotated[
        bool, typer.Option("--ask-denied", help="Ask again about accounts that were denied.")
    ] = False,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch the days that are missing, newest first, at low priority. Stop it at will: a rerun goes on.

    An account that was denied less than a day ago costs no call, and ends the command with code 1 until it is read.
    """
    from adwarm.prefetch.backfill import run_backfill
    from adwarm.runtime import Runtime

    runtime, window = Runtime(clock=clock_at(at)), _parse_window(since, until)
    chosen = [*_select_accounts(runtime, accounts), *_denied_accounts(runtime, accounts)]
    if ask_denied:
        _clear_denials(runtime, chosen)
    chosen = chosen or _save_source_accounts(runtime)
    typer.echo(f"estimate: {_estimate(runtime, chosen, window, report)}", err=True)
    done = run_backfill(runtime.prefetch_engine(), chosen, window, report=report, batch_size=batch)
    if as_json:
        print_json(done.to_dict())
    else:
        facts = done.to_dict()
        reasons = facts.pop("reasons")
        print_fields(f"Backfill {window}", facts)
        for name, reason in reasons.items():
            typer.echo(f"{name}: {reason}", err=True)
    if done.reasons:
        raise typer.Exit(1)


def _parse_window(since: str, until: str) -> Any:
    from adwarm.model import Window

    words = "is not a day; write one such as 2026-08-01"
    return Window(parse_option(date.fromisoformat, since, words), parse_option(date.fromisoformat, until, words))


def _select_accounts(runtime: Any, asked: list[str] | None) -> list[Any]:
    from adwarm.store import accounts

    ids = [word.strip() for text in asked or [] for word in text.split(",") if word.strip()]
    return accounts.list_selected(runtime.engine, ids, runtime.clock.now(), runtime.settings.default_zone)


def _denied_accounts(runtime: Any, asked: list[str] | None) -> list[Any]:
    """Return the accounts that stand denied, when none is asked for: what could not be read stays told."""
    from adwarm.store import accounts

    known = [] if asked else accounts.list_as_of(runtime.engine, runtime.clock.now()).values()
    return [account for account in known if account.status == "denied"]


def _clear_denials(runtime: Any, chosen: list[Any]) -> None:
    from adwarm.store import denials

    denials.lift(runtime.engine, [account.id for account in chosen])


def _save_source_accounts(runtime: Any) -> list[Any]:
    """Return the accounts that the source lists, and keep them: one request for a hundred."""
    from adwarm.runtime import source_factory
    from adwarm.store import accounts

    found = list(source_factory(runtime.settings, runtime.clock)().list_accounts())
    accounts.save(runtime.engine, found, runtime.clock.now())
    return [account for account in found if account.status == "active"]


def _make_source(runtime: Any) -> Any:
    from adwarm.runtime import source_factory

    return source_factory(runtime.settings, runtime.clock)()


def _estimate(runtime: Any, chosen: list[Any], window: Any, report: str) -> Any:
    from adwarm.foundation.errors import BadRequest
    from adwarm.prefetch.backfill import find_missing_spans, validate_range
    from adwarm.prefetch.estimate import estimate

    if not chosen:
        raise BadRequest("no account is known yet; name some with --accounts, or run the backfill: it asks the source")
    now = runtime.clock.now()
    validate_range(window, now, [partial(_make_source, runtime)])
    gaps = find_missing_spans(runtime.engine, runtime.settings, chosen, window, now, report)
    return estimate(runtime.engine, runtime.settings, ((gap.account, gap.spans) for gap in gaps), report)
