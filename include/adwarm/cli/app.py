"""The command line: registers the commands, and turns every error into one line and an exit code.

Commands import heavy packages inside their functions, so that `adwarm --help` starts fast.
"""

import sys

import typer
from rich.console import Console

from adwarm.cli import (
    allow,
    backfill,
    cache,
    db,
    doctor,
    enqueue,
    fatigue,
    get,
    patterns,
    plan,
    replay,
    review,
    simulate,
    status,
    verify,
    warm,
)
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
app.command("plan")(plan.plan)
app.command("warm")(warm.warm)
app.command("get")(get.get)
app.command("enqueue")(enqueue.enqueue)
app.command("status")(status.status)
app.command("patterns")(patterns.patterns)
app.command("fatigue")(fatigue.fatigue)
app.command("verify")(verify.verify)
app.command("allow")(allow.allow)
app.add_typer(backfill.app, name="backfill")
app.add_typer(cache.app, name="cache")
app.add_typer(db.app, name="db")
app.command("replay")(replay.replay)
app.add_typer(review.app, name="review")
app.command("simulate")(simulate.simulate)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 an error or an incomplete result, 2 wrong usage, 130 interrupted."""
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
