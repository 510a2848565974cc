"""A document of JSON is read like JSON lines, and a list within a line by the columns that name it."""

import gzip
import json
from pathlib import Path

import pytest

from adwarm.access_log import list_files, read_events
from adwarm.access_log.json_documents import MAX_DOCUMENT_BYTES, find_list
from adwarm.settings import AccessLogSettings, Settings

EVENTS = [{"ts": 1_772_445_600 + n, "account_id": str(n + 1), "date_range": "today", "x": [{"y": n}]} for n in range(3)]


def _read(path: Path, prefix: str = "") -> list[str]:
    columns = {name: prefix + name for name in ("ts", "account_id", "date_range")} if prefix else {}
    settings = Settings(access_log=AccessLogSettings(columns=columns))
    return [account for batch in read_events(str(path), settings) for account in batch["account_id"].to_pylist()]


def test_each_object_of_a_list_is_a_row(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Alone, under a key or deeper, on one line or many, with gzip, and longer than a line may be."""
    padded = [*EVENTS, {"padding": "x" * 70_000}]
    for prefix, document in [
        ("", EVENTS),
        ("", padded),
        ("Records[].", {"Records": EVENTS, "next": None}),
        ("Records[].", {"links": {"self": "a"}, "Records": padded}),
        ("data.events[].", {"data": {"events": EVENTS, "users": [{"id": 1}]}}),
    ]:
        for indent in (None, 1):
            with subtests.test(prefix=prefix, indent=indent, length=len(str(document))):
                text = json.dumps(document, indent=indent).encode()
                (tmp_path / "a.json.gz").write_bytes(gzip.compress(text))
                (tmp_path / "b.json").write_bytes(text)
                assert _read(tmp_path, prefix) == ["act_1", "act_2", "act_3"] * 2


def test_json_lines_stay_lines(tmp_path: Path) -> None:
    """A line that is long or a list itself makes no document of them; a damaged document is rejected line by line."""
    log = tmp_path / "a.jsonl"
    lines = [json.dumps({**EVENTS[0], "padding": "x" * 5_000}), json.dumps(EVENTS[1:]), json.dumps({"Records": EVENTS})]
    log.write_text("\n".join(lines))
    assert _read(log) == ["act_1", "act_2", "act_3"]
    (file,) = list_files(str(log))
    with file.open() as stream:
        assert stream.read() == log.read_bytes()
    log.write_text("[\n" + "\n".join(json.dumps(event) for event in EVENTS))
    assert _read(log) == ["act_1", "act_2", "act_3"]


def test_a_document_that_does_not_fit_into_memory_is_not_read_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read as the lines that it has."""
    assert MAX_DOCUMENT_BYTES <= 64_000_000
    monkeypatch.setattr("adwarm.access_log.json_documents.MAX_DOCUMENT_BYTES", 100_000)
    (tmp_path / "a.json").write_text(json.dumps([*EVENTS, {"padding": "x" * 100_000}]))
    assert _read(tmp_path / "a.json") == []


def test_the_list_is_named_whose_objects_hold_times(subtests: pytest.Subtests) -> None:
    """A row with a time of its own is one event, whatever lists it has."""
    times = [{"at": "2026-03-02T10:00:00Z"}]
    for row, path in [
        ({"value": times, "next": None}, "value"),
        ({"users": [{"name": "ana"}], "data": {"value": times}}, "data.value"),
        ({"at": "2026-03-02T10:00:00Z", "items": times}, None),
        ({"items": [{"name": "a"}]}, None),
    ]:
        with subtests.test(row=row):
            assert find_list(row) == path
