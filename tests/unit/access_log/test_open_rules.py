"""Only opens count, and the ids of dashboards become accounts, in every format."""

from pathlib import Path
from typing import Any

import pytest

from adwarm.access_log import Quarantine, read_events
from adwarm.foundation.errors import BadRequest
from adwarm.settings import AccessLogSettings, Settings

from .test_column_mapping import WRITERS, Rows

AT = "2026-03-02T10:00:00Z"


def _read(path: Path, quarantine: Quarantine | None = None, **log: Any) -> list[tuple[str, str]]:
    settings = Settings(access_log=AccessLogSettings(**log))
    batches = read_events(str(path), settings, quarantine=quarantine)
    return [(row["account_id"], row["date_range"]) for batch in batches for row in batch.to_pylist()]


def test_rows_with_other_values_are_left_out(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """They are ignored and not rejected."""
    rows: Rows = [
        {"ts": AT, "account_id": n, "date_range": "today", "kind": k} for n, k in enumerate(["view", "edit", "x"])
    ]
    for name, write in WRITERS.items():
        with subtests.test(name=name):
            write(tmp_path / name, rows)
            quarantine = Quarantine()
            assert _read(tmp_path / name, quarantine, where={"kind": ["view", "x"]}) == [
                ("act_0", "today"),
                ("act_2", "today"),
            ]
            assert (quarantine.ignored, quarantine.count) == (1, 0)


def test_a_condition_on_a_column_that_is_not_there(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """A file that names its columns, or has none, is refused with the setting; lines of JSON may lack the value."""
    rows: Rows = [{"ts": AT, "account_id": n, "date_range": "today"} for n in range(3)]
    line = '1.1.1.1 - - [02/Mar/2026:10:00:00 +0000] "GET /accounts/1/insights/today HTTP/1.1" 200 1 "-" "Mozilla"\n'
    for name, write in {**WRITERS, "access.log": lambda path, _: path.write_text(line * 3)}.items():
        with subtests.test(name=name):
            write(tmp_path / name, rows)
            quarantine = Quarantine()
            if name.endswith("jsonl"):
                assert _read(tmp_path / name, quarantine, where={"kind": ["view"]}) == []
                assert quarantine.ignored == 3
            else:
                with pytest.raises(BadRequest, match="ADWARM_ACCESS_LOG__WHERE names"):
                    _read(tmp_path / name, quarantine, where={"kind": ["view"]})


def test_ids_become_accounts_and_ranges(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """A table or a CSV file gives the account, and the range where it has one; ids that it lacks are not opens."""
    rows: Rows = [{"ts": AT, "board": board, "date_range": "today"} for board in (17, 18, 19)]
    (tmp_path / "accounts.csv").write_text("dashboard_id,name,account_id,date_range\n17,x,act_1,Last 7 Days\n18,y,2,\n")
    for name, write in WRITERS.items():
        for accounts in (str(tmp_path / "accounts.csv"), {"17": "act_1 last_7d", "18": "2"}):
            with subtests.test(name=name, accounts=accounts):
                write(tmp_path / name, rows)
                found = _read(tmp_path / name, columns={"account_id": "board"}, accounts=accounts)
                assert found == [("act_1", "last_7d"), ("act_2", "today")]


def test_a_table_that_cannot_be_used_names_the_setting(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """The error says what is wrong with it before anything is read."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    WRITERS["log.csv"](tmp_path / "log.csv", [{"ts": AT, "account_id": "1", "date_range": "today"}])
    for accounts, words in [
        ({"17": "some/body"}, "ACCOUNTS: '17' needs an account"),
        ({"17": "act_1 sometimes"}, "ACCOUNTS: '17' needs an account"),
        (str(tmp_path / "a.csv"), "must name an id, account_id"),
        (str(tmp_path / "none.csv"), "cannot be read as CSV"),
    ]:
        with subtests.test(accounts=accounts), pytest.raises(BadRequest, match=words):
            _read(tmp_path / "log.csv", accounts=accounts)
