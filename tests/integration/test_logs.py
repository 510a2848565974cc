"""Every log format gives the same opens, and a forecast can be trained on each real log."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from adwarm.access_log import log_span
from adwarm.forecast.snapshot import get_live_forecast
from adwarm.forecast.training.train import train_and_promote
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.open_history import load_slots
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, open_engine, upgrade
from tests.support.training import shorten_training
from tests.unit.patterns.conftest import first_opens

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
END = START + timedelta(days=3)
EVENTS = [
    {
        "ts": START + timedelta(minutes=7 * n + n % 4),  # equal distances would be reloads
        "account_id": f"act_{n % 3 + 1}",
        "date_range": ("today", "last_7d")[n % 2],
    }
    for n in range(300)
]


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(EVENTS), sink)
    return bytes(sink.getvalue().to_pybytes())


def _jsonl() -> bytes:
    return b"".join(orjson.dumps(event) + b"\n" for event in EVENTS)


def _csv() -> bytes:
    rows = ["ts,account_id,date_range", *(f"{e['ts']},{e['account_id']},{e['date_range']}" for e in EVENTS)]
    return "\n".join(rows).encode() + b"\n"


def _combined() -> bytes:
    line = '1.1.1.1 - - [{:%d/%b/%Y:%H:%M:%S %z}] "GET /accounts/{}/insights/{} HTTP/1.1" 200 1 "-" "Mozilla"\n'
    return "".join(line.format(e["ts"], e["account_id"], e["date_range"]) for e in EVENTS).encode()


FORMATS: dict[str, Callable[[], bytes]] = {
    "log.parquet": _parquet,
    "log.jsonl": _jsonl,
    "log.csv": _csv,
    "access.log": _combined,
}


def _ingest(home: Path, url: Path, until: datetime) -> tuple[Any, ObjectStore, Settings]:
    engine, objects = open_engine(f"sqlite:///{home}/adwarm.db"), ObjectStore(str(home / "data"))
    upgrade(engine)
    settings = Settings(access_log={"url": str(url)})
    ingest(Context(engine, objects, settings), until)
    return engine, objects, settings


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_first_opens(tmp_path: Path, name: str, packed: bool) -> None:
    """Parquet, JSON lines, CSV and the combined format, plain and gzipped, give the same first opens."""
    data = FORMATS[name]()
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    engine, objects, _ = _ingest(tmp_path / "home", path, END)
    first = first_opens(load_slots(Context(engine, objects, Settings()), START - timedelta(hours=1), END))
    # Each key comes back after 42 minutes, longer than the quiet time, so every open is a first one.
    expected = [(event["account_id"], event["date_range"], pd.Timestamp(event["ts"])) for event in EVENTS]
    assert list(first[["account_id", "date_range", "ts"]].itertuples(index=False, name=None)) == expected


def _trained(home: Path, log: Path) -> dict[str, Any]:
    _, last, events = log_span(str(log), Settings())
    until = last + timedelta(seconds=1)
    context = Context(*_ingest(home, log, until))
    figures = train_and_promote(context, until, until)
    ahead = get_live_forecast(context).predict(until, timedelta(hours=24), floor=0.01)
    assert events >= figures["opens"] > 0
    assert ahead["probability"].between(0, 1).all()
    return {**figures, "ahead": len(ahead)}


@pytest.mark.slow
def test_each_real_log_gives_a_forecast(tmp_path: Path, shared_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real logs, sparse and dense, give a forecast; some accounts of nine weeks keep the training short."""
    shorten_training(monkeypatch)
    table = pq.read_table(shared_log)
    table = table.filter(pc.greater(table["ts"], pc.subtract(pc.max(table["ts"]), pa.scalar(timedelta(days=63)))))
    accounts = table["account_id"].unique().to_pylist()[::4]
    pq.write_table(table.filter(pc.is_in(table["account_id"], pa.array(accounts))), tmp_path / shared_log.name)
    figures = _trained(tmp_path, tmp_path / shared_log.name)
    assert figures["keys"] > 0
    assert figures["first_opens"] <= figures["opens"]
