"""The opens that the store knows of, as arrays of numbers: what a forecast trains on and looks at when it decides.

One open stands for each quarter of an hour in which a key was opened, which is all that a forecast tells apart. Words
stay numbers until the end, so that memory is some twenty bytes per open.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlalchemy import Engine

from adwarm.foundation.arrow_arrays import Codes, Ints, Strings, to_numpy
from adwarm.foundation.dictionary_encoder import DictionaryEncoder
from adwarm.patterns.load_slots import iter_slots
from adwarm.patterns.opens import Opens, factorize, first_open_mask
from adwarm.patterns.slot_counts import SLOT_MICROS, SLOT_SCHEMA
from adwarm.store import ObjectStore, accounts, aggregates, read_transaction

_NAMES = ("account_id", "date_range", "report", "time_zone")
_KINDS = (np.int32, np.int32, np.int32, np.int32, np.int64, np.int32)


def load_opens(
    engine: Engine, objects: ObjectStore, since: datetime, until: datetime, *, default_zone: str = "UTC"
) -> Opens:
    """Return the opens of the quarters of an hour that start in the half-open window.

    The first open of each key counts as a first open. A key's zone is that of its latest quarter.

    Args:
        default_zone: the reader zone where neither the log nor the account has one.
    """
    words = {name: DictionaryEncoder() for name in _NAMES}
    tables = iter_slots(engine, objects, since, until)
    batches = [_encode_batch(batch, words) for table in tables for batch in table.cast(SLOT_SCHEMA).to_batches()]
    columns = [_concatenate(batches, place, kind) for place, kind in enumerate(_KINDS)]
    batches.clear()
    keys, key = _number_keys(columns[:3], words)
    key, first, last, zone = _one_per_quarter(key, *columns[3:])
    is_first = first_open_mask(key, first, last)
    order = np.lexsort((key, first))
    key, first, zone, is_first = key[order], first[order], zone[order], is_first[order]
    _, at, number = np.unique(key, return_index=True, return_inverse=True)
    appearance = np.argsort(at)
    place = np.empty(len(appearance), np.int32)
    place[appearance] = np.arange(len(appearance), dtype=np.int32)
    at = at[appearance]
    account_id, date_range, report = (column[key[at]] for column in keys)
    latest = (len(key) - 1 - np.unique(key[::-1], return_index=True)[1])[appearance]
    zones = _zones(engine, _decode(words["time_zone"], zone[latest]), account_id, default_zone)
    return Opens(
        first, place[number], is_first, account_id, date_range, report, zones, factorize(account_id), first[at]
    )


def find_log_end(engine: Engine) -> datetime | None:
    """Return up to when the opens are known: what was read by the watermark, or in windows beyond it."""
    with read_transaction(engine) as connection:
        newest = aggregates.find_newest_hour(connection)
        ends = [aggregates.get_watermark(connection), newest + timedelta(hours=1) if newest else None]
    return max((end for end in ends if end), default=None)


def _encode_batch(batch: pa.RecordBatch, words: dict[str, DictionaryEncoder]) -> list[npt.NDArray[Any]]:
    """Return codes of the words, the first moment, and how much later the last one is; microseconds."""
    codes = [words[name].encode_column(batch.column(name)) for name in _NAMES]
    first, last = (to_numpy(batch.column(name)) for name in ("first_ts", "last_ts"))
    return [*codes, first, (last - first).astype(np.int32)]


def _concatenate(batches: list[list[npt.NDArray[Any]]], place: int, kind: type) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *(batch[place] for batch in batches)], dtype=kind)


def _number_keys(codes: list[Codes], words: dict[str, DictionaryEncoder]) -> tuple[list[Strings], Codes]:
    """Return the distinct keys' words in order, and the place of each row's key among them."""
    texts = [np.sort(np.array(words[name].values, dtype=object)) for name in _NAMES[:3]]
    packed = np.zeros(len(codes[0]), np.int64)
    for name, code, text in zip(_NAMES, codes, texts, strict=False):
        packed *= max(len(text), 1)
        packed += words[name].sorted_values()[1][code]
    distinct, key = np.unique(packed, return_inverse=True)
    columns = []
    for text in reversed(texts):
        distinct, place = np.divmod(distinct, max(len(text), 1))
        columns.append(text[place])
    return columns[::-1], key.astype(np.int32)


def _one_per_quarter(key: Codes, zone: Codes, first: Ints, span: Codes) -> tuple[Codes, Ints, Ints, Codes]:
    """Return key, first and last moment and zone, by key and moment; readers in several zones share a quarter."""
    order = np.lexsort((span, first, key))
    key, zone, first, last = key[order], zone[order], first[order], (first + span)[order]
    quarter = first // SLOT_MICROS
    new = np.ones(len(key), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (quarter[1:] != quarter[:-1])
    starts = np.flatnonzero(new)
    if len(starts) == len(key):
        return key, first, last, zone
    return key[starts], first[starts], np.maximum.reduceat(last, starts), zone[starts]


def _decode(words: DictionaryEncoder, code: Codes) -> Strings:
    return np.array(words.values, dtype=object)[code]


def _zones(engine: Engine, told: Strings, account_id: Strings, default: str) -> Strings:
    """Fill in the zone where the log named none: the account's, else the default."""
    unnamed = np.flatnonzero(told == "")
    known = accounts.get_many(engine, sorted(set(account_id[unnamed].tolist()))) if len(unnamed) else {}
    for row in unnamed.tolist():
        found = known.get(account_id[row])
        told[row] = found.reader_zone if found else default
    return told
