"""Runs an ingest on several workers: the plan and the results of its splits are exchanged as objects, by hash.

A split that is read again gives the same object under the same hash, so a worker that dies or a task that is retried
leaves nothing half done. Garbage collection removes the objects once nothing refers to them.
"""

from collections.abc import Sequence

from pydantic import TypeAdapter

from adwarm.patterns.ingest.read_split import SplitResult, read_split, require_unchanged
from adwarm.patterns.ingest.run import IngestResult, IngestRun, commit_ingest
from adwarm.store import Context
from adwarm.store.objects import ObjectStore

_SUFFIX = ".json"
_PLANNED, _PARTIAL = TypeAdapter(IngestRun), TypeAdapter(SplitResult)


def save_plan(objects: ObjectStore, run: IngestRun) -> str:
    """Store the plan of a run; return its hash."""
    return objects.put(_PLANNED.dump_json(run), _SUFFIX)


def read_saved_split(context: Context, plan: str, number: int) -> str:
    """Read the split with this number of a stored plan, store the result, and return its hash.

    Raises:
        Transient: a file of the split has changed since planning.
    """
    run = _PLANNED.validate_json(context.objects.get(plan, _SUFFIX))
    split = run.splits[number]
    require_unchanged(split)
    result = read_split(context, run.plan, split, run.now)
    return context.objects.put(_PARTIAL.dump_json(result), _SUFFIX)


def commit_saved_plan(context: Context, plan: str, results: Sequence[str]) -> IngestResult:
    """Commit a stored plan with the results of its splits, given by hash in their order; see `commit_ingest`."""
    run = _PLANNED.validate_json(context.objects.get(plan, _SUFFIX))
    loaded = [_PARTIAL.validate_json(context.objects.get(digest, _SUFFIX)) for digest in results]
    return commit_ingest(context, run, loaded)
