"""`adwarm notify-fatigue`: stores, repeats, refuses."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from adwarm.runtime import Runtime
from adwarm.store import platform_fatigue

from .conftest import Adwarm

HEADER = "account_id,ad_id,noticed_at,level,message\n"


def test_a_file_is_stored_once(adwarm: Adwarm, tmp_path: Path) -> None:
    """The notices of a CSV are stored; the same file again changes nothing, also as JSON."""
    table = tmp_path / "notices.CSV"
    table.write_text(f"{HEADER}1,7,2026-11-01,HIGH,tired\nact_1,8,2026-11-02T09:00:00Z,low,\n", encoding="utf-8")
    assert adwarm("notify-fatigue", str(table), "--json").json == {"stored": 2, "known": 0}
    assert adwarm("notify-fatigue", str(table)).stdout.strip() == "0 new notices stored; 2 stored before"
    found = platform_fatigue.list_newest(Runtime().engine, "act_1")
    assert {ad: (notice.level, notice.message, notice.origin) for ad, notice in found.items()} == {
        "7": ("high", "tired", "file"),
        "8": ("low", None, "file"),
    }
    document = tmp_path / "notices.json"
    seconds = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
    document.write_bytes(orjson.dumps([{"account_id": "1", "ad_id": 7, "noticed_at": seconds, "level": "high"}]))
    assert adwarm("notify-fatigue", str(document), "--json").json == {"stored": 0, "known": 1}


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        (
            "a.csv",
            f"{HEADER}1,7,2026-11-01,low,\n1,8,2026-11-01,bad,\n",
            "line 3: the level is not low",
        ),
        ("a.json", "{", "the file is not valid JSON"),
        ("a.txt", '[{"account_id": "x"}]', "item 1: the ad id"),
        ("none.csv", None, "cannot be read: No such file"),
    ],
)
def test_a_bad_file_is_one_line_and_stores_nothing(
    adwarm: Adwarm, tmp_path: Path, name: str, text: str | None, advice: str
) -> None:
    """The error names the file, the place and what is wrong; what came before it is not stored either."""
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    result = adwarm("notify-fatigue", str(tmp_path / name))
    assert result.exit_code == 1
    assert advice in " ".join(result.stderr.split())
    assert name in "".join(result.stderr.split())
    assert platform_fatigue.list_newest(Runtime().engine, "act_1") == {}
