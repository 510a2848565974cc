"""The command line: lists the commands, and turns every error into one line and an exit code.

The module of a command is imported when the command runs or prints its help; commands import heavy packages inside
their functions. A test holds what `--help`, `get` and `status` load.
"""

import atexit
import gc
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from adwarm.cli.terminal import print_error, print_unexpected_error, print_usage_error, show_version
from adwarm.foundation.clock import SystemClock, bound_waits_together
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.redaction import describe_traceback, redact

_MAX_MESSAGE_CHARS = 300
_MAX_LINES = 4_000
_MARKUP: Final = "markdown"
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Read": {
        "get": ("get.get", "Print a report as a reader gets it, from the store."),
        "serve": ("serve.serve", "Serve reports over HTTP."),
        "patterns": ("patterns.patterns", "When reports are opened: heat map, peak hours."),
        "fatigue": ("fatigue.fatigue", "Which ads wear out, and what to do; score them now."),
        "report": ("report.app", "Queries of reports; switch to a changed one; SQL."),
    },
    "Warm": {
        "plan": ("plan.plan", "What is warmed next, or why a report was not warm."),
        "warm": ("warm.warm", "Fetch reports now, by the queue, or again."),
        "strategy": ("strategy.app", "Keep named reports warm on a schedule."),
        "backfill": ("backfill.app", "Fetch historical days, and their cost first."),
        "notify-data": ("backfill.notify_data", "Say that data of an account arrived or changed."),
    },
    "Inspect": {
        "status": ("status.status", "What is stored, queued, limited; the week; an id."),
        "doctor": ("doctor.doctor", "Check the installation, and what to fix."),
        "errors": ("errors.errors", "Failed calls, and the alerts that they raised."),
        "review": ("replay.review", "Weekly reviews of the forecast in use."),
        "replay": ("replay.replay", "What warming would have done on a past log."),
    },
    "Operate": {
        "gate": ("gate.app", "What is not called now; call it again; the switches."),
        "accounts": ("accounts.app", "List, discover and set accounts."),
        "token": ("token.app", "Tokens of the read API."),
    },
    "Store": {
        "cache": ("cache.app", "What is stored for readers; delete some of it."),
        "maintain": ("maintain.maintain", "Run the steps of maintenance; check all checksums."),
        "db": ("db.app", "Upgrade or reset the database."),
    },
    "Set up": {
        "log": ("log.app", "Check whether an access log can be read."),
        "learn": ("learn.learn", "Learn from an access log now: read it and train."),
        "airflow": ("airflow.app", "Add the DAGs to an installed Airflow."),
        "simulate": ("serve.simulate", "Run a simulated ad platform."),
    },
}
"""Every command by the panel of the help that lists it, the most used first: where it is, and its line there."""
UsageError: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]  # typer publishes no base class
"""What typer raises for a command line that it cannot read."""


def describe_value(param: Any, _: Any = None) -> str:
    """Return what help writes for a value, such as `FILE`: nothing for a flag or an argument, whose name says it."""
    if param.param_type_name == "argument" or param.is_flag:
        return ""
    return {int: "N", float: "N", Path: "FILE"}.get(param.type_descriptor.annotation, "TEXT")


for _kind in (TyperArgument, TyperOption):
    _kind.display_type = describe_value  # type: ignore[assignment, method-assign]  # typer would write the type of Python


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
    path = _errors_folder() / name
    try:
        make_private_folder(path.parent)
        write_private_file(path, text.encode())
    except OSError:  # a home that cannot be written to may be the cause of the error
        path = Path(tempfile.gettempdir()) / f"adwarm-{name}"
        write_private_file(path, text.encode())
    return path


def _errors_folder() -> Path:
    from adwarm.settings import load_settings

    try:
        return load_settings().home / "errors"
    except AdwarmError:
        return Path(tempfile.gettempdir()) / "adwarm-errors"


class LazyCommands(Mapping[str, Any]):
    """The commands of `COMMANDS` by name, in that order; the module of one is imported when it is taken out."""

    def __getitem__(self, name: str) -> Any:
        """Return a command as typer builds it.

        Raises:
            KeyError: there is no such command.
        """
        for panel, commands in COMMANDS.items():
            if name in commands:
                (module, _, attribute), line = commands[name][0].partition("."), commands[name][1]
                return _build_command(name, getattr(import_module(f"adwarm.cli.{module}"), attribute), line, panel)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return (name for commands in COMMANDS.values() for name in commands)

    def __len__(self) -> int:
        """Return the number of commands."""
        return sum(map(len, COMMANDS.values()))


def _build_command(name: str, value: Any, line: str, panel: str) -> Any:
    group = typer.Typer(rich_markup_mode=_MARKUP)
    if isinstance(value, typer.Typer):
        group.add_typer(value, name=name, short_help=line, rich_help_panel=panel)
    else:
        group.command(name, short_help=line, rich_help_panel=panel)(value)
    return typer.main.get_group(group).commands[name]


class LazyGroup(TyperGroup):
    """A group that lists its commands by what `COMMANDS` says of them, and imports the module of the one that runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = LazyCommands()  # type: ignore[assignment]  # nothing adds a command

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return what help and completion show of a command; None when there is none."""
        for panel, commands in COMMANDS.items():
            if cmd_name in commands:
                return TyperCommand(cmd_name, short_help=commands[cmd_name][1], rich_help_panel=panel)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and further words of a command line."""
        name, _, words = super().resolve_command(ctx, args)
        return name, None if name is None else self.commands[name], words


app = typer.Typer(
    name="adwarm",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=_MARKUP,
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


def main() -> None:
    """Run the command line, and send the notices of alerts before the process ends.

    Exit codes: 0 done, 1 an error or an incomplete result, 2 wrong usage, 130 interrupted.
    """
    atexit.register(gc.freeze)  # else the last garbage collection takes a quarter of the time of `get`
    as_json = "--json" in sys.argv
    bound_waits_together()
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
