"""Counts the opens of a log by report and hour of the reader's week, without a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adwarm.cli.output import print_json, print_table

if TYPE_CHECKING:
    import pandas as pd

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_BUSIEST = 5


def print_log_counts(log: str, limit: int, out: Path | None, *, as_json: bool) -> None:
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
        "no person opened anything",
    )


def _report_counts(frame: "pd.DataFrame", account_id: str, date_range: str, opens: int) -> dict[str, Any]:
    own = frame[(frame["account_id"] == account_id) & (frame["date_range"] == date_range)]
    busiest = own.nlargest(_BUSIEST, "opens")[["hour_of_week", "opens"]].to_dict("records")
    return {"account_id": account_id, "date_range": date_range, "opens": opens, "busiest": busiest}


def _format_hours(busiest: list[dict[str, int]]) -> str:
    return ", ".join(
        f"{_DAYS[row['hour_of_week'] // 24]} {row['hour_of_week'] % 24:02d}:00 ({row['opens']:,})" for row in busiest
    )
