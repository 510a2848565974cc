"""Recognizes pages that reload at a fixed interval, such as a screen on a wall; nobody waits for those opens.

A run of reloads is a sequence of slots of one report key in which the opens within each slot, and those between slots,
have the same distance. It counts as reloads when it has `MIN_OPENS` opens, lasts for `MIN_SPAN`, and is more regular
than chance makes it: where many people open a report, some of their opens have equal distances too. Its first open
stays, because somebody opened the page; the others count as `api`, which is to say not at all. A slot in which somebody
else opened the report too has one open too many, and stays as it is.

This happens when slots are loaded, from slots alone: the result does not depend on how, when or in which order logs
were read, and it crosses hours and days. As of a time, only slots before it are considered, so a screen that was
switched on less than `MIN_SPAN` ago still counts.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from adwarm.access_log.timestamps import HOUR, SECOND
from adwarm.foundation.arrow_arrays import Bools, Ints, to_arrow_array, to_bool_array, to_numpy
from adwarm.foundation.ordering import order_by
from adwarm.patterns.slot_counts import SLOT_MICROS, SLOT_SCHEMA

MIN_OPENS, MIN_SPAN = 6, HOUR
SHORTEST, LONGEST = 5 * SECOND, HOUR + 60 * SECOND
"""Intervals that are recognized."""
CONTEXT = MIN_OPENS * LONGEST
"""Slots this far before and after a row decide what it is."""
_SHARE, _LEAST, _MOST = 0.05, 3 * SECOND, 30 * SECOND
"""How far a distance may differ from the interval: a share of it, within bounds. Pages take time to load."""
MAX_CHANCE = 1e-10
"""Chance above which a run may be people. A log of 50 million opens has fewer runs to try than its inverse."""
_DAY = 24 * HOUR
_KEY = ("account_id", "date_range", "report")
_NO_SLOTS = pa.Table.from_batches([], SLOT_SCHEMA)


def drop_reloads(days: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the slots of each day, in `SLOT_SCHEMA`, without reloads.

    Args:
        days: the slots of each UTC day that has any, in order.
    """
    before, today = _NO_SLOTS, None
    for after in days:
        if today is not None:
            yield _drop(before, today, after)
            before = today
        today = after
    if today is not None:
        yield _drop(before, today, _NO_SLOTS)


def drop_reloads_of_events(events: pa.Table) -> pa.Table:
    """Return human opens without reloads, by the same rule.

    Args:
        events: with the columns `ts`, `account_id`, `date_range` and `report` of `EVENT_SCHEMA`, in any order.
    """
    if not len(events):
        return events
    events = events.unify_dictionaries()
    moments = _column(events, "ts")
    columns = {name: events[name] for name in _KEY}
    slots, ones = moments // SLOT_MICROS * SLOT_MICROS, np.ones(len(moments), np.int64)
    numbers = {"slot": slots, "opens": ones, "first_ts": moments, "last_ts": moments}
    table = pa.table(columns | {name: to_arrow_array(values, pa.int64()) for name, values in numbers.items()})
    return events.filter(to_bool_array(~find_reloads(table)[0]))


def _drop(before: pa.Table, today: pa.Table, after: pa.Table) -> pa.Table:
    """Return the slots of `today` without reloads, judged with those next to it."""
    if not len(today):
        return today
    slot = _column(today, "slot")
    start, end = int(slot.min()) // _DAY * _DAY, (int(slot.max()) // _DAY + 1) * _DAY
    before = before.filter(to_bool_array(_column(before, "slot") >= start - CONTEXT))
    after = after.filter(to_bool_array(_column(after, "slot") < end + CONTEXT))
    table = pa.concat_tables([before, today, after]).unify_dictionaries()
    is_reload, is_start = find_reloads(table)
    mine = slice(len(before), len(before) + len(today))
    is_reload, is_start = is_reload[mine], is_start[mine]
    if not (is_reload.any() or is_start.any()):
        return today
    today = today.set_column(
        today.schema.get_field_index("opens"),
        SLOT_SCHEMA.field("opens"),
        to_arrow_array(np.where(is_start, 1, to_numpy(today["opens"])).astype(np.uint32), pa.uint32()),
    )
    last = np.where(is_start, _column(today, "first_ts"), _column(today, "last_ts"))
    today = today.set_column(
        today.schema.get_field_index("last_ts"),
        SLOT_SCHEMA.field("last_ts"),
        to_arrow_array(last, SLOT_SCHEMA.field("last_ts").type),
    )
    return today.filter(to_bool_array(~is_reload))


def find_reloads(slots: pa.Table) -> tuple[Bools, Bools]:
    """Return which rows hold reloads only, and which hold the first open of a run and reloads.

    Args:
        slots: in `SLOT_SCHEMA`, with unified dictionaries, in any order; several rows of a key and slot are one slot.
    """
    key, slot = _encode_keys(slots), _column(slots, "slot")
    earliest_slot = int(slot.min()) if len(slot) else 0
    order = order_by([key, (slot - earliest_slot) // SLOT_MICROS], "stable")
    key, slot = key[order], slot[order]
    first, last = _column(slots, "first_ts")[order], _column(slots, "last_ts")[order]
    opens = to_numpy(slots["opens"]).astype(np.int64)[order]
    is_new = np.ones(len(key), np.bool_)
    is_new[1:] = (key[1:] != key[:-1]) | (slot[1:] != slot[:-1])
    starts = np.flatnonzero(is_new)  # rows of several reader zones are one slot
    group = np.cumsum(is_new) - 1
    earliest = np.minimum.reduceat(first, starts) if len(starts) else first
    latest = np.maximum.reduceat(last, starts) if len(starts) else last
    count = np.add.reduceat(opens, starts) if len(starts) else opens
    is_reload, is_start = _judge(key[starts], earliest, latest, count)
    # Of the rows of the slot in which a run starts, the one that holds its first open stays.
    holds_first = first == earliest[group]
    repeated = np.zeros(len(key), np.bool_)
    repeated[1:] = holds_first[1:] & holds_first[:-1] & (group[1:] == group[:-1])
    start = is_start[group] & holds_first & ~repeated
    reload = is_reload[group] | (is_start[group] & ~start)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return reload[back], start[back]


def _judge(key: Ints, first: Ints, last: Ints, opens: Ints) -> tuple[Bools, Bools]:
    """Return which slots hold reloads only, and which hold the start of a run; slots are by key and time."""
    rows = len(key)
    is_reload, is_start = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    cross = first[1:] - last[:-1]
    slack = np.clip(_SHARE * cross, _LEAST, _MOST)
    inner = (last - first) / np.maximum(opens - 1, 1)
    is_single = opens == 1
    linked = (key[1:] == key[:-1]) & (cross >= SHORTEST) & (cross <= LONGEST)
    linked &= is_single[:-1] | (np.abs(cross - inner[:-1]) <= slack)
    linked &= is_single[1:] | (np.abs(cross - inner[1:]) <= slack)
    # Two links are of one run when they are equally long.
    joined = linked[1:] & linked[:-1] & (np.abs(cross[1:] - cross[:-1]) <= np.minimum(slack[1:], slack[:-1]))
    begins = linked.copy()
    begins[1:] &= ~joined
    heads = np.flatnonzero(begins)
    if not len(heads):
        return is_reload, is_start
    run_of_link = np.cumsum(begins) - 1
    links = np.bincount(run_of_link[linked], minlength=len(heads))
    tails = heads + links
    total = np.concatenate([[0], np.cumsum(opens)])
    count, span = total[tails + 1] - total[heads], last[tails] - first[heads]
    interval = span / np.maximum(count - 1, 1)
    chosen = np.flatnonzero((count >= MIN_OPENS) & (span >= MIN_SPAN))
    end, run_interval = -1, 0.0
    for head, tail, each in zip(heads[chosen].tolist(), tails[chosen].tolist(), interval[chosen].tolist(), strict=True):
        run = slice(head, tail + 1)
        if _log_chance(first[run], last[run], opens[run], each) > math.log(MAX_CHANCE):
            continue
        is_reload[head : tail + 1] = True
        near = end >= 0 and key[end] == key[head] and first[head] - last[end] <= MIN_SPAN
        is_same = near and abs(each - run_interval) <= float(np.clip(_SHARE * each, _LEAST, _MOST))
        if not is_same and head != end:  # else it continues the run before, of which the start stays
            is_reload[head], is_start[head] = False, True
        end, run_interval = tail, each
    return is_reload, is_start


def _log_chance(first: Ints, last: Ints, opens: Ints, interval: float) -> float:
    """Return a bound of the log chance that independent opens, as many an hour, are as regular as a run."""
    # The distances of independent opens vary as much as their mean, and sums of them by its square root: the squared
    # deviations of the distances between slots, and of the lengths of slots, follow a chi-squared distribution.
    distances = np.maximum(opens - 1, 1)
    within = (last - first - distances * interval)[opens > 1] / (interval * np.sqrt(distances[opens > 1]))
    between = (first[1:] - last[:-1]) / interval - 1.0
    squares = float(within @ within + between @ between)
    half = (len(within) + len(between) - 1) / 2  # the interval is known from the same opens
    return half * math.log(max(squares / 2, 1e-300)) - math.lgamma(half + 1)


def _encode_keys(slots: pa.Table) -> Ints:
    codes = np.zeros(len(slots), np.int64)
    for name in _KEY:
        column = slots[name].combine_chunks()
        codes = codes * max(len(column.dictionary), 1) + to_numpy(column.indices)
    return codes


def _column(slots: pa.Table, name: str) -> Ints:
    return to_numpy(slots[name])
