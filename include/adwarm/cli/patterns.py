"""`adwarm patterns`: when reports are opened, from the stored aggregates or from one log."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_fields, print_json, print_table

if TYPE_CHECKING:
    import pandas as pd

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_BUSIEST_HOURS = 5
_MAX_LIST_ITEMS = 12


def patterns(
    log: Annotated[str | None, typer.Argument(help="Count only this log: file, folder, glob or URL.")] = None,
    *,
    days: Annotated[int, typer.Option(help="Days to look at, back from the last hour read.", min=1)] = 56,
    out: Annotated[Path | None, typer.Option(help="With a log: write its table to this Parquet file.")] = None,
    limit: Annotated[int, typer.Option(help="With a log: reports to show.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show when reports are opened: peak and quiet hours, the week, popular ranges.

    With a log, count its opens by report and hour of the reader's week; all days count and nothing is stored.
    """
    if log is None:
        _print_profile(days, as_json=as_json)
    else:
        _print_log_counts(log, limit, out, as_json=as_json)


def _print_profile(days: int, *, as_json: bool) -> None:
    from adwarm.foundation.errors import NotFound
    from adwarm.patterns.load_slots import load_slots
    from adwarm.patterns.profile import build_profile
    from adwarm.runtime import Runtime
    from adwarm.store import aggregates, read_transaction

    runtime = Runtime()
    with read_transaction(runtime.engine) as connection:
        hours = aggregates.list_hours(connection)
    if not hours:
        raise NotFound("no access log has been read yet; run the DAG adwarm_access_patterns")
    until = max(row.hour for row in hours) + timedelta(hours=1)
    since = until - timedelta(days=days)
    fields = build_profile(load_slots(runtime.context, since, until)).to_dict()
    if as_json:
        print_json(fields)
        return
    title = f"Opens in the {days} days before {until:%Y-%m-%d %H:%M} UTC"
    print_fields(title, {name: _shorten(value) for name, value in fields.items()})


def _shorten(value: object) -> object:
    if not isinstance(value, list):
        return value
    rest = len(value) - _MAX_LIST_ITEMS
    items = ", ".join(str(item) for item in value[:_MAX_LIST_ITEMS])
    return items + (f" and {rest} more" if rest > 0 else "") if value else "none"


def _print_log_counts(log: str, limit: int, out: Path | None, *, as_json: bool) -> None:
    """Count `log`, write the counts to `out` if given, and print the most opened reports with their busiest hours."""
    import pyarrow.parquet as pq

    from adwarm.patterns.hour_of_week import count_log
    from adwarm.settings import load_settings

    counts = count_log(log, load_settings())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(counts, out, compression="zstd")
    frame = counts.to_pandas()
    totals = frame.groupby(["account_id", "date_range"], observed=True)["opens"].sum()
    rows = [
        _report_counts(frame, account, name, int(total)) for (account, name), total in totals.nlargest(limit).items()
    ]
    if as_json:
        print_json({"reports": len(totals), "written_to": None if out is None else str(out), "most_opened": rows})
        return
    print_table(
        f"The most opened of {len(totals):,} reports, by the hour of the reader's week",
        ("account", "range", "opens", "busiest hours"),
        [(row["account_id"], row["date_range"], row["opens"], _format_hours(row["busiest"])) for row in rows],
        "the log holds no open by a human",
    )


def _report_counts(frame: "pd.DataFrame", account_id: str, date_range: str, opens: int) -> dict[str, Any]:
    own = frame[(frame["account_id"] == account_id) & (frame["date_range"] == date_range)]
    busiest = own.nlargest(_BUSIEST_HOURS, "opens")[["hour_of_week", "opens"]].to_dict("records")
    return {"account_id": account_id, "date_range": date_range, "opens": opens, "busiest": busiest}


def _format_hours(busiest: list[dict[str, int]]) -> str:
    return ", ".join(
        f"{_DAYS[row['hour_of_week'] // 24]} {row['hour_of_week'] % 24:02d}:00 ({row['opens']:,})" for row in busiest
    )
