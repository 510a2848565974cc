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

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import select

from adwarm.cli.airflow import ALLOCATOR
from adwarm.compression import unpack_document
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import read_transaction
from adwarm.store.accounts import table as account
from adwarm.store.entries import payload
from adwarm.store.entries import table as entry
from adwarm.store.error_events import ErrorLog
from adwarm.store.partitions import table as partition
from tests.hostile.behaviors import HOSTILE, ODD, QUARTER, WEEK, Behavior
from tests.hostile.rows import ADS, Row, days, window_rows
from tests.hostile.server import HostileServer, UnconfiguredServer

ROOT = Path(__file__).resolve().parents[2]
ADDRESS_BYTES = 6 * 2**30
SECRET = "hostile-token"
PLAIN = 8
"""The number of plain healthy accounts; the first of them fetches an async report."""

SHORT = {
    "SOURCE__READ_TIMEOUT": "2",
    "SOURCE__CALL_TIMEOUT": "5",
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
"""Deadlines and limits that make the batch short, beside those of `batch`; names that are no setting are left out."""

BehaviorByAccount = dict[str, Behavior | None]
"""The behavior of each account; None for a healthy one."""


@dataclass(frozen=True, slots=True)
class AccountOutcome:
    """How one account ended; `seconds` from its first call to its outcome, None without either."""

    status: str
    reason: str
    retry_after: float | None
    seconds: float | None


@dataclass
class TrialResult:
    """The result of a batch.

    Attributes:
        error: the last line of the process's error output when it failed.
        false_records: descriptions of stored rows and accounts that are not true.
        token_leaked: whether the token reached a server that nobody configured.
        entries: stored rows by account.
        errors: what the error history holds about each account: kind and code.
    """

    outcomes: dict[str, AccountOutcome] = field(default_factory=dict)
    peak_mb: float = 0.0
    error: str = ""
    false_records: list[str] = field(default_factory=list)
    token_leaked: bool = False
    entries: dict[str, list[Row]] = field(default_factory=dict)
    errors: dict[str, set[tuple[str, str | None]]] = field(default_factory=dict)


def assign_behaviors() -> BehaviorByAccount:
    """Return three hostile accounts to each healthy one, in turn."""
    healthy: list[Behavior | None] = [*ODD, *[None] * PLAIN]
    hostile = list(HOSTILE)
    order: list[Behavior | None] = []
    while healthy or hostile:
        order += [*hostile[:3], *healthy[:1]]
        del hostile[:3], healthy[:1]
    return {f"act_{1001 + number}": behavior for number, behavior in enumerate(order)}


def date_range(accounts: BehaviorByAccount, name: str) -> str:
    """Return the date range to fetch for an account."""
    behavior = accounts[name]
    if behavior is not None:
        return behavior.date_range
    return QUARTER if name == next(other for other, result in accounts.items() if result is None) else WEEK


def run_trial(home: Path, accounts: BehaviorByAccount, seconds: float) -> TrialResult:
    """Run a batch over `accounts` in a process of its own, for at most `seconds`, and check what it stored."""
    behaviors = {name: behavior for name, behavior in accounts.items() if behavior is not None}
    with UnconfiguredServer() as elsewhere, HostileServer(behaviors, elsewhere) as upstream:
        result = _run(_environment(home, upstream.url), accounts, seconds, upstream)
        result.token_leaked = any(SECRET in token for token in elsewhere.tokens)
    runtime = Runtime(Settings(home=home))
    result.entries = dict(_entries(runtime))
    result.false_records = [
        *_untrue_rows(runtime, home, accounts, result.entries),
        *_untrue_accounts(runtime, accounts),
    ]
    for event in ErrorLog(runtime.engine).list_recent(limit=10_000):
        about = next((name for name in accounts if name in f"{event.account_id} {event.subject} {event.message}"), "")
        result.errors.setdefault(about, set()).add((event.kind, event.code))
    runtime.engine.dispose()
    return result


def _run(env: Mapping[str, str], accounts: BehaviorByAccount, seconds: float, upstream: HostileServer) -> TrialResult:
    keys = json.dumps([[name, date_range(accounts, name)] for name in accounts])
    command = [sys.executable, "-m", "tests.hostile.batch", keys]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_limit_memory,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
            result = TrialResult()
        except subprocess.TimeoutExpired:
            result = TrialResult(peak_mb=_peak_of(process.pid), error=f"still running after {seconds:.0f} s")
            process.kill()
            output, errors = process.communicate()
    if process.returncode > 0:
        result.error = errors.strip().splitlines()[-1] if errors.strip() else f"exit code {process.returncode}"
    for reported in map(json.loads, filter(_is_complete, output.splitlines())):
        if "account" in reported:
            result.outcomes[reported["account"]] = _ended(reported, upstream)
        else:
            result.peak_mb = reported["peak_mb"]
    return result


def _is_complete(line: str) -> bool:
    """Whether a line was printed completely, unlike the last one before a kill."""
    return line.startswith("{") and line.endswith("}")


def _limit_memory() -> None:
    """Keep a process that fails this test from using up the machine's memory."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))


def _ended(one: Mapping[str, Any], upstream: HostileServer) -> AccountOutcome:
    first, reported = upstream.first_call.get(one["account"]), one["reported_at"]
    seconds = None if first is None or reported is None else reported - first
    return AccountOutcome(one["status"], one["reason"] or "", one["retry_after"], seconds)


def _peak_of(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _environment(home: Path, url: str) -> dict[str, str]:
    values = {**_existing(SHORT), "HOME": str(home), "SOURCE__GRAPH_URL": url, "SOURCE__ACCESS_TOKEN": SECRET}
    paths = os.pathsep.join(str(ROOT / name) for name in ("include", "plugins", "."))
    return {**ALLOCATOR, **{f"ADWARM_{name}": value for name, value in values.items()}, "PYTHONPATH": paths}


def _existing(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values whose settings exist."""
    return {name: value for name, value in values.items() if _exists(Settings, name.lower().split("__"))}


def _exists(model: Any, path: list[str]) -> bool:
    result = model.model_fields.get(path[0])
    return result is not None and (len(path) == 1 or _exists(result.annotation, path[1:]))


def _entries(runtime: Runtime) -> Iterator[tuple[str, list[Row]]]:
    query = select(entry.c.account_id, payload.c.body).join(payload, entry.c.payload_hash == payload.c.hash)
    with read_transaction(runtime.engine) as connection:
        for name, blob in connection.execute(query):
            document = unpack_document(blob, runtime.settings.compression)
            yield name, [*document.window_table.to_rows(), *document.daily.to_rows()]


def _untrue_rows(
    runtime: Runtime, home: Path, accounts: BehaviorByAccount, entries: Mapping[str, list[Row]]
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
        if state.missing is None and state.rows < _rows_of_a_day(accounts[state.account_id]):
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
    """Whether a row is one that the account really has; entries name it in full."""
    try:
        row = row | {"account_id": row["account_id"].removeprefix("act_")}
        since, until = date.fromisoformat(row["date_start"]), date.fromisoformat(row["date_stop"])
        return (until - since).days < 100 and row in window_rows(name, since, until)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _untrue_accounts(runtime: Runtime, accounts: BehaviorByAccount) -> Iterator[str]:
    with read_transaction(runtime.engine) as connection:
        for row in connection.execute(select(account)):
            if row.id not in accounts or len(row.currency) > 3:
                yield f"account {row.id} with currency {row.currency:.20}"


def _short(row: Row) -> str:
    return json.dumps(row)[:160]


def expected_rows(name: str, rows: list[Row]) -> list[Row]:
    """Return the rows that a stored entry should have: its longest window, and each day of it."""
    spans = [(date.fromisoformat(row["date_start"]), date.fromisoformat(row["date_stop"])) for row in rows]
    since, until = max(spans, key=lambda span: span[1] - span[0])
    windows = [(since, until), *((day, day) for day in days(since, until))]
    rows = [row for first, last in windows for row in window_rows(name, first, last)]
    return sort_rows([{**row, "account_id": name} for row in rows])


def sort_rows(rows: list[Row]) -> list[Row]:
    """Return rows by window and ad."""
    return sorted(rows, key=lambda row: (row["date_start"], row["date_stop"], row["ad_id"]))
