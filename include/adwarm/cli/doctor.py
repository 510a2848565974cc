"""`adwarm doctor`: checks an installation."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json, print_table
from adwarm.cli.recovery_checks import check_recovery
from adwarm.cli.storage_checks import check_database, check_disk, list_disks
from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt

if TYPE_CHECKING:
    from adwarm.runtime import Runtime
    from adwarm.settings import SourceSettings
    from adwarm.sources.pool import SourceFactory

_LONGEST_LIST = timedelta(seconds=20)
"""How long the accounts of one connection are listed; with more, the count is a lower bound."""

_SKIPPED_SHOWN = 3
_SLOW_READ_SECONDS = 0.25


@dataclass
class CheckResult:
    """Result of one check: its name, whether it passed, details or what to fix, and whether to look at it anyway."""

    name: str
    ok: bool
    detail: str
    warning: bool = False

    @property
    def mark(self) -> str:
        """The first column of the table."""
        return "FIX" if not self.ok else "note" if self.warning else "ok"


def doctor(*, as_json: JsonOption = False) -> None:
    """Check settings, storage, disks, logs, forecast, connections, misses, clock, zones, tokens, recovery and alerts.

    Each line shows details or what to fix; a note is worth a look and no error. Exits with 1 when a check fails.
    """
    from adwarm.runtime import Runtime

    checks = [_run_check("settings", _check_settings)]
    if checks[0].ok:
        runtime = Runtime()
        checks += [
            _check_home(runtime),  # before the database, which creates the folder
            _run_check("database", lambda: check_database(runtime)),
            _run_check("object store", lambda: _check_objects(runtime)),
            *_check_disks(runtime),
            *_check_logs(runtime),
            _run_check("forecast", lambda: _check_forecast(runtime)),
            *_check_connections(runtime),
            _check_fetching(runtime),
            _run_check("clock", lambda: _check_clock(runtime)),
            _run_check("time zones", lambda: _check_zones(runtime)),
            _check_tokens(runtime),
            _run_check("recovery", lambda: check_recovery(runtime.settings)),
            *_check_alerts(runtime),
        ]
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        print_table("adwarm doctor", ("", "", ""), [(c.mark, c.name, c.detail) for c in checks])
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


def _check_settings() -> str:
    from adwarm.settings import load_settings

    load_settings()
    return "valid"


def _check_home(runtime: "Runtime") -> CheckResult:
    """Return the home with the rule that chose it, and a note when it may not be the one that was meant."""
    from adwarm.settings import home_choice

    home, choice, notes = runtime.settings.home, home_choice(), []
    if choice.is_relative:
        notes.append("it depends on the working folder; write an absolute path")
    if _is_used(runtime) and not (home.is_dir() and any(home.iterdir())):
        notes.append("it is new and empty; if you expected data, another process uses another home")
    left = Path.cwd() / ".adwarm"
    if (left / "adwarm.db").is_file() and not (home.exists() and left.samefile(home)):
        notes.append(f"{left} holds a database that is not used; set ADWARM_HOME to it, or move it")
    return CheckResult("home", True, "; ".join([f"{home}, {choice.rule}", *notes]), warning=bool(notes))


def _is_used(runtime: "Runtime") -> bool:
    """Whether database or objects are in the home."""
    return runtime.settings.database_url is None or runtime.settings.data_url is None


def _check_objects(runtime: "Runtime") -> str:
    """Return where the objects are, and behind a URL how long it takes to write and to read a small one.

    Raises:
        AdwarmError: they cannot be written or read; the message says what to do.
    """
    objects = runtime.objects
    objects.check()  # the first request also looks up the credentials and connects
    location = f"{objects.describe_root()} can be written"
    if objects.local_path is not None:
        return location
    write, read = objects.measure()
    times = f"{write * 1e3:.0f} ms to write and {read * 1e3:.0f} ms to read"
    slow = "; slow: use a bucket in the region of the workers" if read > _SLOW_READ_SECONDS else ""
    return f"{location}; a small object takes {times}, up to {objects.width} at once{slow}"


def _check_disks(runtime: "Runtime") -> list[CheckResult]:
    """Return the free space of each disk that is written to, and a note when there is little."""
    results = []
    for name, (path, setting) in list_disks(runtime).items():
        is_low = False

        def check(path: Path = path, setting: str = setting) -> str:
            nonlocal is_low
            detail, is_low = check_disk(path, setting)
            return detail

        result = _run_check(name, check)
        result.warning = is_low
        results.append(result)
    return results


def _check_logs(runtime: "Runtime") -> list[CheckResult]:
    """Check the user's access log and adwarm's own; there must be one that counts."""
    from adwarm.patterns.ingest.open_sources import OpenSources
    from adwarm.patterns.ingest.run import require_log

    url = runtime.settings.log_url
    try:
        require_log(runtime.context, OpenSources.load(runtime.context))
    except AdwarmError as error:
        return [CheckResult("access log", False, str(error))]
    except Exception as error:
        return [CheckResult("access log", False, f"{type(error).__name__}; check the database and the object store")]
    users = [_run_check("access log", lambda: _check_log(runtime, url))] if url else []
    return [*users, _run_check("open log", lambda: _check_open_log(runtime))]


def _check_open_log(runtime: "Runtime") -> str:
    from adwarm.access_log.open_files import OpenFiles

    files = OpenFiles(runtime.settings.data)
    days = files.list_days()
    choice = f"opens count from {runtime.settings.access_log.opens_from}"
    if not days:
        return f"no opens of the read API yet; {choice}"
    newest = files.list_files(days[-1:]).get(days[-1], ())
    return f"opens of the read API from {days[0]} to {days[-1]}, {len(newest):,} files on the last day; {choice}"


def _check_log(runtime: "Runtime", url: str) -> str:
    from adwarm.access_log import log_span
    from adwarm.access_log.log_files import list_skipped

    first, last, events = log_span(url, runtime.settings)
    skipped = list_skipped(url, _SKIPPED_SHOWN)
    names = ", ".join(path for path, _ in skipped.samples)
    rest = f"; {skipped.count:,} files of the folder are skipped, such as {names}" if skipped.count else ""
    return f"{events:,} events from {first:%Y-%m-%d} to {last:%Y-%m-%d}{rest}"


def _check_forecast(runtime: "Runtime") -> str:
    from adwarm.forecast.snapshot import find_live_problem, get_live_snapshot

    live = get_live_snapshot(runtime.engine)
    if (problem := find_live_problem(runtime.context)) is not None:
        raise Corrupt(
            f"the live forecast ({live.kind}) cannot be used: {problem}; an older one takes over, train a new one with "
            "the DAG adwarm_access_patterns"
        )
    return f"{live.kind}, {live.keys:,} keys, trained until {live.trained_until:%Y-%m-%d %H:%M} UTC"


def _check_connections(runtime: "Runtime") -> list[CheckResult]:
    """Check each connection: how many accounts it can read. Calls are made once, within seconds, under admission."""
    try:
        quick = _quick_runtime(runtime)
        sources = quick.source_factories()
    except AdwarmError as error:
        return [CheckResult("connection default", False, str(error))]
    return [
        _run_check(f"connection {name}", partial(_check_connection, quick, name, make_source))
        for name, make_source in sources.items()
    ]


def _quick_runtime(runtime: "Runtime") -> "Runtime":
    """Return a runtime with short timeouts, so that a platform that does not respond is noticed soon."""
    from adwarm.runtime import Runtime

    settings = runtime.settings

    def shorten(source: "SourceSettings") -> "SourceSettings":
        limits = {"read_timeout": min(source.read_timeout, 10.0), "call_timeout": min(source.call_timeout, 15.0)}
        return source.model_copy(update=limits)

    backpressure = settings.backpressure.model_copy(update={"timeout_seconds": 10.0})
    connections = {name: shorten(source) for name, source in settings.connections.items()}
    update = {"source": shorten(settings.source), "connections": connections, "backpressure": backpressure}
    return Runtime(settings.model_copy(update=update), runtime.clock)


def _check_connection(runtime: "Runtime", name: str, make_source: "SourceFactory") -> str:
    from adwarm.maintenance.account_changes import describe_error

    until = runtime.clock.now() + _LONGEST_LIST
    found = runtime.account_discovery(with_retries=False).read(name, make_source, until=until)
    if found.error is not None:
        raise BadRequest(describe_error(found.error))
    if not found.accounts:
        return "responds, and lists no account; assign ad accounts to the user of its token"
    problems = f"; {len(found.problems):,} need a look: {found.problems[0]}" if found.problems else ""
    count = f"at least {len(found.accounts):,}" if found.is_cut else f"{len(found.accounts):,}"
    noun = "account" if len(found.accounts) == 1 else "accounts"
    reasons = Counter(account.status_reason for account in found.accounts.values() if account.status_reason)
    notes = "; ".join(f"{number:,} {reason}" for reason, number in reasons.most_common(3))
    return f"{count} {noun}" + (f", {sum(reasons.values()):,} not simply active: {notes}" if reasons else "") + problems


def _check_fetching(runtime: "Runtime") -> CheckResult:
    """Return who fetches the misses of the read API, and a note when that is only the schedule of the DAG."""
    from adwarm.serving.drainers import describe_fetching

    found = describe_fetching(runtime.settings, runtime.source_factories)
    return CheckResult("misses", True, found.sentence, warning=found.mode == "waits")


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


def _check_tokens(runtime: "Runtime") -> CheckResult:
    """Return how many tokens of the read API are valid, and a note when a powerful one never expires."""
    from adwarm.model import TokenScope
    from adwarm.store import access_tokens

    eternal: list[str] = []

    def check() -> str:
        now = runtime.clock.now()
        tokens = [item.token for item in access_tokens.list_tokens(runtime.engine)]
        valid = [token for token in tokens if token.is_valid(now)]
        eternal.extend(t.id for t in valid if t.expires_at is None and t.allows(TokenScope.ADMIN))
        if not tokens:
            return "none; `adwarm token create` makes one for the read API"
        count = f"{len(valid):,} valid, {len(tokens) - len(valid):,} expired or revoked"
        if not eternal:
            return count
        return (
            f"{count}; with the scope admin and without expiry: {', '.join(eternal)}; replace them by ones that expire"
        )

    result = _run_check("tokens", check)
    result.warning = bool(eternal)
    return result


def _check_alerts(runtime: "Runtime") -> list[CheckResult]:
    """Check whether each channel of alerts can be loaded; no message is sent."""
    alerts, sender = runtime.settings.alerts, runtime.notice_sender
    if not alerts.enabled:
        return [CheckResult("alerts", True, "switched off (ADWARM_ALERTS__ENABLED)", warning=True)]
    if not alerts.channels:
        return [CheckResult("alerts", True, "only in the log; ADWARM_ALERTS__CHANNELS adds channels")]
    by_dag = "a notifier of Airflow: sent by tasks, which check it; `adwarm alerts test` queues a message"
    return [
        *(_run_check(f"alert channel {channel.name}", channel.check) for channel in sender.channels),
        *(CheckResult(f"alert channel {name}", True, by_dag) for name in sender.unusable),
    ]
