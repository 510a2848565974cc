"""A check reads what an ingest reads, and counts it; hostile files harm nothing."""

import gzip
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log import read_events
from adwarm.access_log.events import EVENT_SCHEMA, EventBuilder
from adwarm.log_check.check import CheckProgress, RepeatCounter, check_log
from adwarm.log_check.next_step import find_next_step
from adwarm.log_check.report import to_document
from adwarm.log_check.suggestions import suggest
from adwarm.settings import AccessLogSettings, Settings

START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + timedelta(days=30)


def _lines(count: int, step: timedelta = timedelta(minutes=20)) -> bytes:
    return b"".join(
        orjson.dumps({
            "ts": START + number * step + number % 2 * step / 9,
            "account_id": f"act_{number % 3}",
            "date_range": "today",
        })
        + b"\n"
        for number in range(count)
    )


def test_the_figures_of_a_mixed_folder(tmp_path: Path) -> None:
    """Every format counts; each reason has one sample with file and place; secrets are hidden."""
    (tmp_path / "a.jsonl").write_bytes(
        _lines(100) + b'{"access_token": "EAABsecretsecret1", "ts": 1}\n' + b"junk\n" * 3 + _lines(1)
    )
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(
        b"ts;account_id;date_range;time_zone;actor\n"
        b"2026-03-20T10:00:00Z;7;Last 7 Days;Asia/Tokyo;api\n"
        b"2026-03-20T10:00:01Z;7;Last 7 Days;Tokio;embedded\n"
        b"2026-03-20T10:00:01Z;7;immer;Asia/Tokyo;human\n"
    ))  # fmt: skip
    pq.write_table(pa.Table.from_pylist([{"ts": START, "account_id": 9, "date_range": "mtd"}]), tmp_path / "c.parquet")
    (tmp_path / "d.txt").write_bytes(b"<html></html>")
    (tmp_path / "e.bin").write_bytes(b"x")
    progress: list[CheckProgress] = []
    check = check_log(str(tmp_path), Settings(), progress.append)
    document = to_document(check, suggest(check, Settings(), NOW))
    assert document["accepted"] == 104 == sum(batch.num_rows for batch in read_events(str(tmp_path), Settings()))
    assert document["rejected"] == {"json": 3, "ts": 1, "date_range": 1, "unreadable": 1}
    assert sorted(sample["reason"] for sample in document["samples"]) == ["date_range", "json", "ts", "unreadable"]
    (sample,) = [sample for sample in document["samples"] if sample["reason"] == "json"]
    assert (Path(sample["file"]).name, sample["excerpt"]) == ("a.jsonl", "junk")
    assert b"secretsecret" not in orjson.dumps(document)
    assert document["time_zones"] == {"": 103, "Asia/Tokyo": 1}
    assert document["actors"] == {"human": 102, "api": 1, "embedded": 1}
    assert document["repeats"]["exact"] == 1
    assert document["not_understood"] == {"date_range": ["immer"], "time_zone": ["Tokio"]}
    assert document["span"]["days"] == 19
    assert document["skipped"]["files"] == 1
    assert document["learnable"]["opens"] == 103
    formats = {Path(item["path"]).name: item["format"] for item in document["files"]}
    assert formats["b.csv.gz"] == "csv, delimited by ;, gzip"
    assert progress[-1].done_bytes == progress[-1].total_bytes == sum(item["bytes"] for item in document["files"])
    text = "\n".join(document["advice"])
    assert all(word in text for word in ("immer", "DATE_RANGES", "Tokio", "more days of log"))


def test_foreign_columns_are_suggested_and_the_suggestion_works(tmp_path: Path) -> None:
    """The advised mapping, applied, reads every line."""
    rows = [{"eventTime": START, "adAccount": {"id": "1"}, "preset": "7d", "user": {"tz": "Asia/Tokyo"}}] * 3
    (tmp_path / "app.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    check = check_log(str(tmp_path), Settings())
    assert (check.events, check.is_usable) == (0, False)
    step = find_next_step(check, Settings())
    assert step is not None
    assert any("'eventTime' for ts" in line for line in suggest(check, Settings(), NOW, step))
    mapped = Settings(access_log=AccessLogSettings.model_validate(step.values))
    assert check_log(str(tmp_path), mapped).events == 3


def test_a_log_of_programs_is_not_usable(tmp_path: Path) -> None:
    """The advice says why, and the agents are named."""
    line = 'h - - [02/Mar/2026:10:00:00 +0000] "GET /accounts/1/insights/today HTTP/1.1" 200 5 "-" "curl/8.5"\n'
    (tmp_path / "access.log").write_text(line * 2)
    check = check_log(str(tmp_path), Settings())
    assert (check.events, check.is_usable, check.machine_agents) == (2, False, {"curl/8.5": 2})
    assert any("by programs" in text for text in suggest(check, Settings(), NOW))


def test_a_pattern_that_matches_nothing_is_advised(tmp_path: Path) -> None:
    """The advice names the setting and a path of the log."""
    line = 'h - - [02/Mar/2026:10:00:00 +0000] "GET /board/1/today?key=s HTTP/1.1" 200 5 "-" "Mozilla/5.0"\n'
    (tmp_path / "access.log").write_text(line)
    check = check_log(str(tmp_path), Settings())
    (text,) = [text for text in suggest(check, Settings(), NOW) if "LOG__PATTERN" in text]
    assert "/board/1/today?key=" in text


def test_an_old_log_is_told_so(tmp_path: Path) -> None:
    """Training looks back only so far."""
    (tmp_path / "a.jsonl").write_bytes(_lines(3))
    check = check_log(str(tmp_path), Settings())
    assert any("HISTORY_DAYS" in text for text in suggest(check, Settings(), START + timedelta(days=100)))
    assert any("still written" in text for text in suggest(check, Settings(), NOW))


def test_the_good_example_has_nothing_to_fix() -> None:
    """The example log is read without a reject."""
    path = Path(__file__).resolve().parents[3] / "examples" / "access_log.parquet"
    check = check_log(str(path), Settings())
    assert check.is_usable
    assert not check.quarantine.by_reason


@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.jsonl", "a.log", "a.parquet", "a.csv.gz"]))
def test_no_file_breaks_the_check(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    """Whatever a file holds, the check ends with figures and advice that are valid JSON."""
    folder = tmp_path_factory.mktemp("any")
    (folder / name).write_bytes(content)
    check = check_log(str(folder), Settings())
    step = find_next_step(check, Settings())
    assert orjson.dumps(to_document(check, suggest(check, Settings(), NOW, step), step))


def test_memory_does_not_grow_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log four times as long, read in blocks of an eighth of the usual size, takes hardly more Python memory."""
    monkeypatch.setattr("adwarm.access_log.lines.BLOCK_BYTES", 1 << 17)
    peaks = []
    for count in (4_000, 16_000):
        (tmp_path / "a.jsonl").write_bytes(_lines(count, timedelta(seconds=1)))
        tracemalloc.start()
        assert check_log(str(tmp_path), Settings()).events == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


class _Batches:
    """Makes batches whose codes belong together, as those of one reader do."""

    def __init__(self) -> None:
        self._events = EventBuilder(Settings())

    def make(self, seconds: list[float], accounts: list[int]) -> pa.RecordBatch:
        columns = {
            "ts": [START + timedelta(seconds=value) for value in seconds],
            "account_id": [f"act_{account}" for account in accounts],
            "date_range": ["today"] * len(seconds),
        }
        batch = self._events.from_lists(columns, len(seconds), lambda reason, row: None)
        assert batch.schema == EVENT_SCHEMA
        return batch


def test_the_same_event_again_is_an_exact_repeat() -> None:
    """The same time and key count, in one batch, in another and out of order; another account does not."""
    batches, counter = _Batches(), RepeatCounter()
    counter.add(batches.make([0, 0, 60, 0], [1, 1, 1, 2]))
    counter.add(batches.make([60, 30, 0], [1, 1, 1]))
    assert (counter.exact, counter.is_estimate) == (3, False)


def test_memory_is_bounded_and_the_estimate_is_close() -> None:
    """With more events than the limit a sample is counted; 4,000 repeats are estimated within a quarter."""
    batches, counter = _Batches(), RepeatCounter(limit=2_000)
    rng = np.random.default_rng(5)
    moments = np.arange(40_000) * 10.0
    repeated = rng.choice(np.arange(1, 40_000, 2), 4_000, replace=False)
    moments[repeated] = moments[repeated - 1]
    for part in np.split(rng.permutation(moments), 20):
        counter.add(batches.make(part.tolist(), [1] * len(part)))
    assert 3_000 < counter.exact < 5_000
    assert counter.is_estimate
    assert len(counter._seen) <= 2_000
    unique = RepeatCounter(limit=2_000)
    for part in np.split(np.arange(40_000) * 10.0, 20):
        unique.add(batches.make(part.tolist(), [1] * len(part)))
    assert unique.exact == 0
