"""The command line: registers the commands, and turns every error into one line and an exit code.

Commands import heavy packages inside their functions, so that `adwarm --help` starts fast.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from adwarm.cli import (
    accounts,
    airflow,
    backfill,
    cache,
    db,
    doctor,
    errors,
    fatigue,
    gate,
    get,
    learn,
    log,
    maintain,
    patterns,
    plan,
    replay,
    report,
    serve,
    status,
    strategy,
    token,
    warm,
)
from adwarm.cli.terminal import print_error, print_unexpected_error, print_usage_error, show_version
from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.home import make_private_folder
from adwarm.foundation.redaction import describe_traceback, redact

_MAX_MESSAGE_CHARS = 300
_MAX_LINES = 4_000


def describe_unexpected_error(error: Exception) -> tuple[str, Path | None]:
    """Return one line about `error`, without secrets, and the file that holds its traceback.

    The file is in the folder `errors` of the home, else in the folder of temporary files; None when neither can be
    written to.
    """
    summary = " ".join(redact(f"{type(error).__name__}: {error}").split())
    summary = summary if len(summary) <= _MAX_MESSAGE_CHARS else f"{summary[: _MAX_MESSAGE_CHARS - 1]}…"
    try:
        path = _write_traceback(error)
    except OSError as failure:
        return f"unexpected error {summary}; its traceback could not be written ({type(failure).__name__})", None
    return f"unexpected error {summary}; its traceback is in {path}, please report it", path


def _write_traceback(error: Exception) -> Path:
    now = SystemClock().now()
    lines = describe_traceback(error)
    head = [f"{now:%Y-%m-%d %H:%M:%S} UTC, adwarm {redact(' '.join(sys.argv[1:]))}", ""]
    name = f"error-{now:%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    text = "\n".join([*head, *lines[-_MAX_LINES:]]) + "\n"
    try:
        return _write_private_file(_errors_folder(), name, text)
    except OSError:  # a home that cannot be written to may be the cause of the error
        return _write_private_file(Path(tempfile.gettempdir()), f"adwarm-{name}", text)


def _errors_folder() -> Path:
    from adwarm.settings import load_settings

    try:
        return load_settings().home / "errors"
    except AdwarmError:
        return Path(tempfile.gettempdir()) / "adwarm-errors"


def _write_private_file(folder: Path, name: str, text: str) -> Path:
    make_private_folder(folder)
    path = folder / name
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
    return path


COMMANDS: dict[str, dict[str, tuple[Callable[..., None] | typer.Typer, str]]] = {
    "Read": {
        "get": (get.get, "Print a report as a reader gets it, from the store."),
        "serve": (serve.serve, "Serve reports over HTTP."),
        "patterns": (patterns.patterns, "When reports are opened: heat map, peak hours."),
        "fatigue": (fatigue.fatigue, "Which ads wear out, and what to do."),
        "score": (learn.score, "Score an account's ads now, from stored days."),
        "report": (report.app, "Queries of reports; switch to a changed one; SQL."),
    },
    "Warm": {
        "plan": (plan.plan, "What is warmed next, or why a report was not warm."),
        "warm": (warm.warm, "Fetch reports now, by the queue, or again."),
        "strategy": (strategy.app, "Keep named reports warm on a schedule."),
        "backfill": (backfill.app, "Fetch historical days, and their cost first."),
        "notify-data": (backfill.notify_data, "Say that data of an account arrived or changed."),
    },
    "Inspect": {
        "status": (status.status, "What is stored, queued, limited; or follow an id."),
        "doctor": (doctor.doctor, "Check the installation, and what to fix."),
        "errors": (errors.errors, "Failed calls, and the alerts that they raised."),
        "digest": (errors.digest, "The week in one message: warmth, cost, what to do."),
        "review": (replay.review, "Weekly reviews of the forecast in use."),
        "replay": (replay.replay, "What warming would have done on a past log."),
    },
    "Operate": {
        "gate": (gate.app, "What is not called now; call it again; the switches."),
        "accounts": (accounts.app, "List, discover and set accounts."),
        "token": (token.app, "Tokens of the read API."),
    },
    "Store": {
        "cache": (cache.app, "What is stored for readers; delete some of it."),
        "maintain": (maintain.maintain, "Run the steps of maintenance."),
        "verify": (maintain.verify, "Check what is stored against its checksums."),
        "db": (db.app, "Upgrade, downgrade or reset the database."),
    },
    "Set up": {
        "log": (log.app, "Check whether an access log can be read."),
        "learn": (learn.learn, "Learn from an access log now: read it and train."),
        "airflow": (airflow.app, "Add the DAGs to an installed Airflow."),
        "simulate": (serve.simulate, "Run a simulated ad platform."),
    },
}
"""Every command by the panel of the help that lists it, the most used first, with its line there."""


class OrderedGroup(TyperGroup):
    """The commands in the order in which `COMMANDS` lists them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return [name for panel in COMMANDS.values() for name in panel]


app = typer.Typer(
    name="adwarm",
    cls=OrderedGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def adwarm(
    *,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keeps ad dashboards warm: what will be opened, what is stored, what is limited, and why."""
    del version  # its callback has acted
    _configure_logging()


def _configure_logging() -> None:
    """Write log lines as the settings say; by default as Python does. What is wrong with settings the command says."""
    from adwarm.foundation.redaction import configure_logging
    from adwarm.settings import LogSettings, load_settings

    try:
        chosen = load_settings().log
    except AdwarmError:
        return
    if chosen != LogSettings():
        configure_logging(chosen.format, chosen.level)


for _panel, _commands in COMMANDS.items():
    for _name, (_command, _line) in _commands.items():
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, short_help=_line, rich_help_panel=_panel)
        else:
            app.command(_name, short_help=_line, rich_help_panel=_panel)(_command)


UsageError: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]  # typer publishes no base class
"""What typer raises for a command line that it cannot read."""


def main() -> None:
    """Run the command line, and send the notices of alerts before the process ends.

    Exit codes: 0 done, 1 an error or an incomplete result, 2 wrong usage, 130 interrupted.
    """
    as_json = "--json" in sys.argv
    try:
        sys.exit(app(standalone_mode=False))
    except UsageError as error:
        sys.exit(print_usage_error(error, as_json=as_json))
    except AdwarmError as error:
        print_error(Console(stderr=True), error, as_json=as_json)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        line, path = describe_unexpected_error(error)
        print_unexpected_error(Console(stderr=True), line, type(error).__name__, path, as_json=as_json)
        sys.exit(1)
    finally:
        _flush_notices()


def _flush_notices() -> None:
    """Send what is due if the command has opened a database; importing the sender takes too long for the others."""
    delivery = sys.modules.get("adwarm.recovery.alert_delivery")
    if delivery is not None:
        with suppress(KeyboardInterrupt):  # ends the wait; the next process sends the rest
            delivery.flush_notices()
