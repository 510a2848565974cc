"""Bytes and time of a report: columns beside rows, codec by codec; a returning reader; parsing by its clients; and that
every row comes back as it was sent.

The rows are the simulator's: 50 KB, 1 MB (50 ads, 30 days) and 10 MB (more ads). Both forms have the same header. Times
include transposition and JSON for columns, and exclude JSON for rows.

All codecs run in turns in one process, with the garbage collector on, and the median counts. Targets compare CPU times:
on a busy machine a long call waits for the processor more often than a short one, which makes wall times favor the
columns. Both are in the results.

Restated days are those of the simulated platform, fetched at noon of two days in a row: in the two newest days all
figures change, since delivery is stated in full after three days; in the six before, 11 % of the action values.
"""

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from operator import ne
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import brotli
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from adwarm.compression.document import Shape, encode_document, render_shape
from adwarm.compression.envelope import encode
from adwarm.model import ColumnTable, Row
from adwarm.model.keys import DEFAULT_FIELDS
from adwarm.settings import CompressionSettings
from adwarm.store.partition_rows import in_order, pack_rows, unpack_rows
from adwarm_client.document import Document, Header, QueryFields
from tests.benchmarks.measure import print_table, sized
from tests.benchmarks.parse_time import parse_times, row_object_times
from tests.benchmarks.report_rows import FIELDS, UNTIL, noon_after, simulated_rows
from tests.benchmarks.targets import TargetResults

DAYS = sized(30, 10)
ADS = {"1 MB": sized(50, 2), "10 MB": sized(350, 3)}
"""Ads of the larger reports."""
LEVEL = CompressionSettings().get_level("zstd")
LEVELS = (3, 5, 6, 7, 9, 12)
"""zstd levels that are compared for columns; the default is one of them."""
BYTES = {"50 KB": 0.5, "1 MB": 0.32, "10 MB": 0.32}
"""Largest size of a report, as a share of brotli-11's bytes of its rows."""
TIME = 1 / 200
"""Longest time, as a share of brotli-11's."""
ROUNDS = sized({"50 KB": 15, "1 MB": 3, "10 MB": 2}, dict.fromkeys(BYTES, 1))
"""How often each codec runs; a call of less than a second runs three times as often."""
PARSE_TIME = 1 / 4
STORED = sized(((20, 30), (200, 28)), ((2, 5),))
STORED_BYTES = 0.35
"""Largest size of a report with the default fields, as a share of brotli-11's bytes of its rows."""
EQUAL = sized((350, 30, 10), (3, 10, 1))
"""Ads, days and spans whose rows are compared with what was sent: 100,000 rows."""
RECORDED = Path(__file__).resolve().parents[2] / "clients/typescript/tests/ratios.json"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """The size of a result, and the median seconds of CPU and of the clock that it took."""

    size: int
    cpu: float
    wall: float


def payload() -> bytes:
    """Return the rows of the report of about a megabyte as a page of the platform."""
    return orjson.dumps({"data": simulated_rows(ADS["1 MB"], UNTIL - timedelta(days=DAYS - 1), UNTIL)})


def make_document(rows: Sequence[Row], until: date = UNTIL) -> Document:
    """Return the document of a report with these daily rows."""
    at = noon_after(until)
    query = QueryFields("0123456789ab", "ad", tuple(FIELDS.split(",")))
    since = until - timedelta(days=DAYS - 1)
    header = Header(
        account_id="act_1",
        date_range="last_30d",
        report="default",
        since=since,
        until=until,
        time_zone="UTC",
        currency="USD",
        query=query,
        source="meta",
        api_version="v26.0",
        fetched_at=at,
        days_fetched_at=at,
        complete=True,
        settled=False,
        data_version=3,
        missing=None,
    )
    return Document(header, None, ColumnTable.from_rows(rows))


def encode_rows(document: Document) -> bytes:
    """Return the row JSON of a document."""
    return render_shape(encode_document(document), Shape.ROWS)


def encode_columns(rows: Sequence[Row]) -> bytes:
    """Transpose rows, and return the stored document."""
    return encode_document(make_document(rows))


def measure(calls: Mapping[str, Callable[[], bytes]], rounds: int) -> dict[str, Measured]:
    """Return the sizes and times of calls that run in turns."""
    sizes: dict[str, int] = {}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(3):
                cpu, wall = process_time(), perf_counter()
                sizes[name] = len(call())
                times[name].append((process_time() - cpu, perf_counter() - wall))
                if times[name][-1][1] > 1:
                    break
    return {name: Measured(sizes[name], *map(median, zip(*times[name], strict=True))) for name in calls}


def _zstd(level: int) -> Callable[[bytes], bytes]:
    return lambda raw: zstandard.ZstdCompressor(level=level).compress(raw)


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "rows, gzip-6": lambda raw: gzip.compress(raw, 6),
    "rows, brotli-5": lambda raw: brotli.compress(raw, quality=5),
    "rows, brotli-11": lambda raw: brotli.compress(raw, quality=11),
    "rows, zstd-3": _zstd(3),
    "rows, zstd-19": _zstd(19),
}


def _encode_and_compress(rows: Sequence[Row], level: int) -> bytes:
    return encode(encode_columns(rows), "zstd", CompressionSettings(level=level))


def measure_first_visit(name: str, rows: Sequence[Row], results: TargetResults | None) -> Rows:
    """Compare codecs on the rows and on the columns of a report; check the default level against the targets."""
    raw, default = encode_rows(make_document(rows)), f"columns, zstd-{LEVEL}*"
    calls: dict[str, Callable[[], bytes]] = {what: partial(encode, raw) for what, encode in CODECS.items()}
    calls["Parquet (zstd)"] = partial(pack_rows, rows)
    for level in LEVELS:
        what = default if level == LEVEL else f"columns, zstd-{level}"
        calls[what] = partial(_encode_and_compress, rows, level)
    found = measure(calls, ROUNDS.get(name, 3))
    peer = found["rows, brotli-11"]
    if results:
        results.check_at_most(f"{name}: bytes / brotli-11 of the rows", found[default].size / peer.size, BYTES[name])
        results.check_at_most(f"{name}: CPU time / brotli-11", found[default].cpu / peer.cpu, TIME)
    return [
        {
            "what": f"{name}: {what}",
            "raw bytes": len(raw),
            "bytes": result.size,
            "ms (CPU)": result.cpu * 1e3,
            "bytes / brotli-11": result.size / peer.size,
            "times faster (CPU)": round(peer.cpu / result.cpu),
            "(wall)": round(peer.wall / result.wall),
        }
        for what, result in found.items()
    ]


def measure_parsing(name: str, rows: Sequence[Row], results: TargetResults) -> Rows:
    """Return the parse times of each client, and check them."""
    document = make_document(rows)
    found: Rows = []
    for client, times in parse_times((encode_rows(document), encode_document(document))).items():
        if times is None:
            print(f"{client} is not installed; it was not measured")
            continue
        rows_times, column_times = times
        results.check_at_most(f"{name}: parse time / rows, {client}", column_times.first / rows_times.first, PARSE_TIME)
        found.append({
            "what": f"{name}: {client}",
            "rows, ms": rows_times.first,
            "columns, ms": column_times.first,
            "times faster": rows_times.first / column_times.first,
            "parsed again": rows_times.again / column_times.again,
        })
    return found


def read_own_rows(path: str) -> list[Row]:
    """Return the daily rows in a Parquet file with `date_start` and `ad_id`."""
    table = pq.read_table(path).to_pylist()
    texts = [{name: str(value) for name, value in row.items() if value is not None} for row in table]
    return in_order([
        {**row, "date_start": row["date_start"][:10], "date_stop": row["date_start"][:10]} for row in texts
    ])


def measure_stored(results: TargetResults) -> Rows:
    """Return the bytes of reports with the default fields, and check them and the time of row objects in Node.js."""
    measured: Rows = []
    for ads, days in STORED:
        rows = simulated_rows(ads, UNTIL - timedelta(days=days - 1), UNTIL, fields=",".join(DEFAULT_FIELDS))
        document = make_document(rows)
        raw, columns = encode_rows(document), encode_document(document)
        what, peer = f"{ads} ads x {days} days", len(brotli.compress(raw, quality=11))
        size = len(encode(columns, "zstd", CompressionSettings()))
        results.check_at_most(f"{what}: bytes / brotli-11 of the rows", size / peer, STORED_BYTES)
        measured.append({"what": what, "rows": len(rows), "bytes": size, "brotli-11 of the rows": peer})
    times = row_object_times((raw, columns))
    if times is None:
        print("Node.js or the packages of the TypeScript client are not installed; row objects were not measured")
    else:
        results.check_at_most(f"{what}: row objects / parsed rows, Node.js", times[1].again / times[0].again, 1)
        measured[-1] |= {"rows parsed, ms": times[0].again, "row objects, ms": times[1].again}
    return measured


def check_bytes(results: TargetResults) -> None:
    """Check that rows come back as they were sent, from a document in each shape and from a partition."""
    recorded = orjson.loads(RECORDED.read_bytes())["rows"]
    ads, days, spans = EQUAL
    checked, other = 0, dict.fromkeys((*(shape for shape in Shape if shape is not Shape.COLUMNAR), "partition"), 0)
    for number in range(spans):
        until = UNTIL - timedelta(days=days * number)
        since = until - timedelta(days=days - 1)
        rows = [*recorded, *simulated_rows(ads, since, until, fields=",".join(DEFAULT_FIELDS))]
        rows = in_order([{**row, "account_id": "act_1"} for row in rows])  # documents name it so
        raw, sent = encode_document(make_document(rows)), _dump(rows)
        for name in other:
            other[name] += sum(map(ne, _read_back(name, raw, rows), sent))
        checked += len(rows)
    print(f"{checked:,} rows compared with what was sent")
    for name, count in other.items():
        results.check_equal(f"rows that differ from what was sent, {name}", count, 0)


def _dump(rows: Iterable[Row]) -> list[bytes]:
    return [orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in rows]


def _read_back(name: str, raw: bytes, rows: Sequence[Row]) -> list[bytes]:
    """Return the rows of a shape or a partition, as JSON with sorted keys."""
    if name == "partition":
        return _dump(unpack_rows(pack_rows(rows)))
    body = render_shape(raw, Shape(name))
    if name == Shape.ROWS:
        return _dump(orjson.loads(body)["daily"])
    if name == Shape.NDJSON:
        return _dump(map(orjson.loads, body.splitlines()))
    if name == Shape.ARROW:
        return _dump(_without_nulls(row) for row in pa.ipc.open_stream(body).read_all().to_pylist())
    header, *lines = csv.reader(io.StringIO(body.decode(), newline=""), strict=True)
    cells = (zip(header, line, strict=True) for line in lines)
    return _dump({key: orjson.loads(cell) if cell[:1] == "[" else cell for key, cell in row if cell} for row in cells)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def main(paths: Sequence[str] = ()) -> int:
    """Measure everything, print tables and a line per target, save them, and return the exit code.

    Args:
        paths: Parquet files with daily rows of one's own, measured as well and without targets.
    """
    since = UNTIL - timedelta(days=DAYS - 1)
    reports = {
        "50 KB": simulated_rows(7, UNTIL - timedelta(days=6), UNTIL),
        "1 MB": orjson.loads(payload())["data"],
        "10 MB": simulated_rows(ADS["10 MB"], since, UNTIL),
    }
    results = TargetResults(
        "compression", "First visit: a report as rows and as columns beside brotli-11 of the rows; * is the default"
    )
    rows: Rows = []
    for name, report in reports.items():
        rows += measure_first_visit(name, report, results)
    for path in paths:
        rows += measure_first_visit(Path(path).stem, read_own_rows(path), None)
    parsing = [
        row for name in sized(("1 MB", "10 MB"), ("1 MB",)) for row in measure_parsing(name, reports[name], results)
    ]
    stored = measure_stored(results)
    check_bytes(results)
    print_table("Bytes of a report with the default fields", stored)
    print_table("Parsing the JSON for the first time in a process or page, and again", parsing)
    return results.finish(rows, stored=stored, parsing=parsing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
