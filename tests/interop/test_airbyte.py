"""Airbyte's connector checks, discovers and reads the simulator like the platform."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import ACCOUNTS, SINCE, UNTIL, Simulator, run, totals_of


def messages(simulator: Simulator, home: Path, command: str, **files: Any) -> list[dict[str, Any]]:
    """The messages of the connector when it runs with a configuration and these files."""
    config = {
        "account_ids": [account.removeprefix("act_") for account in ACCOUNTS],
        "credentials": {"auth_type": "Service", "access_token": "simulated-token"},
        "start_date": f"{SINCE}T00:00:00Z",
        "end_date": f"{UNTIL}T00:00:00Z",
    }
    words = []
    for name, content in {"config": config, **files}.items():
        (home / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        words += [f"--{name}", str(home / f"{name}.json")]
    lines = run("airbyte", "airbyte.py", simulator.url, command, *words, home=home).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture(scope="module")
def discovered(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The streams that the connector discovers, which no fault changes."""
    simulator.behave()
    said = messages(simulator, tmp_path_factory.mktemp("discover"), "discover")
    catalog = next(message["catalog"] for message in said if message["type"] == "CATALOG")
    return list(catalog["streams"])


def read(simulator: Simulator, home: Path, discovered: list[dict[str, Any]], stream: str) -> list[dict[str, Any]]:
    """The records of a stream, with the connector's default fields."""
    chosen = next(item for item in discovered if item["name"] == stream)
    catalog = {"streams": [{"stream": chosen, "sync_mode": "full_refresh", "destination_sync_mode": "append"}]}
    said = messages(simulator, home, "read", catalog=catalog)
    return [message["record"]["data"] for message in said if message["type"] == "RECORD"]


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [{"kind": "report_failed", "calls": 1}, {"kind": "transient_2", "calls": 1, "routes": ["result"]}],
        [{"kind": "empty_pages"}, {"kind": "report_skipped", "calls": 2}],
    ],
    ids=["calm", "failing", "skipping"],
)
def test_ads_insights_are_the_true_rows(
    simulator: Simulator, tmp_path: Path, discovered: list[dict[str, Any]], faults: list[dict[str, Any]]
) -> None:
    """Its default stream, with all of its fields: each true row comes once, whatever fails midway."""
    simulator.behave(*faults)
    records = read(simulator, tmp_path, discovered, "ads_insights")
    for account in ACCOUNTS:
        rows = totals_of([row for row in records if f"act_{row['account_id']}" == account], "ad")
        assert len(rows) == len(set(rows))
        assert set(rows) == simulator.truth(account, "ad")
    assert len({name for row in records for name in row}) > 70
    statuses = simulator.ask("/control/calls")["statuses"]
    assert statuses.get("400", 0) == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (None, ""),
        ("denied_100", "Missing permissions"),
        ("token_dead", "Error validating access token"),
    ],
)
def test_the_check_of_a_connection(simulator: Simulator, tmp_path: Path, kind: str | None, words: str) -> None:
    """A connection check succeeds, or fails with the platform's reason."""
    simulator.behave(*([] if kind is None else [{"kind": kind}]))
    said = messages(simulator, tmp_path, "check")
    status = next(message["connectionStatus"] for message in said if message["type"] == "CONNECTION_STATUS")
    assert status["status"] == ("SUCCEEDED" if kind is None else "FAILED")
    assert words in status.get("message", "")


@pytest.mark.timeout(900)
def test_every_default_stream_is_read(simulator: Simulator, tmp_path: Path, discovered: list[dict[str, Any]]) -> None:
    """All streams of the connector, with their default fields, in one run: none fails, and each has its records."""
    simulator.behave()
    names = {item["name"] for item in discovered}
    assert len(names) > 30
    streams = [{"stream": item, "sync_mode": "full_refresh", "destination_sync_mode": "append"} for item in discovered]
    said = messages(simulator, tmp_path, "read", catalog={"streams": streams})
    states = [message["trace"] for message in said if message["type"] == "TRACE"]
    assert [state["error"]["message"] for state in states if state["type"] == "ERROR"] == []
    done = [state["stream_status"] for state in states if state["type"] == "STREAM_STATUS"]
    assert {item["stream_descriptor"]["name"] for item in done if item["status"] == "COMPLETE"} == names
    unchanged = {"campaigns", "ad_sets"}  # since 2020, and the connector asks for changes
    records = [message["record"] for message in said if message["type"] == "RECORD"]
    assert {record["stream"] for record in records} == names - unchanged
    ads = [record["data"] for record in records if record["stream"] == "ads"]
    assert all({"id", "name", "campaign_id", "created_time", "updated_time"} <= set(row) for row in ads)
