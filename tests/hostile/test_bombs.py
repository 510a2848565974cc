"""Small bodies that decode to gigabytes are refused within the limit and 20 MiB, from upstream and from the store."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fault_results import FaultRow, save_rows
from tests.hostile.behaviors import HOSTILE, bomb
from tests.hostile.bomb_work import CAP_MIB, call_upstream, decode_stored
from tests.hostile.peak_memory import measure_peak
from tests.hostile.server import HostileServer, UnconfiguredServer

SLACK_MIB = 20
BOMB_BYTES = 2**30
UPSTREAM = {"gzip": "TooMuchData", "br": "Transient", "zstd": "Transient", "gzip, gzip": "Transient"}
BEHAVIORS = {"gzip": "gzip_bomb", "br": "brotli_bomb", "zstd": "zstd_bomb", "gzip, gzip": "nested_bomb"}
STORED = {"gzip": "gzip", "br": "brotli", "zstd": "zstd"}


@pytest.fixture(scope="module")
def rows() -> Iterator[list[FaultRow]]:
    """The rows of the table of faults, saved at the end."""
    collected: list[FaultRow] = []
    yield collected
    save_rows("hostile", collected)


@pytest.mark.parametrize("coding", UPSTREAM)
def test_upstream_bombs_are_refused_in_bounded_memory(coding: str, rows: list[FaultRow]) -> None:
    """gzip is unpacked up to the limit; a coding that was not asked for, or one within another, is not unpacked."""
    chosen = next(item for item in HOSTILE if item.name == BEHAVIORS[coding])
    with UnconfiguredServer() as elsewhere, HostileServer({"act_1001": chosen}, elsewhere) as upstream:
        (errors, next_answer), before, peak = measure_peak(call_upstream, upstream.url)
    assert errors == [UPSTREAM[coding]] * 3
    assert next_answer == "act_1002", "the transport works on"
    assert peak - before <= CAP_MIB + SLACK_MIB
    rows.append(FaultRow(f"upstream bomb ({coding}), peak {peak - before:.0f} MiB over {CAP_MIB}", 3, 0, 0))


@pytest.mark.parametrize(
    ("coding", "declared"), [("gzip", 100), ("gzip", BOMB_BYTES), ("br", 100), ("zstd", BOMB_BYTES)]
)
def test_stored_bombs_are_refused_in_bounded_memory(
    coding: str, declared: int, tmp_path: Path, rows: list[FaultRow]
) -> None:
    """An entry with a valid checksum that decodes to more than the limit is refused, whatever length it declares."""
    body = bomb(coding, BOMB_BYTES)
    if coding == "gzip":  # one member, as entries have
        body = gzip.compress(bytes(BOMB_BYTES // 4), 6)
    (tmp_path / "bomb").write_bytes(body)
    result, before, peak = measure_peak(decode_stored, str(tmp_path / "bomb"), STORED[coding], declared)
    assert result in {"TooMuchData", "Corrupt"}
    assert peak - before <= CAP_MIB + SLACK_MIB
    rows.append(FaultRow(f"stored bomb ({STORED[coding]}), peak {peak - before:.0f} MiB over {CAP_MIB}", 1, 0, 0))
