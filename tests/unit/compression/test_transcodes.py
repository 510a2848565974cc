"""The cache of decoded payloads: isolation, recency, and the limit in bytes."""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.choice import compress, decompress
from adwarm.compression.decoded_cache import DecodedCache
from adwarm.foundation.errors import Corrupt
from adwarm.settings import CompressionSettings


def test_another_account_or_codec_finds_nothing() -> None:
    """The same bytes under another account, or in another codec, are another value."""
    cache = DecodedCache(1000)
    cache.put("act_1", b"blob", b"mine")
    assert cache.get("act_2", b"blob") is None
    assert cache.get("act_1", b"blob", "gzip") is None
    assert cache.get("act_1", b"blob") == b"mine"


def test_a_refreshed_payload_never_gets_the_old_value() -> None:
    """Blobs with the same beginning are distinct: every byte counts."""
    settings, cache = CompressionSettings(codec="gzip"), DecodedCache(1 << 20)
    answers = [b'{"ad_id":"1","impressions":"1000","clicks":"%06d"},' % number * 50 for number in range(50)]
    for raw in answers:
        blob = compress(raw, settings).blob
        assert cache.get_or_compute("act_1", blob, lambda blob=blob: decompress(blob, settings)) == raw


def test_the_least_recently_used_value_is_evicted_first() -> None:
    """A read renews a value; insertion order alone does not decide."""
    cache = DecodedCache(30)
    for name in (b"a", b"b", b"c"):
        cache.put("act_1", name, name * 10)
    assert cache.get("act_1", b"a")
    cache.put("act_1", b"d", b"d" * 10)
    assert [cache.get("act_1", name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


def test_a_value_that_is_too_large_is_not_cached_and_evicts_nothing() -> None:
    """One value over the limit leaves the others; a limit of 0 caches nothing."""
    cache = DecodedCache(10)
    cache.put("act_1", b"a", b"12345")
    cache.put("act_1", b"b", b"x" * 11)
    assert cache.get("act_1", b"a") == b"12345"
    assert cache.get("act_1", b"b") is None
    none = DecodedCache(0)
    none.put("act_1", b"a", b"")
    assert none.get("act_1", b"a") is None


@given(
    budget=st.integers(0, 60),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 30)), max_size=60),
)
def test_it_behaves_like_an_ordered_dict_with_a_budget(budget: int, steps: list[tuple[bool, int, int]]) -> None:
    """Against a plain model: same values, same bytes, never over the limit."""
    cache, model = DecodedCache(budget), OrderedDict[int, bytes]()
    for is_put, key, size in steps:
        if is_put:
            cache.put("act_1", bytes([key]), bytes(size))
            model.pop(key, None)
            if size <= budget and budget:
                model[key] = bytes(size)
            while sum(map(len, model.values())) > budget:
                model.popitem(last=False)
        else:
            assert cache.get("act_1", bytes([key])) == model.get(key)
            if key in model:
                model.move_to_end(key)
        assert (cache._values.currsize, len(cache._values)) == (sum(map(len, model.values())), len(model))


def test_threads_do_not_lose_bytes() -> None:
    """Many threads at once leave the sums right."""
    cache = DecodedCache(500)

    def work(seed: int) -> None:
        for step in range(300):
            blob = bytes([(seed * 7 + step) % 40])
            assert cache.get_or_compute("act_1", blob, lambda blob=blob: blob * 30) == blob * 30

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert cache._values.currsize == len(cache._values) * 30 <= 500


def test_an_error_is_not_cached() -> None:
    """A failed computation raises, and is tried again."""
    cache = DecodedCache(100)

    def fail() -> bytes:
        raise Corrupt

    with pytest.raises(Corrupt):
        cache.get_or_compute("act_1", b"x", fail)
    assert cache.get_or_compute("act_1", b"x", lambda: b"ok") == b"ok"
