"""A mapping in the settings means the same as renaming the columns of the file."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adwarm.access_log import Quarantine, log_span, read_events
from adwarm.access_log.column_mapping import ColumnMapping
from adwarm.access_log.log_reader import LogReader
from adwarm.access_log.nested_values import find_value
from adwarm.foundation.errors import BadRequest
from adwarm.settings import AccessLogSettings, Settings

Rows = list[dict[str, Any]]
FIELDS = ("ts", "account_id", "date_range", "time_zone")
ROWS: Rows = [
    {"ts": f"2026-03-02T10:{n:02d}:00Z", "account_id": f"act_{n}", "date_range": "today", "time_zone": "Asia/Tokyo"}
    for n in range(3)
]


def _write_csv(path: Path, rows: Rows) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())


def _write_jsonl(path: Path, rows: Rows) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _write_parquet(path: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    "log.csv": _write_csv,
    "log.jsonl": _write_jsonl,
    "log.parquet": _write_parquet,
}


def _read(path: Path, quarantine: Quarantine | None = None, **log: Any) -> Rows:
    given_settings = Settings(access_log=AccessLogSettings(**log))
    batches = read_events(str(path), given_settings, quarantine=quarantine)
    return [row for batch in batches for row in batch.to_pylist()]


NAMES = st.text("abzAZ09", min_size=1, max_size=8).map("c_".__add__)


@pytest.mark.parametrize("name", WRITERS)
@given(names=st.lists(NAMES, min_size=4, max_size=4, unique=True))
@settings(max_examples=15, deadline=None)
def test_a_mapping_equals_renaming_the_columns(
    tmp_path_factory: pytest.TempPathFactory, name: str, names: list[str]
) -> None:
    """Events of renamed columns with a mapping are those of the original columns without one."""
    folder = tmp_path_factory.mktemp("mapping")
    plain, renamed = folder / f"plain_{name}", folder / f"renamed_{name}"
    columns = dict(zip(FIELDS, names, strict=True))
    WRITERS[name](plain, ROWS)
    WRITERS[name](renamed, [{columns[field]: value for field, value in row.items()} for row in ROWS])
    assert _read(renamed, columns=columns) == _read(plain) != []


def test_a_dotted_path_reads_a_nested_value(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """A value in a JSON object or a Parquet struct is read like a column; a row without the object has none."""
    for name in ["log.jsonl", "log.parquet"]:
        with subtests.test(name=name):
            rows: Rows = [
                {
                    "at": {"start": row["ts"]},
                    "ad": {"account": {"id": row["account_id"]}},
                    "date_range": "today",
                    "user": user,
                }
                for row, user in zip(ROWS, [{"tz": "Asia/Tokyo"}, {"tz": None}, None], strict=True)
            ]
            WRITERS[name](tmp_path / name, rows)
            columns = {"ts": "at.start", "account_id": "ad.account.id", "time_zone": "user.tz"}
            events = _read(tmp_path / name, columns=columns)
            assert [event["account_id"] for event in events] == ["act_0", "act_1", "act_2"]
            assert [event["time_zone"] for event in events] == ["Asia/Tokyo", "", ""]
            first, _, count = log_span(str(tmp_path / name), Settings(access_log=AccessLogSettings(columns=columns)))
            assert (first.isoformat(), count) == ("2026-03-02T10:00:00+00:00", 3)


def test_a_column_whose_name_has_a_dot_is_found(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """`adAccount.id` may be the name of a column."""
    for name, write in WRITERS.items():
        with subtests.test(name=name):
            write(tmp_path / name, [{**row, "adAccount.id": "7"} for row in ROWS])
            assert {row["account_id"] for row in _read(tmp_path / name, columns={"account_id": "adAccount.id"})} == {
                "act_7"
            }


def test_a_constant_stands_for_a_missing_column_or_value(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """A required field may be fixed by the settings; a value in the file wins."""
    for name, write in WRITERS.items():
        with subtests.test(name=name):
            rows = [{"ts": row["ts"], "account_id": row["account_id"], "time_zone": row["time_zone"]} for row in ROWS]
            rows[0]["time_zone"] = None
            write(tmp_path / name, rows)
            events = _read(tmp_path / name, constants={"date_range": "last_7d", "time_zone": "Europe/Berlin"})
            assert {event["date_range"] for event in events} == {"last_7d"}
            assert [event["time_zone"] for event in events] == ["Europe/Berlin", "Asia/Tokyo", "Asia/Tokyo"]


def test_the_column_of_the_fields_own_name_is_the_second_choice(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """A folder may mix files with the mapped and with the usual names."""
    for name, write in WRITERS.items():
        with subtests.test(name=name):
            write(tmp_path / name, ROWS)
            assert len(_read(tmp_path / name, columns={"ts": "eventTime"})) == 3


def test_a_mapping_to_a_column_that_is_not_there_names_the_setting_and_the_columns(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """The error shows what to correct."""
    for name in ["log.csv", "log.parquet"]:
        with subtests.test(name=name):
            WRITERS[name](tmp_path / name, ROWS)
            with pytest.raises(
                BadRequest, match=r"COLUMNS names 'user_tz' for actor, but its columns are ts, account_id"
            ):
                _read(tmp_path / name, columns={"actor": "user_tz"})


def test_a_column_of_user_agents_gives_the_actor_where_no_other_does(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """A table needs no path for it; a named actor wins, and a row with neither is a human's."""
    for name, write in WRITERS.items():
        with subtests.test(name=name):
            agents = ["curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", None]
            write(tmp_path / name, [{**row, "Browser": agent} for row, agent in zip(ROWS, agents, strict=True)])
            columns = {"user_agent": "Browser"}
            assert [row["actor"] for row in _read(tmp_path / name, columns=columns)] == ["api", "human", "human"]
            actors = ["human", None, "warmer"]
            rows = [
                {**row, "user_agent": "curl/8.5.0", "actor": actor} for row, actor in zip(ROWS, actors, strict=True)
            ]
            write(tmp_path / name, rows)
            assert [row["actor"] for row in _read(tmp_path / name)] == ["human", "api", "warmer"]


def test_many_long_columns_cut_no_advice(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Why a file is not read names both settings whole; of its columns, as many as fit."""
    for name in ["log.csv", "log.parquet"]:
        with subtests.test(name=name):
            WRITERS[name](tmp_path / name, [{f"a column of many {number} {'x' * 50}": "1" for number in range(40)}])
            quarantine = Quarantine()
            with pytest.raises(BadRequest, match="lacks"):
                _read(tmp_path / name, quarantine)
            (sample,) = quarantine.samples
            assert "name them in ADWARM_ACCESS_LOG__COLUMNS, or fix account_id" in sample.excerpt
            assert "ADWARM_ACCESS_LOG__CONSTANTS; its columns are a column of many 0" in sample.excerpt
            assert sample.excerpt.endswith(" more")


def test_a_wrong_setting_is_refused_before_anything_is_read(subtests: pytest.Subtests) -> None:
    """The message names the setting."""
    for log, message in [
        ({"columns": {"timestamp": "ts"}}, "COLUMNS has timestamp, which is not a field"),
        ({"columns": {"status": "code"}}, "maps status but not path"),
        ({"columns": {"method": "verb", "user_agent": "agent"}}, "maps method but not path"),
        ({"constants": {"ts": "2026"}}, "CONSTANTS has ts"),
        ({"constants": {"date_range": "sometimes"}}, "CONSTANTS: 'sometimes' is not a valid date_range"),
        ({"constants": {"time_zone": "Mars/Olympus"}}, "CONSTANTS: 'Mars/Olympus' is not a valid time_zone"),
        ({"date_ranges": {"Letzte Woche": "lastweek?!x"}}, "DATE_RANGES: 'Letzte Woche'"),
    ]:
        with subtests.test(log=log, message=message), pytest.raises(BadRequest, match=message.replace("?", r"\?")):
            LogReader(Settings(access_log=AccessLogSettings(**log)))


@given(
    st.recursive(
        st.none() | st.integers(0, 9) | st.just("a"),
        lambda x: st.lists(x, max_size=2) | st.dictionaries(st.sampled_from("ab0"), x, max_size=2),
        max_leaves=4,
    ),
    st.text("ab.0", max_size=6),
)
def test_no_path_into_any_json_raises(item: Any, path: str) -> None:
    """Whatever an object holds, a path finds a value or nothing."""
    find_value({"a": item, "b": [item]}, path)
    assert find_value({"a": {"b": [7]}}, "a.b.0") == 7


def test_the_plain_mapping_is_the_identity() -> None:
    """Without settings nothing is renamed, which is the fast way."""
    assert ColumnMapping.from_settings(AccessLogSettings()).is_identity
