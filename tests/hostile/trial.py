"""One batch of accounts against the hostile upstream: how each ended, how long it took, and what was stored."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import select

from adwarm.compression import decompress
from adwarm.patterns.arrow_memory import ALLOCATOR
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import read_transaction
from adwarm.store.tables import account, entry, partition, payload
from tests.hostile.behaviors import HOSTILE, ODD, QUARTER, WEEK, Behavior
from tests.hostile.rows import ADS, Row, days, window_rows
from tests.hostile.server import HostileServer, UnconfiguredServer

ROOT = Path(__file__).resolve().parents[2]
ADDRESS_BYTES = 6 * 2**30
SECRET = "hostile-token"
PLAIN = 8
"""Healthy accounts without any peculiarity; the first of them asks for a report made in the background."""

SHORT = {
    "SOURCE__CONNECT_TIMEOUT": "2",
    "SOURCE__READ_TIMEOUT": "2",
    "SOURCE__CALL_TIMEOUT": "5",
    "SOURCE__REPORT_POLL_SECONDS": "0.3",
    "SOURCE__REPORT_POLL_MAX_SECONDS": "1",
    "SOURCE__REPORT_STUCK_SECONDS": "5",
    "SOURCE__REPORT_MAX_SECONDS": "20",
    "WORKERS": "16",
    "ACCOUNT_SECONDS": "40",
    "RECOVERY__MAX_ATTEMPTS": "2",
    "RECOVERY__INITIAL_DELAY_SECONDS": "0",
    "BACKPRESSURE__TIMEOUT_SECONDS": "15",
    "BACKPRESSURE__MAX_CONCURRENT": "100",
    "BACKPRESSURE__RATE_PER_SECOND": "500",
    "BACKPRESSURE__BURST": "500",
    # Three accounts of four fail on purpose, which would rightly open the breaker of the source as a whole.
    "BACKPRESSURE__BREAKER_MIN_CALLS": "10000",
}
"""Deadlines and limits that make the batch short; those that the settings do not have are left out."""

BehaviorByAccount = dict[str, Behavior | None]
"""What befalls each account; None for one that is plainly healthy."""


@dataclass(frozen=True, slots=True)
class AccountOutcome:
    """How one account ended; `seconds` from its first call to the news of its outcome, None when there was neither."""

    status: str
    reason: str
    retry_after: float | None
    seconds: float | None


@dataclass
class TrialResult:
    """What came of a batch.

    Attributes:
        error: the last line of what the process said when it did not end well.
        untrue: descriptions of stored things that are not true.
        leaked: whether the token reached a server that nobody configured.
        entries: the accounts of which an answer is stored, with its rows.
    """

    outcomes: dict[str, AccountOutcome] = field(default_factory=dict)
    peak_mb: float = 0.0
    error: str = ""
    false_records: list[str] = field(default_factory=list)
    token_leaked: bool = False
    entries: dict[str, list[Row]] = field(default_factory=dict)


def assign_behaviors() -> BehaviorByAccount:
    """Return three hostile accounts to each healthy one, in turn."""
    healthy: list[Behavior | None] = [*ODD, *[None] * PLAIN]
    hostile = list(HOSTILE)
    order: list[Behavior | None] = []
    while healthy or hostile:
        order += [*hostile[:3], *healthy[:1]]
        del hostile[:3], healthy[:1]
    return {f"act_{1001 + number}": behavior for number, behavior in enumerate(order)}


def date_range(cast: BehaviorByAccount, name: str) -> str:
    """Return what is asked of an account."""
    behavior = cast[name]
    if behavior is not None:
        return behavior.date_range
    return QUARTER if name == next(other for other, found in cast.items() if found is None) else WEEK


def run_trial(home: Path, cast: BehaviorByAccount, seconds: float) -> TrialResult:
    """Run a batch over `cast` in a process of its own, for at most `seconds`, and look at what it left behind."""
    behaviors = {name: behavior for name, behavior in cast.items() if behavior is not None}
    with UnconfiguredServer() as elsewhere, HostileServer(behaviors, elsewhere) as upstream:
        found = _run(_environment(home, upstream.url), cast, seconds, upstream)
        found.token_leaked = any(SECRET in token for token in elsewhere.tokens)
    runtime = Runtime(Settings(home=home))
    found.entries = dict(_entries(runtime))
    found.false_records = [*_untrue_rows(runtime, home, cast, found.entries), *_untrue_accounts(runtime, cast)]
    runtime.engine.dispose()
    return found


def _run(env: Mapping[str, str], cast: BehaviorByAccount, seconds: float, upstream: HostileServer) -> TrialResult:
    keys = json.dumps([[name, date_range(cast, name)] for name in cast])
    command = [sys.executable, "-m", "tests.hostile.batch", keys]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_bounded,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
            found = TrialResult()
        except subprocess.TimeoutExpired:
            found = TrialResult(peak_mb=_peak_of(process.pid), error=f"still running after {seconds:.0f} s")
            process.kill()
            output, errors = process.communicate()
    if process.returncode > 0:
        found.error = errors.strip().splitlines()[-1] if errors.strip() else f"exit code {process.returncode}"
    for told in map(json.loads, filter(_is_whole, output.splitlines())):
        if "account" in told:
            found.outcomes[told["account"]] = _ended(told, upstream)
        else:
            found.peak_mb = told["peak_mb"]
    return found


def _is_whole(line: str) -> bool:
    """Whether a line was printed to its end, as the last one before a kill may not be."""
    return line.startswith("{") and line.endswith("}")


def _bounded() -> None:
    """Keep a process that fails this test from taking the machine with it."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))


def _ended(one: Mapping[str, Any], upstream: HostileServer) -> AccountOutcome:
    first, told = upstream.first_call.get(one["account"]), one["told_at"]
    seconds = None if first is None or told is None else told - first
    return AccountOutcome(one["status"], one["reason"] or "", one["retry_after"], seconds)


def _peak_of(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _environment(home: Path, url: str) -> dict[str, str]:
    values = {**_known(SHORT), "HOME": str(home), "SOURCE__GRAPH_URL": url, "SOURCE__ACCESS_TOKEN": SECRET}
    paths = os.pathsep.join(str(ROOT / name) for name in ("include", "plugins", "."))
    return {**ALLOCATOR, **{f"ADWARM_{name}": value for name, value in values.items()}, "PYTHONPATH": paths}


def _known(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values whose settings exist."""
    return {name: value for name, value in values.items() if _exists(Settings, name.lower().split("__"))}


def _exists(model: Any, path: list[str]) -> bool:
    found = model.model_fields.get(path[0])
    return found is not None and (len(path) == 1 or _exists(found.annotation, path[1:]))


def _entries(runtime: Runtime) -> Iterator[tuple[str, list[Row]]]:
    query = select(entry.c.account_id, payload.c.body).join(payload, entry.c.payload_hash == payload.c.hash)
    with read_transaction(runtime.engine) as connection:
        for name, blob in connection.execute(query):
            body = orjson.loads(decompress(blob, runtime.settings.compression))
            yield name, [*body["rows"], *body["daily"]]


def _untrue_rows(
    runtime: Runtime, home: Path, cast: BehaviorByAccount, entries: Mapping[str, list[Row]]
) -> Iterator[str]:
    for name, rows in entries.items():
        yield from (f"entry of {name}: {_short(row)}" for row in rows if not _is_true(row, name))
    with read_transaction(runtime.engine) as connection:
        states = connection.execute(select(partition)).all()
    objects = {state.object_hash: _object_rows(runtime.objects.get(state.object_hash)) for state in states}
    for state in states:
        rows = [row for row in objects[state.object_hash] if row["date_start"] == state.day.isoformat()]
        if len(rows) != state.rows:
            yield f"partition {state.account_id} {state.day}: {len(rows)} rows where {state.rows} are said to be"
        yield from (f"partition of {state.account_id}: {_short(row)}" for row in rows
                    if not _is_true(row, state.account_id))  # fmt: skip
        if state.missing is None and state.rows < _rows_of_a_day(cast[state.account_id]):
            yield f"partition {state.account_id} {state.day}: {state.rows} rows, where the day has more"
    for path in (path for path in home.joinpath("data").rglob("*") if path.is_file()):
        rows = _object_rows(path.read_bytes())
        yield from (f"object: {_short(row)}" for row in rows if not _is_true(row, f"act_{row.get('account_id')}"))


def _rows_of_a_day(behavior: Behavior | None) -> int:
    return 0 if behavior is not None and behavior.name == "no_delivery" else ADS


def _object_rows(data: bytes) -> list[Row]:
    rows: list[Row] = pq.read_table(pa.BufferReader(data)).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _is_true(row: Row, name: str) -> bool:
    """Whether a row is one that the account really has."""
    try:
        since, until = date.fromisoformat(row["date_start"]), date.fromisoformat(row["date_stop"])
        return (until - since).days < 100 and row in window_rows(name, since, until)
    except (KeyError, TypeError, ValueError):
        return False


def _untrue_accounts(runtime: Runtime, cast: BehaviorByAccount) -> Iterator[str]:
    with read_transaction(runtime.engine) as connection:
        for row in connection.execute(select(account)):
            if row.id not in cast or len(row.currency) > 3:
                yield f"account {row.id} with currency {row.currency:.20}"


def _short(row: Row) -> str:
    return json.dumps(row)[:160]


def expected_rows(name: str, rows: list[Row]) -> list[Row]:
    """Return what a stored answer for an account should hold: its longest window, and each day of that."""
    spans = [(date.fromisoformat(row["date_start"]), date.fromisoformat(row["date_stop"])) for row in rows]
    since, until = max(spans, key=lambda span: span[1] - span[0])
    windows = [(since, until), *((day, day) for day in days(since, until))]
    return sort_rows([row for first, last in windows for row in window_rows(name, first, last)])


def sort_rows(rows: list[Row]) -> list[Row]:
    """Return rows by window and ad."""
    return sorted(rows, key=lambda row: (row["date_start"], row["date_stop"], row["ad_id"]))
