"""Flipped bits and truncations of an entry, a partition and a snapshot: caught, never served, healed by themselves."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from adwarm.forecast.snapshot import find_live_problem, get_live_forecast, promote_snapshot, save_snapshot
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import Corrupt
from adwarm.model import Priority, ReportKey, Window
from adwarm.patterns.opens import opens_from_frame
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus
from adwarm.serving.body_cache import BodyCache
from adwarm.settings import Settings
from adwarm.store import entries, partitions, quarantine, read_transaction, write_transaction
from adwarm.store.entries import payload
from adwarm.store.partition_rows import daily_rows
from adwarm.store.partitions import table as partition
from adwarm.store.snapshots import find_deployed_snapshot, list_snapshots
from tests.benchmarks.measure import sized
from tests.faults.fault_results import FaultRow, save_rows
from tests.unit.conftest import NOW, ScriptedSource
from tests.unit.forecast.conftest import make_frame

KEY = ReportKey("act_1", "last_3d")
FLIPS = sized(2_000, 20)
SAMPLE = 8


@dataclass
class Store:
    """A store with one report, its days, and two forecasts, on a scripted platform."""

    runtime: Runtime
    good: dict[str, bytes] = field(default_factory=dict)

    def warm(self) -> None:
        """Refresh the report."""
        result = self.runtime.prefetch_engine().run([KeyRequest(KEY)], Priority.LOW)
        assert not result.outcomes[0].reason

    def object_path(self, digest: str) -> Path:
        """Return the file of an object."""
        return Path(self.runtime.settings.data) / "objects" / digest[:2] / f"{digest}.parquet"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two forecasts, the newer one live, and one warmed report."""
    fast = Path("/dev/shm")
    home = (
        fast if fast.is_dir() else tmp_path
    ) / f"adwarm-damage-{tmp_path.name}-{random.SystemRandom().random():.12f}"
    runtime = Runtime(Settings(home=home, workers=1), VirtualClock(NOW), make_source=ScriptedSource)
    made = Store(runtime)
    opens = opens_from_frame(
        make_frame([datetime(2026, 3, 1, tzinfo=UTC) - n * timedelta(days=1) for n in range(1, 30)])
    )
    for until in (datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)):
        snapshot = save_snapshot(runtime.context, train_seasonal(opens, runtime.settings, until), metrics={}, at=until)
        promote_snapshot(runtime.engine, snapshot.id, until)
    made.warm()
    yield made
    runtime.engine.dispose()
    for path in sorted(home.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    home.rmdir()


def _damages(good: bytes, count: int | None) -> Iterator[bytes]:
    """Yield damaged copies: `count` of each kind, or all 2,000 flips and every truncation when None."""
    rng = random.Random(7)
    flips = FLIPS if count is None else count
    for bit in rng.sample(range(len(good) * 8), min(flips, len(good) * 8)):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
    cuts = (
        range(0, len(good), sized(1, 1 + len(good) // FLIPS)) if count is None else rng.sample(range(len(good)), count)
    )
    for cut in cuts:
        yield good[:cut]


def _prove(store: Store, what: str, good: bytes, trial: Callable[[Store, bytes], None], count: int | None) -> None:
    times = 0
    for bad in _damages(good, count):
        trial(store, bad)
        times += 1
    assert times >= (2 * count if count else FLIPS)
    save_rows(f"damage_{what}", [FaultRow(f"damaged {what}", times, 0, 0, "the next read")])


def _entry_trial(store: Store, bad: bytes) -> None:
    """The damaged bytes are no hit of the reader or the API, and the next refresh makes one."""
    runtime = store.runtime
    (entry,) = entries.list_entries(runtime.engine)
    with write_transaction(runtime.engine) as connection:
        connection.execute(payload.update().where(payload.c.hash == entry.payload_hash).values(body=bad))
    assert BodyCache(runtime.context, None).read(entry) is None  # type: ignore[arg-type]  # reads in this thread
    result = runtime.reader.read(KEY)
    assert (result.status, result.blob) == (ReadStatus.MISS, None)
    store.warm()
    healed = runtime.reader.read(KEY)
    assert healed.status is ReadStatus.HIT
    assert runtime.reader.get_body(healed) == store.good["entry"]


def _partition_trial(store: Store, bad: bytes) -> None:
    """The damaged rows are never returned; the refresh that meets them fetches the days again."""
    runtime, context = store.runtime, store.runtime.context
    with read_transaction(runtime.engine) as connection:
        digest = str(connection.execute(select(partition.c.object_hash).distinct()).scalar_one())
    path = store.object_path(digest)
    path.write_bytes(bad)
    window = Window(NOW.date() - timedelta(days=3), NOW.date() - timedelta(days=1))
    states = partitions.list_states(runtime.engine, "act_1", context.settings.spec("default").hash, window)
    with pytest.raises(Corrupt):
        daily_rows(context.objects, states, window)
    (entry,) = entries.list_entries(runtime.engine)
    entries.mark_degraded(runtime.engine, entry, "to be fetched again")
    store.warm()
    assert path.read_bytes() == store.good["partition"]
    assert runtime.reader.read(KEY).status is ReadStatus.HIT
    assert quarantine.count_open(runtime.engine) == {}


def _snapshot_trial(store: Store, bad: bytes) -> None:
    """The damaged forecast is never used: the one before it takes over, with a message for the alert."""
    context, said = store.runtime.context, list[str]()
    Path(store.good["snapshot_path"].decode()).write_bytes(bad)
    forecast = get_live_forecast(context, said.append)
    assert forecast.id == store.good["older_id"].decode()
    assert len(said) == 1
    assert find_live_problem(context) is not None


def _prepare(store: Store, what: str) -> bytes:
    """Return the whole bytes of what is damaged."""
    runtime = store.runtime
    if what == "entry":
        result = runtime.reader.read(KEY)
        store.good["entry"] = runtime.reader.get_body(result)
        assert result.blob is not None
        return result.blob
    if what == "partition":
        with read_transaction(runtime.engine) as connection:
            digest = str(connection.execute(select(partition.c.object_hash).distinct()).scalar_one())
        store.good["partition"] = store.object_path(digest).read_bytes()
        return store.good["partition"]
    with read_transaction(runtime.engine) as connection:
        live, found = find_deployed_snapshot(connection), list_snapshots(connection)
    assert live is not None
    (older,) = [snapshot for snapshot in found if snapshot.id != live.id]
    store.good["older_id"] = older.id.encode()
    store.good["snapshot_path"] = str(store.object_path(live.object_hash)).encode()
    return store.object_path(live.object_hash).read_bytes()


TRIALS = {"entry": _entry_trial, "partition": _partition_trial, "snapshot": _snapshot_trial}


@pytest.mark.parametrize("what", TRIALS)
def test_a_sample_of_damage(store: Store, what: str) -> None:
    """Some flipped bits and truncations."""
    _prove(store, f"{what} (sample)", _prepare(store, what), TRIALS[what], SAMPLE)


@pytest.mark.faults
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("what", TRIALS)
def test_every_damage(store: Store, what: str) -> None:
    """2,000 flipped bits, and every truncation."""
    _prove(store, what, _prepare(store, what), TRIALS[what], None)
