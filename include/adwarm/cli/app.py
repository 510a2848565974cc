"""Puts the commands together, and turns every error into one line and an exit code, whoever foresaw it or not.

Heavy rooms are imported inside the commands, so that `adwarm --help` answers at once.
"""

import sys

import typer
from rich.console import Console

from adwarm.cli import backfill, cache, care, db, queueing, reading, replay, running
from adwarm.cli.output import print_error, print_unexpected_error
from adwarm.foundation.errors import AdwarmError

app = typer.Typer(
    name="adwarm",
    help="Keeps ad dashboards warm: what will be opened, what is stored, what is limited, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("plan")(reading.plan)
app.command("warm")(running.warm)
app.command("get")(running.get)
app.command("enqueue")(queueing.enqueue)
app.command("status")(reading.status)
app.command("patterns")(reading.patterns)
app.command("fatigue")(reading.fatigue)
app.command("verify")(care.verify)
app.command("allow")(care.allow)
app.add_typer(backfill.app, name="backfill")
app.add_typer(cache.app, name="cache")
app.add_typer(db.app, name="db")
app.command("replay")(replay.replay)
app.command("simulate")(running.simulate)
app.command("doctor")(care.doctor)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except AdwarmError as error:
        print_error(Console(stderr=True), error, as_json="--json" in sys.argv)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from adwarm.cli.crash_report import describe_unexpected_error

        line, path = describe_unexpected_error(error)
        print_unexpected_error(Console(stderr=True), line, type(error).__name__, path, as_json="--json" in sys.argv)
        sys.exit(1)
