"""Reads the part of a log that is played back: opens by persons, of the keys that are worth scoring."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from adwarm.access_log import read_events
from adwarm.access_log.timestamps import to_micros
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.patterns.opens import FIRST_OPEN_QUIET, Opens, factorize, keep_human_events, opens_from_frame
from adwarm.settings import Settings

_WORDS = ("account_id", "date_range", "report", "time_zone")


@dataclass(frozen=True, slots=True)
class TrainTestSplit:
    """Where training begins, where scoring begins, and where it ends; UTC, each moment belongs to what follows it."""

    train_from: datetime
    test_from: datetime
    test_to: datetime

    def __post_init__(self) -> None:
        if self.test_from - self.train_from < timedelta(days=14):
            raise BadRequest("training needs 14 days or more; move --train-from back or --test-from on")
        if self.test_to - self.test_from < timedelta(days=1):
            raise BadRequest("the scored part is shorter than a day; move --test-to on")

    def micros(self) -> tuple[int, int, int]:
        """Return the three moments in microseconds since 1970."""
        return to_micros(utc(self.train_from)), to_micros(utc(self.test_from)), to_micros(utc(self.test_to))


def read_opens(url: str, settings: Settings, split: TrainTestSplit, min_opens: int) -> Opens:
    """Return the opens from the start of training to the end of scoring.

    Args:
        min_opens: keys with fewer opens in training are left out; with 0 all keys stay, also those that first appear
            while scoring.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: no key has enough opens.
    """
    start, test, _ = split.micros()
    since = split.train_from - FIRST_OPEN_QUIET
    tables = [
        pa.Table.from_batches([keep_human_events(batch)]).select(["ts", *_WORDS])
        for batch in read_events(url, settings, since=since, until=split.test_to)
    ]
    if not tables:
        raise BadRequest(f"the log has no opens between {split.train_from} and {split.test_to}; check the dates")
    frame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    opens = select_keys(opens_from_frame(frame, settings.default_zone), start, test, min_opens)
    if not len(opens.since(test)):
        raise BadRequest(f"no key has {min_opens} opens in training and one after; lower --min-opens")
    return opens


def select_keys(opens: Opens, start: int, test: int, min_opens: int) -> Opens:
    """Return the opens from `start` on of keys with at least `min_opens` opens before `test`, numbered anew."""
    kept = opens.since(start)
    counts = np.bincount(kept.before(test).key, minlength=kept.key_count)
    good = counts[kept.key] >= min_opens
    ts, old, first = kept.ts[good], kept.key[good], kept.first[good]
    numbers, at = np.unique(old, return_index=True)
    order = np.argsort(at, kind="stable")
    numbers, at = numbers[order], at[order]
    key = np.full(opens.key_count, -1, np.int32)
    key[numbers] = np.arange(len(numbers), dtype=np.int32)
    names = {name: getattr(opens, name)[numbers] for name in ("account_id", "date_range", "report", "zone")}
    account = factorize(opens.account[numbers])
    return replace(opens, ts=ts, key=key[old], first=first, account=account, first_ts=ts[at], **names)
