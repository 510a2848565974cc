"""`adwarm learn`: what the DAGs learn from a log."""

import shlex
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from adwarm.cli.terminal import AtOption, JsonOption, clock_at, print_json, print_note
from adwarm.foundation.errors import NotFound
from adwarm.foundation.wording import format_count


def learn(
    log: Annotated[
        str | None, typer.Argument(help="File, folder, glob or URL; default: the log in the settings.")
    ] = None,
    *,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read what is new in a log, store its patterns, and train the forecast on the opens up to its end."""
    from adwarm.access_log.formats import describe_path_pattern
    from adwarm.forecast.training.train import train_and_promote
    from adwarm.patterns.access_profiles import update_patterns
    from adwarm.patterns.ingest.run import ingest
    from adwarm.runtime import Runtime
    from adwarm.settings import load_settings
    from adwarm.store import aggregates, read_transaction

    settings, clock = load_settings(), clock_at(at)
    configured = settings.access_log.url
    if log is not None:
        access_log = settings.access_log.model_copy(update={"url": log})
        settings = settings.model_copy(update={"access_log": access_log})
    runtime, now = Runtime(settings, clock), clock.now()
    read = ingest(runtime.context, now)
    if not as_json:
        print_note(str(read))
    with read_transaction(runtime.engine) as connection:
        newest = aggregates.find_newest_hour(connection)
    if newest is None or (not read.opens and (read.rejected or read.ignored)):  # opens of another log are no result
        hint = describe_path_pattern(read.ignored, read.unmatched_paths, settings.access_log.pattern)
        raise NotFound(
            f"no open was read{f': {hint}' if hint else ''}; `adwarm log check {log or ''}` says what to set"
        )
    until = min(now, newest + timedelta(hours=1))
    patterns = update_patterns(runtime.context, until, now, force=True)
    figures = train_and_promote(runtime.context, until, now)
    if as_json:
        print_json({"events": read.events, "opens": read.opens, "rejected": read.rejected, "trained_until": until}
                   | {"accounts": patterns.accounts, "forecast": figures})  # fmt: skip
        return
    typer.echo(
        f"trained on {figures['first_opens']:,} first opens of {format_count(figures['keys'], 'report')} up to "
        f"{until:%Y-%m-%d %H:%M} UTC; the forecast {figures['kind']} is live: {figures['why']}"
    )
    print_note("`adwarm patterns` shows when reports are opened, `adwarm plan` what is warmed next")
    if log is not None and log != configured:
        url = log if "://" in log else str(Path(log).expanduser().absolute())
        print_note(f"set ADWARM_ACCESS_LOG__URL={shlex.quote(url)} to go on learning from it")
