"""Entries of two logs are paired as often as possible, each at most once, whatever their order."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.patterns.ingest.open_matching import OwnOpen, UserOpen, find_repeats, match_opens

KEY, OTHER = ("act_1", "today", "default"), ("act_2", "today", "default")
SECOND = 1_000_000


def _user(seconds: float, request_id: str = "", key: tuple[str, str, str] = KEY) -> UserOpen:
    return UserOpen(int(seconds * SECOND), key, request_id, "")


def _own(
    seconds: float, request_id: str = "", *, took: float = 0, human: bool = True, key: tuple[str, str, str] = KEY
) -> OwnOpen:
    at = int(seconds * SECOND)
    return OwnOpen(at, key, request_id, human, at + int(took * SECOND))


def _brute_force(user: list[UserOpen], own: list[OwnOpen]) -> int:
    """Return the largest number of pairs within 5 s, by augmenting paths."""
    partner: dict[int, int] = {}

    def augment(index: int, seen: set[int]) -> bool:
        for other, item in enumerate(own):
            near = item.ts - 5 * SECOND <= user[index].ts <= item.end + 5 * SECOND and item.key == user[index].key
            if near and other not in seen:
                seen.add(other)
                if other not in partner or augment(partner[other], seen):
                    partner[other] = index
                    return True
        return False

    return sum(augment(index, set()) for index in range(len(user)))


def test_which_entries_are_one_open(subtests: pytest.Subtests) -> None:
    """By id where both have one, else by key and time."""
    for user, own, pairs in [
        ([_user(0)], [_own(5)], 1),
        ([_user(0)], [_own(5.1)], 0),
        ([_user(34)], [_own(0, took=30)], 1),  # a web server writes the time of the answer
        ([_user(600)], [_own(0, took=1e6)], 0),
        ([_user(0)], [_own(0, key=OTHER)], 0),
        ([_user(0), _user(1)], [_own(0)], 1),
        ([_user(0)], [_own(0), _own(0)], 1),
        ([_user(0, "a")], [_own(0, "b")], 0),  # two requests
        ([_user(0, "a")], [_own(900, "a")], 1),
        ([_user(0, "a")], [_own(0, "a", key=OTHER)], 0),  # a batch reads several reports with one id
        ([_user(0, "a")], [_own(0, "17")], 1),  # the number of a queued request is in no other log
        ([_user(0)], [_own(0, "a")], 1),
        ([_user(0, "a")], [_own(0)], 1),
        ([_user(0)], [_own(0, human=False)], 0),
        ([_user(0, "a")], [_own(0, "a", human=False)], 1),
        ([_user(0, "a"), _user(0, "b")], [_own(0, "b"), _own(0, "a")], 2),
    ]:
        with subtests.test(user=user):
            assert len(match_opens(user, own)) == pairs


@given(
    user=st.lists(st.builds(_user, st.integers(0, 40), key=st.sampled_from([KEY, OTHER])), max_size=12),
    own=st.lists(
        st.builds(_own, st.integers(0, 40), took=st.integers(0, 10), key=st.sampled_from([KEY, OTHER])), max_size=12
    ),
)
def test_as_many_pairs_as_possible(user: list[UserOpen], own: list[OwnOpen]) -> None:
    """No other assignment pairs more, and no entry is in two pairs."""
    matched = match_opens(user, own)
    assert len(set(matched.values())) == len(matched) == _brute_force(user, own)


@given(
    user=st.lists(st.builds(_user, st.integers(0, 20), st.sampled_from(["", "a", "b"])), max_size=8),
    own=st.lists(st.builds(_own, st.integers(0, 20), st.sampled_from(["", "a", "b", "7"])), max_size=8),
    data=st.data(),
)
def test_order_does_not_matter(user: list[UserOpen], own: list[OwnOpen], data: st.DataObject) -> None:
    """The same entries in another order make the same pairs."""

    def pairs(user: list[UserOpen], own: list[OwnOpen]) -> list[tuple[UserOpen, OwnOpen]]:
        return sorted((user[index], own[other]) for index, other in match_opens(user, own).items())

    assert pairs(user, own) == pairs(data.draw(st.permutations(user)), data.draw(st.permutations(own)))


def test_a_reader_that_comes_back_for_its_answer_opened_once() -> None:
    """The first of the entries with one id and key counts; without an id each counts."""
    hour = timedelta(hours=1).total_seconds()
    own = [_own(30, "17"), _own(0, "17"), _own(60, "17"), _own(0), _own(0), _own(0, "17", key=OTHER)]
    assert find_repeats(own) == {0, 2}
    assert find_repeats([_own(0, "17"), _own(hour + 1, "17")]) == set()
    assert find_repeats([_own(0, "17", human=False), _own(1, "17")]) == set()
