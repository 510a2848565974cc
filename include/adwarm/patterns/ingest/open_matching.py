"""Finds which opens in the user's log are opens of the open log too, so that each counts once.

Two entries are one open when they are of the same report key and

1. carry the same request id, or
2. do not both carry an id, and the entry in the user's log lies within 5 s of the time that the open log's took: from
   when it was asked for to when it was answered. A web server writes the time of the answer.

One entry matches at most one, so two opens in one log never become one. Which ones match depends on the entries alone,
not on their order: rule 1 pairs entries of one id by time, rule 2 pairs as many as possible.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from adwarm.access_log.timestamps import HOUR, SECOND

NEAR_MICROS = 5 * SECOND
LONGEST_ANSWER = 60 * SECOND
"""Longer answers count as this long; a reader waits for 30 s at most."""
REPEAT_MICROS = HOUR
"""Entries with the same key and id this close to the one before are one open: the reader came back for its answer."""
_LONGEST_QUEUE_ID = 19

Key = tuple[str, str, str]


class UserOpen(NamedTuple):
    """An open by a human in the user's log; `ts` in microseconds, `request_id` empty when it has none."""

    ts: int
    key: Key
    request_id: str
    time_zone: str


class OwnOpen(NamedTuple):
    """An open in the open log.

    Attributes:
        ts: when it was asked for, microseconds.
        end: when it was answered.
        is_human: whether a human waited for it.
        request_id: empty when it has none.
    """

    ts: int
    key: Key
    request_id: str
    is_human: bool
    end: int


def match_opens(user: Sequence[UserOpen], own: Sequence[OwnOpen]) -> dict[int, int]:
    """Return by index of the open in the user's log the index of the same open in the open log."""
    matched = dict(_match_ids(user, own))
    taken = set(matched.values())
    left_user: dict[tuple[Key, bool], list[int]] = defaultdict(list)
    left_own: dict[tuple[Key, bool], list[int]] = defaultdict(list)
    for index in _in_order(user):
        if index not in matched:
            left_user[user[index].key, bool(user[index].request_id)].append(index)
    for index in _in_order(own):
        if index not in taken and own[index].is_human:
            left_own[own[index].key, _has_request_id(own[index])].append(index)
    for key in dict.fromkeys(key for key, _ in left_user):
        for user_has_id, own_has_id in ((False, False), (False, True), (True, False)):
            theirs, ours = left_user.get((key, user_has_id), []), left_own.get((key, own_has_id), [])
            pairs = dict(_match_times(user, theirs, own, ours)) if theirs and ours else {}
            if pairs:
                matched |= pairs
                used = set(pairs.values())
                left_user[key, user_has_id] = [index for index in theirs if index not in pairs]
                left_own[key, own_has_id] = [index for index in ours if index not in used]
    return matched


def find_repeats(own: Sequence[OwnOpen]) -> set[int]:
    """Return the indexes of the opens that repeat one with the same key and id: requests that came for their answer."""
    repeats, last = set(), dict[tuple[Key, str], int]()
    for index in _in_order(own):
        item = own[index]
        if not item.request_id or not item.is_human:
            continue
        name = (item.key, item.request_id)
        if name in last and item.ts - last[name] <= REPEAT_MICROS:
            repeats.add(index)
        last[name] = item.ts
    return repeats


def _match_ids(user: Sequence[UserOpen], own: Sequence[OwnOpen]) -> Iterator[tuple[int, int]]:
    ours: dict[tuple[Key, str], list[int]] = defaultdict(list)
    for index in reversed(_in_order(own)):
        if own[index].request_id:
            ours[own[index].key, own[index].request_id].append(index)
    for index in _in_order(user):
        waiting = ours.get((user[index].key, user[index].request_id)) if user[index].request_id else None
        if waiting:
            yield index, waiting.pop()


def _match_times(
    user: Sequence[UserOpen], theirs: Sequence[int], own: Sequence[OwnOpen], ours: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Pair as many as possible: each open of the user's log takes the own one that can wait the shortest."""
    open_now: list[tuple[int, int]] = []
    position = 0
    for index in theirs:
        at = user[index].ts
        while position < len(ours) and own[ours[position]].ts - NEAR_MICROS <= at:
            item = own[ours[position]]
            end = min(item.end, item.ts + LONGEST_ANSWER) + NEAR_MICROS
            heapq.heappush(open_now, (end, position))
            position += 1
        while open_now and open_now[0][0] < at:
            heapq.heappop(open_now)
        if open_now:
            yield index, ours[heapq.heappop(open_now)[1]]


def _in_order(items: Sequence[UserOpen] | Sequence[OwnOpen]) -> list[int]:
    """Return the indexes by time, and by everything else where times are equal."""
    return sorted(range(len(items)), key=items.__getitem__)


def _has_request_id(item: OwnOpen) -> bool:
    """Whether an open carries its request's id; the number of a queued request is in no other log."""
    return bool(item.request_id) and not (item.request_id.isdecimal() and len(item.request_id) <= _LONGEST_QUEUE_ID)
