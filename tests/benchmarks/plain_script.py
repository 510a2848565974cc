"""What somebody writes in an afternoon: requests, orjson, Parquet, zstd and one upsert a report, without any guarantee.

`python -m tests.benchmarks.plain_script URL FOLDER FIELDS` runs in a process of its own, with Python's defaults. Each
line of its input is a day: an object with `now` and `reports`, lists of account, name, since and until. It answers each
with the CPU seconds that the day took.
"""

import sqlite3
import sys
import time
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import requests
import zstandard


def fetch(session: requests.Session, url: str, fields: str, since: str, until: str) -> list[dict[str, object]]:
    """Return the daily rows of an account's ads; `url` is that of its insights."""
    parameters: dict[str, str] | None = {
        "level": "ad",
        "fields": fields,
        "time_range": orjson.dumps({"since": since, "until": until}).decode(),
        "time_increment": "1",
        "limit": "500",
        "access_token": "simulated-token",
    }
    rows: list[dict[str, object]] = []
    while url:
        answer = session.get(url, params=parameters, timeout=30)
        answer.raise_for_status()
        page = orjson.loads(answer.content)
        rows += page["data"]
        url, parameters = page.get("paging", {}).get("next", ""), None
    return rows


def store(database: sqlite3.Connection, folder: Path, name: str, rows: list[dict[str, object]], now: str) -> None:
    """Write the rows as Parquet and as a compressed document, and record them."""
    columns = {name: [str(row.get(name)) for row in rows] for name in sorted({name for row in rows for name in row})}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet", compression="zstd")
    body = zstandard.ZstdCompressor(level=3).compress(orjson.dumps(columns))
    with database:
        database.execute(
            "INSERT INTO entry VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
            (name, body, now),
        )


def main(url: str, folder: Path, fields: str) -> None:
    """Fetch and store the reports of each day that the input names."""
    session, database = requests.Session(), sqlite3.connect(folder / "plain.sqlite")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE entry (key TEXT PRIMARY KEY, body BLOB, fetched_at TEXT)")
    for line in sys.stdin:
        day, started = orjson.loads(line), time.process_time()
        for account, name, since, until in day["reports"]:
            rows = fetch(session, f"{url}/v25.0/{account}/insights", fields, since, until)
            store(database, folder, f"{account}-{name}", rows, day["now"])
        print(time.process_time() - started, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
