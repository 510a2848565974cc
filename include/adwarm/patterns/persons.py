"""Keeps the opens that a person made: machines' opens neither train nor score."""

import numpy as np
import pyarrow as pa

from adwarm.foundation.arrow_arrays import to_numpy
from adwarm.model import Actor

_PERSONS = frozenset(str(actor) for actor in Actor if actor.is_human)


def keep_human_events(events: pa.RecordBatch) -> pa.RecordBatch:
    """Return the events whose actor is a person."""
    actors = events.column("actor")
    person = np.array([word in _PERSONS for word in actors.dictionary.to_pylist()], np.bool_)
    if person.all():
        return events
    keep = person[to_numpy(actors.indices)]
    return events if keep.all() else events.filter(pa.array(keep))
