"""`adwarm fatigue`: the newest fatigue scores of an account."""

from typing import Annotated

import typer

from adwarm.cli.options import AccountArgument, JsonOption, parse_day
from adwarm.cli.output import print_json, print_table

_COLUMNS = (
    "ad_id",
    "ad_name",
    "status",
    "total",
    "creative",
    "audience",
    "algorithm",
    "data_quality",
    "trend_per_day",
)


def fatigue(
    account: AccountArgument,
    *,
    as_of: Annotated[str | None, typer.Option(help="Show the newest scores up to this day.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest fatigue scores of an account, the most fatigued ad first."""
    from adwarm.foundation.errors import NotFound
    from adwarm.model import normalize_account_id
    from adwarm.runtime import Runtime
    from adwarm.store import scores

    runtime = Runtime()
    account_id = normalize_account_id(account)
    rows = scores.list_latest(runtime.engine, account_id, parse_day(as_of) if as_of else None)
    if not rows:
        raise NotFound(f"{account_id} has no scores yet; run the DAG adwarm_daily_insights for it")
    if as_json:
        print_json([row.to_dict() for row in rows])
        return
    cells = [[getattr(row.score, name) for name in _COLUMNS] for row in rows]
    print_table(f"{account_id} on {rows[0].score.as_of}", _COLUMNS, cells)
