"""Compression of a megabyte of simulated insights: the default, brotli-5 and gzip-6, and the cost of a served hit."""

import gzip
from datetime import date, timedelta

import brotli
import orjson

from adwarm.compression import compress, decode_envelope, decompress
from adwarm.settings import CompressionSettings
from graph_simulator.app_state import AppState
from graph_simulator.config import SimulatorConfig
from tests.benchmarks.measure import median_seconds, save_results

DAYS = 30


def payload() -> bytes:
    """Return about a megabyte of daily rows of the simulator."""
    from fastapi.testclient import TestClient

    from graph_simulator.http_app import create_app

    config = SimulatorConfig(ads=50, seed=7)
    until = date.today() - timedelta(days=40)
    fields = "ad_id,ad_name,impressions,reach,frequency,clicks,spend,ctr,cpm,cpc,actions,cost_per_action_type"
    span = {"since": str(until - timedelta(days=DAYS - 1)), "until": str(until)}
    client = TestClient(create_app(config, AppState(config)))
    answer = client.get(
        "/v26.0/act_1/insights",
        params={
            "level": "ad",
            "time_increment": "1",
            "limit": "5000",
            "fields": fields,
            "time_range": orjson.dumps(span).decode(),
        },
        headers={"Authorization": f"Bearer {config.token}"},
    )
    return answer.content


def run() -> None:
    """Measure and report."""
    raw, settings = payload(), CompressionSettings()
    peer_bytes, peer_seconds = (
        len(brotli.compress(raw, quality=5)),
        median_seconds(lambda: brotli.compress(raw, quality=5)),
    )
    blob = compress(raw, settings).blob
    rows = [
        {"what": "brotli-5 (peer)", "bytes": peer_bytes, "ms": peer_seconds * 1e3},
        {
            "what": "gzip-6 (peer)",
            "bytes": len(gzip.compress(raw, 6)),
            "ms": median_seconds(lambda: gzip.compress(raw, 6)) * 1e3,
        },
        {
            "what": "pack, default codec",
            "bytes": len(blob),
            "ms": median_seconds(lambda: compress(raw, settings)) * 1e3,
        },
        {"what": "unpack", "bytes": len(raw), "ms": median_seconds(lambda: decompress(blob, settings)) * 1e3},
        {
            "what": "served hit (verify only)",
            "bytes": len(blob),
            "ms": median_seconds(lambda: decode_envelope(blob)) * 1e3,
        },
    ]
    for row in rows:
        row["bytes / brotli-5"] = row["bytes"] / peer_bytes
        row["time / brotli-5"] = row["ms"] / (peer_seconds * 1e3)
    save_results("compression", f"{len(raw):,} bytes of simulated insights", rows)
