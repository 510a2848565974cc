"""`adwarm doctor`: checks an installation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json, print_table
from adwarm.foundation.errors import AdwarmError, BadRequest

if TYPE_CHECKING:
    from adwarm.runtime import Runtime

_SKIPPED_SHOWN = 3


@dataclass
class CheckResult:
    """Result of one check: its name, whether it passed, and details or what to fix."""

    name: str
    ok: bool
    detail: str


def doctor(*, as_json: JsonOption = False) -> None:
    """Check settings, database, object store, access log, forecast, source, clock and zones.

    Each line shows details or what to fix. Exits with 1 when a check fails.
    """
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


def _run_check(name: str, check: Callable[[], str]) -> CheckResult:
    """Run one check. Any error becomes a failed result, so that the checks after it still run."""
    try:
        return CheckResult(name, True, check())
    except AdwarmError as error:
        return CheckResult(name, False, str(error))
    except Exception as error:
        return CheckResult(name, False, f"{type(error).__name__}; check the setting behind it")


def _check_objects(runtime: "Runtime") -> str:
    runtime.objects.check()
    return f"{runtime.objects.url} can be written"


def _check_log(runtime: "Runtime") -> str:
    from adwarm.access_log import log_span
    from adwarm.access_log.log_files import list_skipped

    first, last, events = log_span(runtime.log_url, runtime.settings)
    skipped = list_skipped(runtime.log_url, _SKIPPED_SHOWN)
    names = ", ".join(path for path, _ in skipped.samples)
    rest = f"; {skipped.count:,} files of the folder are skipped, such as {names}" if skipped.count else ""
    return f"{events:,} events from {first:%Y-%m-%d} to {last:%Y-%m-%d}{rest}"


def _check_forecast(runtime: "Runtime") -> str:
    from adwarm.forecast.snapshot import get_live_snapshot

    live = get_live_snapshot(runtime.engine)
    return f"{live.kind}, {live.keys:,} keys, trained until {live.trained_until:%Y-%m-%d %H:%M} UTC"


def _check_source(runtime: "Runtime") -> str:
    from adwarm.runtime import source_factory

    source = source_factory(runtime.settings)()
    first = next(iter(source.list_accounts()), None)
    return f"{source.name} responds; " + (f"first account {first.id}" if first else "it lists no account")


def _check_clock(runtime: "Runtime") -> str:
    from adwarm.prefetch.batch import MAX_CLOCK_OFFSET_SECONDS
    from adwarm.runtime import source_factory

    source = source_factory(runtime.settings)()
    next(iter(source.list_accounts()), None)  # the offset is known after the first response
    offset = source.clock_offset_seconds
    if offset is None:
        return f"{source.name} reports no time; this machine's clock is used"
    if abs(offset) > MAX_CLOCK_OFFSET_SECONDS:
        side = "behind" if offset > 0 else "ahead of"
        raise BadRequest(
            f"this machine's clock is {abs(offset) / 3600:.1f} h {side} the platform's; correct it: "
            "until then days settle by the platform's clock"
        )
    return f"within {abs(offset):.0f} s of the platform's"


def _check_zones(runtime: "Runtime") -> str:
    from adwarm.foundation.local_time import zone
    from adwarm.store import accounts

    known = accounts.get_many(runtime.engine).values()
    for account in known:
        zone(account.data_zone)
        zone(account.reader_zone)
    unverified = sum(not account.is_verified for account in known)
    return f"{len(known):,} accounts; the zone of {unverified:,} is a guess until their first fetch"
