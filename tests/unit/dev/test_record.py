"""The records of benchmarks: what is kept of a result."""

import json
import os
import shutil
from pathlib import Path

import pytest

from dev.record import PAGES, keep


def test_a_result_is_kept_with_its_tables_and_its_day(tmp_path: Path) -> None:
    """Of a result, the tables that the page shows are kept, with the day and the machine; nothing else is."""
    (tmp_path / "records").mkdir()
    shutil.copy(PAGES / "records.toml", tmp_path)
    result = {"name": "compression", "machine": {"python": "3.11"}, "rows": [{"a": 1}], "verdicts": [{"b": 2}]}
    tables = {"parsing": [{"d": 4}]}
    (tmp_path / "compression.json").write_text(json.dumps({**result, **tables}), encoding="utf-8")
    os.utime(tmp_path / "compression.json", (1_767_225_600, 1_767_225_600))

    record = json.loads(keep("compression", tmp_path, tmp_path).read_text(encoding="utf-8"))

    del result["verdicts"]
    assert record == {**result, **tables, "ran": "2026-01-01"}


def test_a_result_without_words_is_refused(tmp_path: Path) -> None:
    """A benchmark that the page has no words for is named, and nothing is written."""
    shutil.copy(PAGES / "records.toml", tmp_path)

    with pytest.raises(KeyError, match="week"):
        keep("week", tmp_path, tmp_path)
