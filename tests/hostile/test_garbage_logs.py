"""Logs of garbage are read in bounded memory: valid lines in between are found, and the quarantine stays small."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fault_results import FaultRow, save_rows
from tests.hostile.log_work import KINDS, MIB, VALID_EVERY, count_valid, read_log, write_log
from tests.hostile.peak_memory import measure_peak

PEAK_MIB = 256
BOMB_MIB = 2 * PEAK_MIB
MAX_SAMPLES = 1_000
MAX_SAMPLE_BYTES = 2_000_000


@pytest.fixture(scope="module")
def rows() -> Iterator[list[FaultRow]]:
    """The rows of the table of faults, saved at the end."""
    collected: list[FaultRow] = []
    yield collected
    save_rows("hostile_logs", collected)


def _check(found: dict[str, Any], peak: float, valid: int) -> None:
    assert found["events"] == found["accounts"] == valid, "no valid line is lost or read twice"
    assert found["samples"] <= MAX_SAMPLES
    assert found["sample_bytes"] <= MAX_SAMPLE_BYTES
    assert peak < PEAK_MIB


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_costs_no_valid_line(kind: str, tmp_path: Path, rows: list[FaultRow]) -> None:
    """16 MiB of each kind of garbage between valid lines, as a plain and as a compressed file."""
    size, folder = 16 * MIB, tmp_path / "log"
    folder.mkdir()
    write_log(folder / "a.jsonl", kind, size)
    write_log(folder / "b.jsonl.gz", kind, size)
    found, _, peak = measure_peak(read_log, str(folder), str(tmp_path / "home"))
    assert found["events"] == 2 * count_valid(size)
    found["accounts"] *= 2  # both files hold the same events
    _check(found, peak, 2 * count_valid(size))
    rows.append(FaultRow(f"garbage log ({kind}), peak {peak:.0f} MiB", 2, 0, 0))


def test_compressed_bombs_as_logs_are_refused_or_skipped(tmp_path: Path, rows: list[FaultRow]) -> None:
    """A gzip of one line of 512 MiB is one line too long; zstd is not read, and says what to do."""
    folder = tmp_path / "log"
    folder.mkdir()
    write_log(folder / "bomb.jsonl.gz", "endless line", BOMB_MIB * MIB)
    write_log(folder / "bomb.jsonl.zst", "endless line", 64 * MIB)
    shutil.copy(folder / "bomb.jsonl.zst", folder / "renamed.jsonl")
    (folder / "good.jsonl").write_bytes(b"\n")
    found, _, peak = measure_peak(read_log, str(folder), str(tmp_path / "home"))
    _check(found, peak, count_valid(BOMB_MIB * MIB))
    assert found["reasons"]["unreadable"] >= 1
    assert found["reasons"]["too_long"] == BOMB_MIB * MIB // VALID_EVERY
    rows.append(FaultRow(f"gzip and zstd bombs as logs, peak {peak:.0f} MiB", 3, 0, 0))


@pytest.mark.slow
def test_garbage_above_memory(tmp_path: Path, rows: list[FaultRow]) -> None:
    """512 MiB of every kind in one folder, read within 256 MiB."""
    folder, size = tmp_path / "log", BOMB_MIB * MIB // len(KINDS)
    folder.mkdir()
    for number, kind in enumerate(KINDS):
        write_log(folder / f"{number}.jsonl", kind, size)
    found, _, peak = measure_peak(read_log, str(folder), str(tmp_path / "home"), seconds=900)
    assert found["events"] == len(KINDS) * count_valid(size)
    found["accounts"] *= len(KINDS)
    _check(found, peak, len(KINDS) * count_valid(size))
    rows.append(FaultRow(f"512 MiB of garbage logs, peak {peak:.0f} MiB", len(KINDS), 0, 0))
