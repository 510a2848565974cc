"""`adwarm_maintenance`: discovery of accounts on a fresh home, recompression in quiet hours, and retention."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from adwarm.access_log.open_files import OPEN_FILE_SCHEMA, OpenFiles
from adwarm.compression import compress
from adwarm.foundation.errors import BadRequest, TokenDead
from adwarm.model import (
    ALL_ACCOUNTS,
    AccessProfile,
    Account,
    CompressionCounts,
    EntryKey,
    ReportKey,
    Window,
    resolve_key,
)
from adwarm.runtime import Runtime
from adwarm.settings import CompressionSettings, load_settings
from adwarm.store import accounts, compression_days, entries, write_transaction
from adwarm.store.access_patterns import DescribedProfile, replace_profiles
from adwarm.store.entries import Entry
from adwarm_airflow.tasks.maintenance import apply_retention, discover_accounts, recompress_entries
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def platform() -> Any:
    """A platform with two tokens: one for act_1 and act_2, one for act_3."""
    config = SimulatorConfig(
        accounts=("act_1", "act_2", "act_3"), tokens={"eu-token": ("act_3",)}, zone="Europe/Rome", ads=1
    )
    with SimulatorServer(config) as server:
        yield server


@pytest.fixture(autouse=True)
def home(airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh home without any connection and without a log."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    monkeypatch.delenv("ADWARM_ACCESS_LOG_URL")
    monkeypatch.delenv("AIRFLOW_CONN_FACEBOOK_DEFAULT")


def connect(patch: pytest.MonkeyPatch, platform: SimulatorServer, name: str, token: str) -> None:
    """Define a connection."""
    extra = {"app_id": "100000", "access_token": token, "graph_url": platform.url}
    connection = {"conn_type": "facebook_social", "extra": extra}
    patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def run(after: timedelta = timedelta(0), try_number: int = 1, **params: Any) -> dict[str, Any]:
    """Run the task, so long after the start."""
    at = START + after
    dag_run = SimpleNamespace(dag_id="adwarm_maintenance", run_id="r", run_type="scheduled", run_after=at)
    return discover_accounts({
        "dag_run": dag_run,
        "ti": SimpleNamespace(try_number=try_number),
        "params": {"connection": "facebook_default", "decision_time": at.isoformat(), **params},
    })


def stored() -> dict[str, str]:
    """Return the connections of the stored accounts."""
    records = accounts.list_records(Runtime(load_settings()).engine, START)
    return {name: record.account.connection for name, record in records.items()}


def test_without_a_connection() -> None:
    """The task is skipped, and the reason names the connection to create."""
    with pytest.raises(AirflowSkipException, match="'facebook_default' does not exist"):
        run()


def test_a_fresh_install(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token fails once a day; a new token is tried at once; then the connection is due a day later."""
    connect(monkeypatch, platform, "facebook_default", "wrong")
    with pytest.raises(TokenDead, match=r"connection facebook_default: .*renew the token"):
        run()
    with pytest.raises(AirflowSkipException, match="renew the token"):
        run(timedelta(minutes=15))
    with pytest.raises(TokenDead):
        run(timedelta(minutes=15), try_number=2)
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    assert run(timedelta(minutes=30))["facebook_default"]["new"] == 2
    assert stored() == {"act_1": "facebook_default", "act_2": "facebook_default"}
    with pytest.raises(AirflowSkipException, match="2 accounts listed"):
        run(timedelta(hours=24))
    assert run(timedelta(hours=1), discover_now=True)["facebook_default"]["unchanged"] == 2
    assert run(timedelta(hours=25))["facebook_default"]["unchanged"] == 2


def test_several_connections(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account gets the connection that lists it; one that is not valid fails the task after the others."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    connect(monkeypatch, platform, "facebook_eu", "eu-token")
    with pytest.raises(BadRequest, match="'facebook_us' does not exist"):
        run(connection="facebook_default, facebook_eu, facebook_us")
    assert stored() == {"act_1": "facebook_default", "act_2": "facebook_default", "act_3": "facebook_eu"}


def test_the_other_dags_know_the_accounts(
    dags: dict[str, Any], platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any log, the scheduled strategy warms the accounts that the maintenance run has found."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    assert dags["adwarm_maintenance"].test().state == "success"
    result = dags["adwarm_strategy_warming"].test()
    assert result.state == "success"
    runtime = Runtime(load_settings())
    from adwarm.store import warms

    (run_id,) = {f"adwarm_strategy_warming/{result.run_id}"}
    warmed = {row.key.account_id for row in warms.list_by_run(runtime.engine, run_id) if row.status.is_served}
    assert warmed == {"act_1", "act_2"}


def test_entries_of_past_windows_go(
    dags: dict[str, Any], platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run deletes an entry whose window has passed and that nobody read for weeks, and keeps the current one."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    runtime = Runtime(load_settings())
    now = runtime.clock.now()
    old = (now - timedelta(days=60)).date()
    key = EntryKey("act_1", Window(old, old), runtime.settings.spec("default").hash)
    current = resolve_key(
        ReportKey("act_1", "yesterday"), Account("act_1", "UTC", "UTC"), runtime.settings.spec("default"), now
    )
    entry = Entry(key, "yesterday", "default", "zstd", 100, 10, now - timedelta(days=59), None, "meta")
    with write_transaction(runtime.engine) as connection:
        items = [(entry, b"old"), (replace(entry, key=current, fetched_at=now), b"new")]
        entries.publish(connection, items, 1, now)
    assert dags["adwarm_maintenance"].test().state == "success"
    assert [item.key for item in entries.list_entries(runtime.engine)] == [current]


def _context(at: datetime, **params: Any) -> dict[str, Any]:
    dag_run = SimpleNamespace(dag_id="adwarm_maintenance", run_id="r", run_type="scheduled", run_after=at)
    return {"dag_run": dag_run, "params": {"decision_time": at.isoformat(), **params}}


def _save_quiet_hours(*hours: int) -> None:
    """Store a profile of all accounts with these quiet hours of the week, in UTC."""
    profile = AccessProfile(
        account_id=ALL_ACCOUNTS,
        first_opens=1,
        keys=1,
        since=START,
        until=START,
        weeks=8.0,
        time_zones={"UTC": 1},
        hour_of_week=(0,) * 168,
        observed=(1.0,) * 168,
        rate=(0.0,) * 168,
        active_weeks=(0,) * 168,
        weekday=(0.0,) * 7,
        busy_hours=(),
        peak_hours=(),
        quiet_hours=hours,
        popular_ranges=(),
        evidence="",
    )
    replace_profiles(Runtime(load_settings()).engine, [DescribedProfile(profile, "", "", "")], START)


def _save_read_entry() -> None:
    """Store an entry that was read often and never expires."""
    engine = Runtime(load_settings()).engine
    spend = [{"ad_id": str(n % 40), "spend": f"{n * n * 7919 % 100_000 / 100}"} for n in range(3000)]
    raw = json.dumps(spend).encode()
    packed = compress(raw, CompressionSettings(zstd_level=1))
    day = START.date()
    key = EntryKey("act_1", Window(day, day), "abc")
    item = Entry(key, "today", "default", packed.codec, len(raw), packed.stored_bytes, START, None, "test")
    with write_transaction(engine) as connection:
        entries.publish(connection, [(item, packed.blob)], 1, START)
    entries.add_reads(engine, {key: 10_000}, START)


def test_entries_are_recompressed_in_quiet_hours() -> None:
    """While readers are many the task is skipped, unless the form asks; in a quiet hour it runs, then none is left."""
    wednesday_noon = 2 * 24 + 12
    _save_read_entry()
    _save_quiet_hours(wednesday_noon + 1)
    with pytest.raises(AirflowSkipException, match="readers are many"):
        recompress_entries(_context(START))
    result = recompress_entries(_context(START + timedelta(hours=1)))
    assert (result["setting"], result["candidates"], result["recompressed"]) == ("zstd-19", 1, 1)
    assert result["bytes_after"] < result["bytes_before"]
    with pytest.raises(AirflowSkipException, match="no entry to recompress"):
        recompress_entries(_context(START, recompress_now=True))


def test_recompression_runs_at_any_hour_without_patterns_and_can_be_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without access patterns no hour is known to be quiet; a CPU time of 0 switches it off."""
    _save_read_entry()
    monkeypatch.setenv("ADWARM_COMPRESSION__RECOMPRESS_CPU_SECONDS", "0")
    with pytest.raises(AirflowSkipException, match="switched off"):
        recompress_entries(_context(START))
    monkeypatch.delenv("ADWARM_COMPRESSION__RECOMPRESS_CPU_SECONDS")
    assert recompress_entries(_context(START))["recompressed"] == 1


def test_what_is_past_its_retention_is_deleted() -> None:
    """The task deletes old rows and old files of the open log, as of the run, and says how many of each."""
    settings = load_settings()
    compression_days.add_counts(
        Runtime(settings).engine, START - timedelta(days=400), {"zstd": CompressionCounts(packed=1)}
    )
    files = OpenFiles(settings.data)
    for age in (10, 500):
        files.put((START - timedelta(days=age)).date(), "a", OPEN_FILE_SCHEMA.empty_table())
    deleted = apply_retention(_context(START))
    assert deleted == {"compression_day": 1, "token_day": 0, "request": 0, "error_event": 0, "open_log_files": 1}
    assert files.list_days() == [(START - timedelta(days=10)).date()]
