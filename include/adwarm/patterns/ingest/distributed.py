"""Hands a planned run from worker to worker: the plan and what came of its shares travel as objects, by their hash.

A share that is read again gives the same object under the same name, so a worker that dies or a task that is retried
leaves nothing half done. Objects that nobody refers to any more are orphans like any other.
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
    """Store the plan; return its hash."""
    return objects.put(_PLANNED.dump_json(run), _SUFFIX)


def read_saved_split(context: Context, plan: str, number: int) -> str:
    """Read the share with this number of a stored plan, store what came of it, and return its hash.

    Raises:
        Transient: the log is no longer what it was at planning.
    """
    planned = _PLANNED.validate_json(context.objects.get(plan, _SUFFIX))
    share = planned.splits[number]
    require_unchanged(share)
    partial = read_split(context, planned.plan, share, planned.now)
    return context.objects.put(_PARTIAL.dump_json(partial), _SUFFIX)


def commit_saved_plan(context: Context, plan: str, results: Sequence[str]) -> IngestResult:
    """Publish a stored plan with what came of its shares, given by hash in their order; see `adopt`."""
    planned = _PLANNED.validate_json(context.objects.get(plan, _SUFFIX))
    read = [_PARTIAL.validate_json(context.objects.get(digest, _SUFFIX)) for digest in results]
    return commit_ingest(context, planned, read)
