"""Everything is counted, samples are bounded, and secrets are redacted."""

import orjson

from adwarm.access_log import Quarantine
from adwarm.access_log.quarantine import describe_unreadable, files_first


def test_samples_are_bounded_and_counts_are_not() -> None:
    """Every line counts; only the first ones are kept."""
    quarantine = Quarantine(limit=2)
    for offset in range(5):
        quarantine.add("json", "log", offset, b"\xff")
    quarantine.add_count("late", 3)
    assert quarantine.count == 8
    assert quarantine.by_reason == {"json": 5, "late": 3}
    rows = [orjson.loads(line) for line in quarantine.to_jsonl().splitlines()]
    assert [(row["file"], row["offset"], row["reason"]) for row in rows] == [("log", 0, "json"), ("log", 1, "json")]


def test_credentials_in_an_excerpt_are_blanked() -> None:
    """The quarantine may be shown to readers without access to the token."""
    quarantine = Quarantine()
    quarantine.add("json", "log", 0, b'GET /?access_token=EAAB123 {"password": "hunter2"} ' + b"x" * 1000)
    shown = quarantine.samples[0].excerpt
    assert "EAAB123" not in shown
    assert "hunter2" not in shown
    assert len(shown) <= 200


def test_files_are_kept_beside_the_lines() -> None:
    """However many lines are rejected, files have their own limit and come first."""
    one, other = Quarantine(limit=3), Quarantine(limit=3)
    for number in range(10):
        one.add("json", "a.jsonl", number, "line")
        other.add("unreadable", f"{number}.parquet", 0, "damaged")
    other.add("symlink", "link", 0, "leads out")
    one.merge(other.by_reason, other.samples)
    assert one.by_reason == {"json": 10, "unreadable": 10, "symlink": 1}
    assert [sample.file for sample in one.samples] == ["a.jsonl"] * 3 + ["0.parquet", "1.parquet", "2.parquet"]
    assert [sample.file for sample in files_first(one.samples)][:3] == ["0.parquet", "1.parquet", "2.parquet"]
    assert describe_unreadable(one.samples) == "0.parquet: damaged"
    assert not one.can_keep("unreadable")
