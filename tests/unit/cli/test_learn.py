"""`adwarm learn`: a log is read and a forecast is live after one command."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adwarm.model import ReportKey
from adwarm.runtime import Runtime
from tests.support.user_log import UserLog
from tests.unit.fatigue.stored_ads import ACCOUNT, LAST_DAY, store_account

from .conftest import Adwarm

START = datetime(2026, 10, 5, 9, tzinfo=UTC)


def test_a_log_gives_a_forecast_at_once(adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named log is read and trained on up to its last hour; what was read is not read again.

    Before that, `plan` names the command; after it, the setting is advised with the whole path.
    """
    assert "`adwarm learn` trains one" in adwarm("plan").stderr
    for day in range(4):
        UserLog(tmp_path / "a.jsonl").append(START + timedelta(days=day), ReportKey("act_1", "today"))
    words = ("learn", str(tmp_path / "a.jsonl"), "--at", "2026-12-01", "--json")
    first = adwarm(*words).json
    assert (first["opens"], first["accounts"], first["forecast"]["keys"]) == (4, 1, 1)
    assert first["trained_until"] == "2026-10-08T10:00:00+00:00"
    assert adwarm("patterns", "--json").json["first_opens"] == 4
    monkeypatch.chdir(tmp_path)
    again = adwarm("learn", "a.jsonl", *words[2:-1])
    assert "read 0 events" in again.stderr
    assert f"set ADWARM_ACCESS_LOG__URL={tmp_path / 'a.jsonl'} " in again.stderr
    assert "trained on 4 first opens of 1 report up to 2026-10-08 10:00 UTC" in again.stdout


def test_a_log_without_an_open_says_what_to_do(adwarm: Adwarm, tmp_path: Path) -> None:
    """Nothing is trained; the error names the paths that were seen and the command that proposes settings."""
    line = 'h - - [02/Mar/2026:10:00:00 +0000] "GET /board/1/today HTTP/1.1" 200 5 "-" "Mozilla/5.0"\n'
    (tmp_path / "access.log").write_text(line)
    UserLog(tmp_path / "a.jsonl").append(START, ReportKey("act_1", "today"))
    for _ in ("with nothing read before", "with the opens of another log"):
        done = adwarm("learn", str(tmp_path / "access.log"))
        assert done.exit_code == 1
        assert "/board/1/today" in done.stderr
        assert f"`adwarm log check {tmp_path / 'access.log'}`" in done.stderr
        assert adwarm("learn", str(tmp_path / "a.jsonl"), "--at", "2026-12-01").exit_code == 0
        (tmp_path / "access.log").write_text(line * 2)


def test_an_account_is_scored_as_of_its_newest_day(adwarm: Adwarm) -> None:
    """The day is the newest complete one unless one is named; unchanged data is not scored again."""
    store_account(Runtime().context)
    first = adwarm("fatigue", "1", "--score", "--json").json
    assert (first["account"], first["as_of"], first["accounts"]) == (ACCOUNT, str(LAST_DAY), 1)
    assert sum(first["bands"].values()) == 2
    assert f"{ACCOUNT} on {LAST_DAY}: 1 account unchanged" in adwarm("fatigue", "1", "--score").stdout
    assert adwarm("fatigue", "1", "--score", "--as-of", "2026-11-20", "--json").json["accounts"] == 1


def test_an_account_without_days_says_how_to_get_some(adwarm: Adwarm) -> None:
    """The error is one line and names the command that fetches days."""
    done = adwarm("fatigue", "act_7", "--score")
    assert done.exit_code == 1
    assert "act_7 has no stored day; `adwarm backfill run" in done.stderr
    assert adwarm("fatigue", "act_7", "--score", "--as-of", "2026-11-20").exit_code == 1


def test_the_first_scores_of_a_table_say_what_is_missing(
    adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten days of rows give pending ads without a frequency, days before the first row no ad; both are said."""
    row = {"account_id": "1", "ad_id": "7", "impressions": 900, "clicks": 12, "spend": 3.5}
    rows = [{**row, "date_day": date(2026, 3, day)} for day in range(1, 11)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    monkeypatch.setenv("ADWARM_SOURCE__KIND", "parquet")
    monkeypatch.setenv("ADWARM_SOURCE__URL", str(tmp_path / "rows.parquet"))
    pending = "1 of them pending because too few of the days before are stored; `adwarm backfill run` fetches them"
    audience = "the audience component is left out: the frequency of no ad is known"
    for day, expected in (
        ("2026-01-10", "scored 0 creatives of 1 account; 1 account-day without delivery of any ad up to it"),
        ("2026-03-10", f"scored 1 creative of 1 account (1 pending); {pending}; {audience}"),
    ):
        fetched = adwarm("backfill", "run", "--accounts", "act_1", "--from", f"{day[:8]}01", "--to", day)
        assert fetched.exit_code == 0, fetched.stderr
        assert f"act_1 on {day}: {expected}" in adwarm("fatigue", "act_1", "--score", "--as-of", day).stdout
