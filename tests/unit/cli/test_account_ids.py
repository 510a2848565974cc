"""Accounts of any platform from a table to the commands and the read API: each keeps its id and its own figures."""

from pathlib import Path

import pandas as pd
import pytest

from tests.unit.cli.conftest import Adwarm
from tests.unit.model.test_account_ids import IDS

DAYS = pd.date_range("2026-11-18", "2026-11-24").strftime("%Y-%m-%d")


@pytest.fixture
def table(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in which the spend of each day tells the accounts apart."""
    rows = [
        {"account_id": account, "ad_id": "1", "date_start": day, "impressions": 10, "clicks": 1, "spend": number}
        for number, account in enumerate(IDS, 1)
        for day in DAYS
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "ads.parquet")
    monkeypatch.setenv("ADWARM_SOURCE__KIND", "parquet")
    monkeypatch.setenv("ADWARM_SOURCE__URL", str(tmp_path / "ads.parquet"))


def test_every_account_is_warmed_and_read_by_its_own_id(adwarm: Adwarm, table: None) -> None:
    """Ids that differ in case or by a prefix are accounts of their own, in the store, the commands and tokens."""
    words = ("--at", "2026-11-25T12:00:00+00:00")
    warmed = adwarm("warm", *IDS, "--range", "last_7d", *words)
    assert warmed.exit_code == 0, warmed.stderr
    for number, account in enumerate(IDS, 1):
        document = adwarm("get", account, "last_7d", *words).json
        assert document["account_id"] == account
        assert {float(spend) for spend in document["daily"]["columns"]["spend"]} == {number}
    assert {item["id"] for item in adwarm("accounts", "list", "--json").json} == {*IDS}
    token = adwarm("token", "create", "x", "--account", "T2_ABC", "--json").json
    assert token["accounts"] == ["T2_ABC"]
