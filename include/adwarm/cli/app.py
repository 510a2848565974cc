"""The command line: registers the commands, and turns every error into one line and an exit code.

Commands import heavy packages inside their functions, so that `adwarm --help` starts fast.
"""

import sys
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console

from adwarm.cli import (
    accounts,
    actions,
    airflow,
    alerts,
    allow,
    backfill,
    cache,
    db,
    doctor,
    enqueue,
    errors,
    fatigue,
    get,
    log,
    maintain,
    notify_data,
    patterns,
    plan,
    replay,
    report,
    request,
    retry,
    review,
    serve,
    simulate,
    status,
    strategy,
    switch,
    token,
    trace,
    unpark,
    verify,
    warm,
)
from adwarm.cli.options import show_version
from adwarm.cli.output import print_error, print_unexpected_error, print_usage_error
from adwarm.foundation.errors import AdwarmError

app = typer.Typer(
    name="adwarm",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
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
    from adwarm.foundation.log_context import configure_logging
    from adwarm.settings import LogSettings, load_settings

    try:
        chosen = load_settings().log
    except AdwarmError:
        return
    if chosen != LogSettings():
        configure_logging(chosen.format, chosen.level)


app.command("warm")(warm.warm)
app.command("get")(get.get)
app.command("serve")(serve.serve)
app.command("enqueue")(enqueue.enqueue)
app.command("notify-data")(notify_data.notify_data)
app.add_typer(report.app, name="report")
app.command("request")(request.request)
app.command("retry")(retry.retry)
app.command("status")(status.status)
app.command("switch")(switch.switch)
app.command("trace")(trace.trace)
app.command("unpark")(unpark.unpark)
app.add_typer(actions.app, name="actions")
app.command("patterns")(patterns.patterns)
app.command("fatigue")(fatigue.fatigue)
app.command("verify")(verify.verify)
app.command("errors")(errors.errors)
app.add_typer(alerts.app, name="alerts")
app.command("maintain")(maintain.maintain)
app.add_typer(accounts.app, name="accounts")
app.command("allow")(allow.allow)
app.add_typer(backfill.app, name="backfill")
app.add_typer(cache.app, name="cache")
app.add_typer(db.app, name="db")
app.add_typer(plan.app, name="plan")
app.add_typer(strategy.app, name="strategy")
app.add_typer(log.app, name="log")
app.add_typer(token.app, name="token")
app.command("replay")(replay.replay)
app.add_typer(review.app, name="review")
app.command("simulate")(simulate.simulate)
app.add_typer(airflow.app, name="airflow")
app.command("doctor")(doctor.doctor)


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
        from adwarm.cli.crash_report import describe_unexpected_error

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
