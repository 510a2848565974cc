"""The cache of representations: keys, recency, the limit in bytes, and one computation per key."""

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression import CompressionStats, RepresentationKey, TranscodeCache
from adwarm.compression.envelope import CODECS, Codec
from adwarm.compression.transcodes import NotAcceptable, choose_encoding, content_coding
from adwarm.foundation.errors import BadRequest, Corrupt


def _key(name: str, coding: str = "br") -> RepresentationKey:
    return RepresentationKey(name, coding)


def _put(cache: TranscodeCache, name: str, value: bytes) -> None:
    assert cache.get_or_compute(_key(name), "zstd", lambda: value) == value


def test_every_part_of_the_key_counts() -> None:
    """Another document, coding or shape is another value."""
    cache = TranscodeCache(1000)
    keys = [
        RepresentationKey("a", "br"),
        RepresentationKey("b", "br"),
        RepresentationKey("a", "gzip"),
        RepresentationKey("a", "br", "rows"),
    ]
    for number, key in enumerate(keys):
        cache.get_or_compute(key, "zstd", lambda number=number: b"%d" % number)
    assert [cache.get(key, "zstd") for key in keys] == [b"0", b"1", b"2", b"3"]


def test_the_least_recently_used_value_is_evicted_first() -> None:
    """A read renews a value; insertion order alone does not decide."""
    cache = TranscodeCache(30)
    for name in ("a", "b", "c"):
        _put(cache, name, name.encode() * 10)
    assert cache.get(_key("a"), "zstd")
    _put(cache, "d", b"d" * 10)
    assert [cache.get(_key(name), "zstd") is not None for name in ("a", "b", "c", "d")] == [True, False, True, True]


def test_a_value_that_is_too_large_is_not_cached_and_evicts_nothing() -> None:
    """One value over the limit leaves the others; a limit of 0 caches nothing."""
    cache = TranscodeCache(10)
    _put(cache, "a", b"12345")
    _put(cache, "b", b"x" * 11)
    assert (cache.get(_key("a"), "zstd"), cache.get(_key("b"), "zstd"), cache._values.currsize) == (b"12345", None, 5)
    none = TranscodeCache(0)
    _put(none, "a", b"")
    assert none.get(_key("a"), "zstd") is None


@given(
    budget=st.integers(0, 60),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 30)), max_size=60),
)
def test_it_behaves_like_an_ordered_dict_with_a_budget(budget: int, steps: list[tuple[bool, int, int]]) -> None:
    """Against a plain model: same values, same bytes, never over the limit."""
    cache, model = TranscodeCache(budget), OrderedDict[int, bytes]()
    for is_put, number, size in steps:
        key = _key(str(number))
        if is_put:
            expected = model.get(number, bytes(size))
            assert cache.get_or_compute(key, "zstd", lambda size=size: bytes(size)) == expected
            if number not in model and budget and size <= budget:
                model[number] = bytes(size)
            while sum(map(len, model.values())) > budget:
                model.popitem(last=False)
        else:
            assert cache.get(key, "zstd") == model.get(number)
        if number in model:
            model.move_to_end(number)
        assert cache._values.currsize == sum(map(len, model.values())) <= budget


def test_threads_do_not_lose_bytes() -> None:
    """Many threads at once leave the sums right."""
    cache = TranscodeCache(500)

    def work(seed: int) -> None:
        for step in range(300):
            byte = bytes([(seed * 7 + step) % 40])
            assert cache.get_or_compute(_key(byte.hex()), "zstd", lambda byte=byte: byte * 30) == byte * 30

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert 0 < cache._values.currsize <= 500
    assert cache._values.currsize % 30 == 0


def test_threads_share_one_computation() -> None:
    """Eight threads that ask for a key at once cause one computation, and other keys are computed meanwhile."""
    cache, calls, release = TranscodeCache(100), list[int](), threading.Event()
    ready = threading.Barrier(9)

    def compute() -> bytes:
        calls.append(1)
        release.wait(10)
        return b"value"

    def ask() -> bytes:
        ready.wait(10)
        return cache.get_or_compute(_key("a"), "zstd", compute)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(ask) for _ in range(8)]
        ready.wait(10)
        assert cache.get_or_compute(_key("b"), "zstd", lambda: b"b") == b"b"
        release.set()
        assert {future.result(10) for future in futures} == {b"value"}
    assert calls == [1]


def test_those_that_wait_get_what_the_computation_gave() -> None:
    """A value, also one too large to be cached, or the error; after an interruption they compute, and none is left."""
    cache, key, futures = TranscodeCache(4), _key("x"), list[Future[bytes | None]]()

    def compute(result: bytes | BaseException) -> bytes:
        futures.append(cache._running[key])
        if isinstance(result, BaseException):
            raise result
        return result

    assert cache.get_or_compute(key, "zstd", lambda: compute(b"value")) == b"value"
    for error in (Corrupt("damaged"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            cache.get_or_compute(key, "zstd", lambda error=error: compute(error))
    assert cache._running == {}
    value, failed, interrupted = futures
    assert (value.result(0), interrupted.result(0)) == (b"value", None)
    cache._running[key] = value
    assert cache.get_or_compute(key, "zstd", bytes) == b"value"
    cache._running[key] = failed
    with pytest.raises(Corrupt, match="damaged"):
        cache.get_or_compute(key, "zstd", bytes)
    cache.put(key, b"here")
    assert cache.get_or_compute(key, "zstd", bytes) == b"here"


def test_an_error_is_not_cached() -> None:
    """A failed computation raises, and is tried again by the next call."""
    cache = TranscodeCache(100)

    def fail() -> bytes:
        raise Corrupt

    with pytest.raises(Corrupt):
        cache.get_or_compute(_key("x"), "zstd", fail)
    assert cache.get_or_compute(_key("x"), "zstd", lambda: b"ok") == b"ok"


def test_an_interrupted_computation_blocks_nobody() -> None:
    """When the computing thread is interrupted, a waiting one computes the value itself."""
    cache, started, release = TranscodeCache(100), threading.Event(), threading.Event()

    def interrupted() -> bytes:
        started.set()
        release.wait(10)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_compute, _key("x"), "zstd", interrupted)
        assert started.wait(10)
        second = pool.submit(cache.get_or_compute, _key("x"), "zstd", lambda: b"ok")
        release.set()
        assert second.result(10) == b"ok"
        with pytest.raises(KeyboardInterrupt):
            first.result(10)


def test_hits_are_counted_by_the_codec_that_need_not_be_decoded(counted: CompressionStats) -> None:
    """A value that is not made again counts: a cached one, and one that another thread is making; a miss does not."""
    cache, begun, release = TranscodeCache(100), threading.Event(), threading.Event()

    def compute() -> bytes:
        begun.set()
        release.wait(30)
        return b"made"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_compute, _key("a"), "zstd", compute)
        begun.wait(30)
        second = pool.submit(cache.get_or_compute, _key("a"), "zstd", bytes)
        release.set()
        assert (first.result(30), second.result(30)) == (b"made", b"made")
    assert cache.get(_key("b"), "gzip") is None
    cache.put(_key("b"), b"here")
    cache.put(_key("c"), b"x" * 101)
    assert (cache.get(_key("b"), "gzip"), cache.get(_key("c"), "gzip")) == (b"here", None)
    assert {codec: counts.cache_hits for codec, counts in counted.take_counts().items()} == {"zstd": 1, "gzip": 1}
    assert counted.take_counts() == {}


def test_the_codec_follows_the_standard(subtests: pytest.Subtests) -> None:
    """Each header gets a codec it accepts, the stored one first."""
    for header, stored, chosen in [
        ("gzip, deflate, br, zstd", "zstd", "zstd"),
        ("gzip, deflate, br", "brotli", "brotli"),
        ("gzip;q=0.2, br;q=0.9", "gzip", "gzip"),
        ("gzip, br", "zstd", "brotli"),
        ("gzip;q=1.0, br;q=0.5", "zstd", "gzip"),
        ("deflate", "zstd", "identity"),
        ("", "zstd", "identity"),
        ("", "identity", "identity"),
        ("gzip", "identity", "identity"),
        ("gzip, identity;q=0", "identity", "gzip"),
        ("*", "zstd", "zstd"),
        ("*;q=0.5, zstd;q=0", "zstd", "brotli"),
        ("gzip, *;q=0", "zstd", "gzip"),
        ("zstd;q=0, identity", "zstd", "identity"),
        ("identity;q=1, gzip;q=0.5", "brotli", "identity"),
        ("GZIP ; Q=0.8", "zstd", "gzip"),
        ("x-gzip", "gzip", "gzip"),
        ("zstd;q=nan, gzip;q=-1, br;q=2.0, ;;,", "zstd", "identity"),
        ("gzip;q=0.001", "zstd", "gzip"),
        ("gzip;q=0, br;q=0, zstd;q=0", "zstd", "identity"),
        ("identity;q=0.1, *;q=0", "zstd", "identity"),
        ("identity;q=0, gzip;q=0.1", "identity", "gzip"),
        ("identity;q=0, *", "identity", "zstd"),
        ("gzip;q=0.3, br;q=0.3", "zstd", "brotli"),
        ("br;q=0, *;q=0.1, gzip;q=0.2", "brotli", "gzip"),
        ("dcb, zstd", "zstd", "zstd"),
    ]:
        with subtests.test(header=header, stored=stored, chosen=chosen):
            assert choose_encoding(header, stored) == chosen


@pytest.mark.parametrize("header", ["*;q=0", "identity;q=0", "identity;q=0, *;q=0", "identity;q=0, deflate"])
def test_a_header_that_excludes_plain_bytes_too_is_an_error(header: str) -> None:
    """Nothing may be sent that the client has excluded; the error names the codings."""
    with pytest.raises(NotAcceptable, match="zstd, br, gzip and identity"):
        choose_encoding(header, "zstd")


@given(header=st.text(alphabet=st.characters(exclude_characters="0"), max_size=80), stored=st.sampled_from(CODECS))
def test_any_header_without_an_exclusion_gets_a_codec(header: str, stored: Codec) -> None:
    """No header raises, whatever its bytes, unless it excludes codings."""
    assert choose_encoding(header, stored) in CODECS


@given(
    weights=st.dictionaries(
        st.sampled_from(["zstd", "br", "gzip", "identity", "*"]), st.sampled_from([0, 1, 300, 1000])
    ),
    stored=st.sampled_from(CODECS),
)
def test_a_refused_coding_is_never_sent(weights: dict[str, int], stored: Codec) -> None:
    """A coding of weight 0 is never chosen; an error says that all are excluded, and only then."""
    header = ", ".join(["gzip;q=no", "!x;q=0", *(f"{name};q={weight / 1000:.3f}" for name, weight in weights.items())])
    others = weights.get("*", 0)
    accepted = {name for name in ("zstd", "br", "gzip") if weights.get(name, others) > 0}
    if weights.get("identity", weights.get("*", 1)) > 0:
        accepted.add("identity")
    if accepted:
        assert content_coding(choose_encoding(header, stored)) in accepted
    else:
        with pytest.raises(NotAcceptable):
            choose_encoding(header, stored)


def test_a_malformed_member_is_left_out() -> None:
    """Those after it count, and a weight above one is one."""
    assert choose_encoding("gzip;q=no, zstd", "zstd") == "zstd"
    assert choose_encoding("br, gzip;q=1.9", "zstd") == "brotli"


def test_codecs_have_their_http_names() -> None:
    """Brotli is `br` in HTTP."""
    assert [content_coding(codec) for codec in ("identity", "gzip", "brotli", "zstd")] == [
        "identity",
        "gzip",
        "br",
        "zstd",
    ]
    with pytest.raises(BadRequest):
        content_coding("br")
