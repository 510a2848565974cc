"""`adwarm notify-data`: says that data of an account has arrived at the source, or was restated there."""

from typing import Annotated

import typer

from adwarm.cli.options import AccountArgument, JsonOption, parse_timestamp
from adwarm.cli.output import print_json


def notify_data(
    account: AccountArgument,
    *,
    days: Annotated[str, typer.Option("--days", help="One day, or the first and the last: 2026-11-01..2026-11-24.")],
    arrived: Annotated[
        str | None, typer.Option("--arrived", help="When the data was there (ISO 8601); default: now.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say that data of an account has arrived or changed; it is fetched again, and warmed where opens are expected.

    The reports that contain a day are no longer fresh. The next run of adwarm_intelligent_warming warms those that are
    likely to be opened, within its budget. Days that were fetched after the data had arrived are left as they are.
    """
    from adwarm.planning.data_arrival import Reporter
    from adwarm.planning.data_arrival import notify_data as notify
    from adwarm.runtime import Runtime

    runtime = Runtime()
    at = parse_timestamp(arrived, "--arrived") if arrived else None
    notice = notify(runtime.context, account, days, now=runtime.clock.now(), by=Reporter("cli"), arrived_at=at)
    if as_json:
        print_json(notice.to_dict())
    else:
        typer.echo(str(notice))
