"""`adwarm doctor`: checks an installation.

Every check is one line, has a time limit and runs whatever the others found. Without a database, those that need it say
so and are left out.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.check_run import Check, CheckResult, Finding, run_check, run_checks
from adwarm.cli.connection_checks import (
    check_database_clock,
    check_fetching,
    check_fields,
    check_groups,
    check_platform,
    check_platform_clock,
    check_quota,
    check_tier,
    list_connection_checks,
)
from adwarm.cli.doctor_checks import (
    check_database,
    check_disk,
    check_rights,
    check_schema,
    check_stored_days,
    list_disks,
)
from adwarm.cli.errors import send_tests
from adwarm.cli.recovery_check import check_recovery
from adwarm.cli.schedule_checks import (
    check_log_age,
    check_open_alerts,
    check_read_api,
    check_switches,
    list_schedule_checks,
)
from adwarm.cli.terminal import JsonOption, print_json, print_lines, print_table
from adwarm.foundation.errors import Corrupt, NotFound

if TYPE_CHECKING:
    from adwarm.runtime import Runtime

_SKIPPED_SHOWN = 3
_SLOW_READ_SECONDS = 0.25


def doctor(
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only the check of this name, as listed; may be repeated.")
    ] = None,
    send_alert: Annotated[
        bool, typer.Option("--send-alert", help="Send a test message through each channel of alerts instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check settings, storage, disks, logs, forecast, connections, quotas, clocks, zones, DAGs, read API and alerts.

    Each line shows details or what to fix, with a command where there is one; a note is worth a look and no error; skip
    is a check that could not be made. Exits with 1 when one fails or is skipped, or a message of --send-alert.
    """
    if send_alert:
        send_tests(as_json=as_json)
        return
    results = _run_all(only or [])
    if as_json:
        print_json([result.to_dict() for result in results])
    elif sys.stdout.isatty():
        print_table("adwarm doctor", ("", "", ""), [(c.mark, c.name, c.detail) for c in results])
    else:  # whole lines, so that a search finds them
        print_lines((0, f"{c.mark:4}  {c.name}: {c.detail}") for c in results)
    if not all(result.ok for result in results):
        raise typer.Exit(1)


def _run_all(only: Sequence[str]) -> list[CheckResult]:
    """Run the checks, or those that are named; settings that are not valid end them in any case."""
    from adwarm.runtime import Runtime

    settings = run_check(Check("settings", _check_settings))
    if not settings.ok:
        return [settings]
    runtime = Runtime()
    home = run_check(Check("home", lambda: _check_home(runtime)))  # before the database, which creates the folder
    database = run_check(Check("database", lambda: check_database(runtime)))
    has_database = database.ok or _can_connect(runtime)
    first, others = [settings, home, database], _list_checks(runtime)
    names = [*(result.name for result in first), *(check.name for check in others)]
    if unknown := [name for name in only if name not in names]:
        raise NotFound(f"there is no check {unknown[0][:80]!r}; the checks are {', '.join(names)}")
    chosen = [check for check in others if not only or check.name in only]
    is_needed = not has_database and any(check.needs_database for check in chosen)
    shown = [
        result for result in first if not only or result.name in only or (is_needed and result.name == database.name)
    ]
    return [*shown, *run_checks(chosen, has_database=has_database)]


def _can_connect(runtime: "Runtime") -> bool:
    """Whether a database with something to fix, such as a damaged page, can be read all the same."""
    return run_check(Check("database", lambda: str(runtime.engine.dialect.name))).ok


def _list_checks(runtime: "Runtime") -> list[Check]:
    """Return the checks after settings, home and database, in the order in which they are shown."""

    def stored(name: str, check: Callable[["Runtime"], str | Finding]) -> Check:
        return Check(name, partial(check, runtime), needs_database=True)

    return [
        stored("schema", check_schema),
        stored("rights", check_rights),
        stored("stored days", check_stored_days),  # before the next check, which creates the folder
        Check("object store", lambda: _check_objects(runtime)),
        *_list_disk_checks(runtime),
        *_list_log_checks(runtime),
        Check("forecast", lambda: _check_forecast(runtime), needs_database=True, is_slow=True),
        *list_connection_checks(runtime),
        stored("fields", check_fields),
        stored("groups", check_groups),
        stored("platform", check_platform),
        stored("access tier", check_tier),
        stored("quota", check_quota),
        stored("misses", check_fetching),
        Check("clock", lambda: check_platform_clock(runtime)),
        stored("database clock", check_database_clock),
        stored("time zones", _check_zones),
        stored("tokens", _check_tokens),
        stored("switches", check_switches),
        *list_schedule_checks(runtime),
        Check("read API", lambda: check_read_api(runtime)),
        Check("recovery", lambda: check_recovery(runtime.settings)),
        stored("alerts", check_open_alerts),
        *_list_channel_checks(runtime),
    ]


def _check_settings() -> str:
    from adwarm.settings import load_settings

    load_settings()
    return "valid"


def _check_home(runtime: "Runtime") -> Finding:
    """Return the home with the rule that chose it, and a note when it may not be the one that was meant."""
    from adwarm.settings import home_choice

    home, choice, notes = runtime.settings.home, home_choice(), []
    if choice.is_relative:
        notes.append("it depends on the working folder; write an absolute path")
    if _is_used(runtime) and not (home.is_dir() and any(home.iterdir())):
        notes.append("it is new and empty; if you expected data, another process uses another home")
    if home.is_dir() and home.stat().st_mode & 0o077 and _is_used(runtime):
        notes.append(f"other users of this machine can read it; `chmod 700 {home}`")
    left = Path.cwd() / ".adwarm"
    if (left / "adwarm.db").is_file() and not (home.exists() and left.samefile(home)):
        notes.append(f"{left} holds a database that is not used; set ADWARM_HOME to it, or move it")
    return Finding("; ".join([f"{home}, {choice.rule}", *notes]), warning=bool(notes))


def _is_used(runtime: "Runtime") -> bool:
    """Whether database or objects are in the home."""
    return runtime.settings.database_url is None or runtime.settings.data_url is None


def _check_objects(runtime: "Runtime") -> str:
    """Return where the objects are, and behind a URL how long it takes to write and to read a small one."""
    objects = runtime.objects
    objects.check()  # the first request also looks up the credentials and connects
    location = f"{objects.describe_root()} can be written"
    if objects.local_path is not None:
        return location
    write, read = objects.measure()
    times = f"{write * 1e3:.0f} ms to write and {read * 1e3:.0f} ms to read"
    slow = "; slow: use a bucket in the region of the workers" if read > _SLOW_READ_SECONDS else ""
    return f"{location}; a small object takes {times}, up to {objects.width} at once{slow}"


def _check_open_log(runtime: "Runtime") -> str:
    from adwarm.foundation.wording import format_count
    from adwarm.store.open_files import OpenFiles

    files = OpenFiles(runtime.settings.data)
    days = files.list_days()
    choice = f"opens count from {runtime.settings.access_log.opens_from}"
    if not days:
        return f"no opens of the read API yet; {choice}"
    newest = files.list_files(days[-1:]).get(days[-1], ())
    count = format_count(len(newest), "file")
    return f"opens of the read API from {days[0]} to {days[-1]}, {count} on the last day; {choice}"


def _check_log(runtime: "Runtime", url: str) -> str:
    from adwarm.access_log import log_span
    from adwarm.access_log.log_files import list_skipped

    first, last, events = log_span(url, runtime.settings)
    skipped = list_skipped(url, _SKIPPED_SHOWN)
    names = ", ".join(path for path, _ in skipped.samples)
    rest = f"; {skipped.count:,} files of the folder are skipped, such as {names}" if skipped.count else ""
    return f"{events:,} events from {first:%Y-%m-%d} to {last:%Y-%m-%d}{rest}"


def _check_forecast(runtime: "Runtime") -> str:
    from adwarm.forecast.snapshot import find_live_problem
    from adwarm.store.snapshots import get_live_snapshot

    live = get_live_snapshot(runtime.engine)
    if (problem := find_live_problem(runtime.context)) is not None:
        raise Corrupt(
            f"the live forecast ({live.kind}) cannot be used: {problem}; an older one takes over, train a new one with "
            "the DAG adwarm_access_patterns"
        )
    return f"{live.kind}, {live.keys:,} keys, trained until {live.trained_until:%Y-%m-%d %H:%M} UTC"


def _check_zones(runtime: "Runtime") -> str | Finding:
    from adwarm.foundation.local_time import zone
    from adwarm.foundation.wording import format_count, format_some
    from adwarm.store import accounts, zone_changes

    stored = accounts.get_many(runtime.engine).values()
    for account in stored:
        zone(account.data_zone)
        zone(account.reader_zone)
    unverified = sum(not account.is_verified for account in stored)
    guessed = f"; the zone of {unverified:,} is a guess until their first fetch" if unverified else ""
    text = f"{format_count(len(stored), 'account')}{guessed}"
    former = zone_changes.list_former_days(runtime.engine)
    if not former:
        return text
    named = format_some([f"{item.account_id}, {item.days:,} from {item.first} to {item.last}" for item in former], 3)
    return Finding(
        f"{text}; days are counted in a former time zone of their account: {named}; those that are not final are "
        "fetched again by the next warm",
        warning=True,
    )


def _list_disk_checks(runtime: "Runtime") -> list[Check]:
    """Return a check of the free space of each disk that is written to."""

    def check(path: Path, setting: str) -> Finding:
        return Finding(*check_disk(path, setting))

    return [Check(name, partial(check, *disk)) for name, disk in list_disks(runtime).items()]


def _list_log_checks(runtime: "Runtime") -> list[Check]:
    """Return the checks of the user's access log and of adwarm's own; there must be one that counts."""
    missing = Check("access log", lambda: _require_log(runtime), needs_database=True)
    if not run_check(missing).ok:
        return [missing]
    url = runtime.settings.access_log.url
    users = [Check("access log", lambda: _check_log(runtime, url), needs_database=True, is_slow=True)] if url else []
    own = Check("open log", lambda: _check_open_log(runtime))
    return [*users, own, Check("log age", lambda: check_log_age(runtime), needs_database=True)]


def _require_log(runtime: "Runtime") -> str:
    from adwarm.patterns.ingest.open_days import OpenSources
    from adwarm.patterns.ingest.run import require_log

    require_log(runtime.context, OpenSources.load(runtime.context))
    return "there is one"


def _check_tokens(runtime: "Runtime") -> Finding:
    """Return how many tokens of the read API are valid, and a note when a powerful one never expires."""
    from adwarm.model import TokenScope
    from adwarm.store import access_tokens

    now = runtime.clock.now()
    tokens = [item.token for item in access_tokens.list_tokens(runtime.engine)]
    valid = [token for token in tokens if token.is_valid(now)]
    eternal = [token.id for token in valid if token.expires_at is None and token.allows(TokenScope.ADMIN)]
    if not tokens:
        return Finding("none; `adwarm token create` makes one for the read API")
    count = f"{len(valid):,} valid, {len(tokens) - len(valid):,} expired or revoked"
    if not eternal:
        return Finding(count)
    names = ", ".join(eternal)
    return Finding(
        f"{count}; with the scope admin and without expiry: {names}; replace them by ones that expire", warning=True
    )


def _list_channel_checks(runtime: "Runtime") -> list[Check]:
    """Return a check for each channel of alerts: whether it can be loaded. No message is sent."""
    alerts = runtime.settings.alerts
    if not alerts.enabled:
        return [Check("alert channels", lambda: Finding("switched off (ADWARM_ALERTS__ENABLED)", warning=True))]
    if not alerts.channels:
        only_log = "only the log, where nobody may look; ADWARM_ALERTS__CHANNELS adds channels"
        return [Check("alert channels", lambda: Finding(only_log, warning=True))]
    return [
        Check(f"alert channel {channel.name}", partial(_check_channel, runtime, channel.name), needs_database=True)
        for channel in alerts.channels
    ]


def _check_channel(runtime: "Runtime", name: str) -> str:
    channel = next((item for item in runtime.notice_sender.channels if item.name == name), None)
    if channel is None:
        return "a notifier of Airflow: sent by tasks, which check it; `adwarm doctor --send-alert` queues a message"
    return channel.check()
