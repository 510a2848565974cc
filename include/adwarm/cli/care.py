"""Commands that look after an installation: verify, allow and doctor."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from adwarm.cli.output import JsonOption, print_json, print_table
from adwarm.foundation.errors import AdwarmError, BadRequest


def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Mark what is corrupt, so that it is fetched again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every stored entry and partition object against its checksum."""
    from adwarm.maintenance.integrity import verify_store
    from adwarm.runtime import Runtime

    runtime = Runtime()
    found = verify_store(runtime.engine, runtime.objects, runtime.settings, repair=repair)
    if as_json:
        print_json(found.to_dict())
    else:
        title = f"{found.entries:,} entries and {found.objects:,} objects checked, {len(found.corrupt)} corrupt"
        print_table(title, ("what", "why"), found.corrupt, "all whole")
    if found.corrupt:
        raise typer.Exit(1)


def allow(
    accounts: Annotated[list[str], typer.Argument(help="Accounts that were denied, such as act_1234.")],
    as_json: JsonOption = False,
) -> None:
    """Forget that accounts were denied to a token, so that the next run asks about them again."""
    from adwarm.model import normalize_account_id
    from adwarm.runtime import Runtime
    from adwarm.store import denials

    lifted = denials.lift(Runtime().engine, [normalize_account_id(text) for text in accounts])
    if as_json:
        print_json({"lifted": lifted})
    else:
        print_table("asked about again", ("account",), [(name,) for name in lifted], "none of them was denied")


@dataclass
class CheckResult:
    """What one check of `adwarm doctor` found."""

    name: str
    ok: bool
    detail: str


def doctor(as_json: JsonOption = False) -> None:
    """Check settings, database, object store, access log, forecast, source and zones; each line says what to do."""
    from adwarm.runtime import Runtime
    from adwarm.settings import load_settings

    checks = [_run_check("settings", lambda: f"valid; home is {load_settings().home.absolute()}")]
    if checks[0].ok:
        runtime = Runtime()
        checks += [
            _run_check("database", lambda: f"{runtime.engine.dialect.name}, schema up to date"),
            _run_check("object store", lambda: _check_objects(runtime)),
            _run_check("access log", lambda: _check_log(runtime)),
            _run_check("forecast", lambda: _check_forecast(runtime)),
            _run_check("source", lambda: _check_source(runtime)),
            _run_check("clock", lambda: _check_clock(runtime)),
            _run_check("time zones", lambda: _check_zones(runtime)),
        ]
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        print_table("adwarm doctor", ("", "", ""), [("ok" if c.ok else "FIX", c.name, c.detail) for c in checks])
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _run_check(name: str, probe: Callable[[], str]) -> CheckResult:
    """Return the verdict of one look; whatever goes wrong becomes a line, because a doctor must see every room."""
    try:
        return CheckResult(name, True, probe())
    except AdwarmError as error:
        return CheckResult(name, False, str(error))
    except Exception as error:
        return CheckResult(name, False, f"{type(error).__name__}; check the setting behind it")


def _check_objects(runtime: Any) -> str:
    runtime.objects.check()
    return f"{runtime.objects.url} can be written"


def _check_log(runtime: Any) -> str:
    from adwarm.access_log import log_span

    first, last, events = log_span(runtime.log_url, runtime.settings)
    return f"{events:,} events from {first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _check_forecast(runtime: Any) -> str:
    from adwarm.forecast.snapshot import get_live_snapshot

    live = get_live_snapshot(runtime.engine)
    return f"{live.kind}, {live.keys:,} keys, trained until {live.trained_until:%Y-%m-%d %H:%M} UTC"


def _check_source(runtime: Any) -> str:
    from adwarm.runtime import source_factory

    source = source_factory(runtime.settings)()
    first = next(iter(source.list_accounts()), None)
    return f"{source.name} answers; " + (f"first account {first.id}" if first else "it lists no account")


def _check_clock(runtime: Any) -> str:
    from adwarm.prefetch.context import MAX_CLOCK_OFFSET_SECONDS
    from adwarm.runtime import source_factory

    source = source_factory(runtime.settings)()
    next(iter(source.list_accounts()), None)
    offset = source.clock_offset_seconds
    if offset is None:
        return f"{source.name} does not tell the time; this machine's clock is used"
    if abs(offset) > MAX_CLOCK_OFFSET_SECONDS:
        side = "behind" if offset > 0 else "ahead of"
        words = f"this machine's clock is {abs(offset) / 3600:.1f} h {side} the platform's"
        raise BadRequest(f"{words}; set it right: until then days settle by the platform's clock")
    return f"within {abs(offset):.0f} s of the platform's"


def _check_zones(runtime: Any) -> str:
    from adwarm.foundation.local_time import zone
    from adwarm.store import accounts

    known = accounts.get_many(runtime.engine).values()
    for account in known:
        zone(account.data_zone)
        zone(account.reader_zone)
    guessed = sum(not account.is_verified for account in known)
    return f"{len(known):,} accounts; the zone of {guessed:,} is a guess until their first fetch"
