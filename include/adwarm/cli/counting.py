"""Counts a log by itself: how often each report is opened in each hour of its reader's week, without any store."""

import heapq
from pathlib import Path
from typing import Any

from adwarm.cli.output import print_json, print_table

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_BUSIEST = 5


def print_log_counts(log: str, limit: int, out: Path | None, *, as_json: bool) -> None:
    """Count `log`, write the table to `out` if given, and print the most opened reports with their busiest hours."""
    from adwarm.patterns.hour_of_week import count_log, write_table
    from adwarm.settings import load_settings

    table = count_log(log, load_settings())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_table(table, out)
    rows = _most_opened(table, limit)
    if as_json:
        print_json({"reports": table.pair_count, "written_to": None if out is None else str(out), "most_opened": rows})
        return
    print_table(
        f"The most opened of {table.pair_count:,} reports, by the hour of the reader's week",
        ("account", "range", "opens", "busiest hours"),
        [(row["account_id"], row["date_range"], row["opens"], _format_hours(row["busiest"])) for row in rows],
        "no person opened anything",
    )


def _most_opened(table: Any, limit: int) -> list[dict[str, Any]]:
    """Return the reports with most opens; the table is read piece by piece, none of which cuts a report in two."""
    best: list[dict[str, Any]] = []
    for batch in table.batches():
        frame = batch.to_pandas()
        totals = frame.groupby(["account_id", "date_range"], observed=True)["opens"].sum().nlargest(limit)
        best += [_report_counts(frame, account, name, int(total)) for (account, name), total in totals.items()]
        best = heapq.nlargest(limit, best, key=lambda row: int(row["opens"]))
    return best


def _report_counts(frame: Any, account_id: str, date_range: str, opens: int) -> dict[str, Any]:
    own = frame[(frame["account_id"] == account_id) & (frame["date_range"] == date_range)]
    busiest = own.nlargest(_BUSIEST, "opens")[["hour_of_week", "opens"]].to_dict("records")
    return {"account_id": account_id, "date_range": date_range, "opens": opens, "busiest": busiest}


def _format_hours(busiest: list[dict[str, int]]) -> str:
    return ", ".join(
        f"{_DAYS[row['hour_of_week'] // 24]} {row['hour_of_week'] % 24:02d}:00 ({row['opens']:,})" for row in busiest
    )
