"""A warm batch stores the same objects, days and entries in a bucket as in a folder, and maintenance works on both."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from adwarm.maintenance.compaction import compact
from adwarm.maintenance.garbage_collection import collect_garbage
from adwarm.maintenance.integrity import verify_store
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.store import Context, ObjectStore
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import table as entry
from adwarm.store.partitions import table as partition
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.prefetch.conftest import PlatformHarness

ACCOUNTS, RANGES = ("act_1", "act_2"), ("last_7d", "last_14d", "last_30d")


def _warm(stage: PlatformHarness, engine: Engine, objects: ObjectStore) -> Context:
    """Warm the keys with a database and an object store of their own."""
    context = Context(engine, objects, stage.prefetch.settings)
    requests = [KeyRequest(ReportKey(account, name)) for account in ACCOUNTS for name in RANGES]
    result = replace(stage.prefetch, context=context).run(requests, Priority.LOW, wait_seconds=600)
    assert all(outcome.status.is_served for outcome in result.outcomes), result
    return context


def _stored(context: Context) -> dict[str, Any]:
    """Return the names of the objects, the hashes of the days and those of the entries."""
    with read_transaction(context.engine) as connection:
        days = connection.execute(
            select(*(partition.c[name] for name in ("account_id", "day", "object_hash", "content_hash", "rows")))
        ).all()
        entries = connection.execute(select(entry.c.account_id, entry.c.since, entry.c.until, entry.c.content_hash))
        return {
            "objects": sorted(context.objects.list_objects()),
            "days": sorted(map(tuple, days)),
            "entries": sorted(map(tuple, entries)),
        }


@pytest.fixture
def s3_objects(bucket_url: str) -> ObjectStore:
    """An empty object store in a bucket, to which there is a connection."""
    store = ObjectStore(bucket_url)
    assert list(store.list_objects()) == []
    return store


@SQLITE_ONLY
def test_a_batch_stores_the_same_in_a_bucket(
    make_staging: Callable[..., PlatformHarness],
    sqlite_engine: Engine,
    engine: Engine,
    objects: ObjectStore,
    s3_objects: ObjectStore,
) -> None:
    """Names of objects, hashes of days and hashes of entries are equal, and what is in the bucket verifies."""
    local = _stored(_warm(make_staging(), sqlite_engine, objects))
    context = _warm(make_staging(), engine, s3_objects)
    assert _stored(context) == local
    assert (len(local["days"]), len(local["entries"])) == (60, 6)
    result = verify_store(context)
    assert (result.problems, result.entries, result.objects) == ([], 6, len(local["objects"]))


@pytest.mark.slow
def test_days_in_a_bucket_are_compacted_restated_and_collected(
    staging: PlatformHarness, engine: Engine, s3_objects: ObjectStore
) -> None:
    """Months become one object each, what nothing refers to is deleted after a day, and all stays whole."""
    context = _warm(staging, engine, s3_objects)
    before, calls = _stored(context), len(staging.calls())
    with write_transaction(engine) as connection:
        restated_at = staging.clock.now() + timedelta(minutes=1)
        restated = (partition.c.account_id == "act_1") & (partition.c.day >= date(2026, 11, 20))
        connection.execute(partition.update().where(restated).values(restated_at=restated_at))
        connection.execute(entry.delete())
    staging.clock.sleep(120)
    _warm(staging, engine, s3_objects)
    assert len(staging.calls()) > calls, "what was restated is fetched again"
    with write_transaction(engine) as connection:
        connection.execute(partition.update().values(settled=True, complete=True))
    compacted = compact(context)
    now = max(map(context.objects.get_modified_at, (digest for digest, _ in context.objects.list_objects())))
    assert (compacted.errors, compacted.months, compacted.objects_before) == ([], 1, 2)
    assert collect_garbage(context, now).objects == 0, "what is young may be about to be referenced"
    with read_transaction(engine) as connection:
        used = set(connection.execute(select(partition.c.object_hash)).scalars())
    collect_garbage(context, now + timedelta(hours=25))
    after = _stored(context)
    assert {digest for digest, _ in after["objects"]} == used
    assert [row[:2] + row[3:] for row in after["days"]] == [row[:2] + row[3:] for row in before["days"]]
    assert verify_store(context).problems == []
