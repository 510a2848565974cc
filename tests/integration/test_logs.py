"""A forecast can be trained on each real log."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from adwarm.access_log import log_span
from adwarm.forecast.snapshot import get_live_forecast
from adwarm.forecast.training.train import train_and_promote
from adwarm.patterns.ingest.run import ingest
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, open_engine, upgrade
from tests.support.training import shorten_training


def _ingest(home: Path, url: Path, until: datetime) -> tuple[Any, ObjectStore, Settings]:
    engine, objects = open_engine(f"sqlite:///{home}/adwarm.db"), ObjectStore(str(home / "data"))
    upgrade(engine)
    settings = Settings(access_log={"url": str(url)})
    ingest(Context(engine, objects, settings), until)
    return engine, objects, settings


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
    """Real logs, sparse and dense, give a forecast; some accounts of six weeks keep the training short."""
    shorten_training(monkeypatch)
    table = pq.read_table(shared_log)
    table = table.filter(pc.greater(table["ts"], pc.subtract(pc.max(table["ts"]), pa.scalar(timedelta(days=42)))))
    accounts = table["account_id"].unique().to_pylist()[::6]
    pq.write_table(table.filter(pc.is_in(table["account_id"], pa.array(accounts))), tmp_path / shared_log.name)
    figures = _trained(tmp_path, tmp_path / shared_log.name)
    assert figures["keys"] > 0
    assert figures["first_opens"] <= figures["opens"]
