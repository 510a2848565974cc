"""The shape of an event: what every reader yields, whatever the log's format."""

import pyarrow as pa

_WORD = pa.dictionary(pa.int32(), pa.string())

EVENT_SCHEMA = pa.schema([
    pa.field("ts", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("account_id", _WORD, nullable=False),
    pa.field("date_range", _WORD, nullable=False),
    pa.field("report", _WORD, nullable=False),
    pa.field("time_zone", _WORD, nullable=False),
    pa.field("actor", _WORD, nullable=False),
    pa.field("hit", pa.bool_()),
    pa.field("latency_ms", pa.float64()),
])
"""`time_zone` is empty where the log names none that exists; `actor` is human where the log does not say."""

REQUIRED_COLUMNS = ("ts", "account_id", "date_range")
TEXT_COLUMNS = ("account_id", "date_range", "report", "time_zone", "actor")
LOG_COLUMNS = ("ts", *TEXT_COLUMNS, "hit", "latency_ms", "latency")
"""Columns a log may have; `latency` is another name for `latency_ms`, and all but the required are optional."""
