"""Deltas: against earlier documents of the same key only, made once, and never larger than the plain coding."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from hashlib import sha256

import pytest

from adwarm.compression import compress, decode_envelope, decompress
from adwarm.foundation.errors import Corrupt, TooMuchData, Transient
from adwarm.model import Account, ReportKey, Window
from adwarm.serving import deltas as module
from adwarm.serving.deltas import CachedDelta, DeltaKey, Deltas, DeltaThreads, find_dictionary
from adwarm.settings import CompressionSettings
from adwarm.store import Context, entries, entry_versions
from adwarm.store.database import write_transaction
from adwarm_client.codings import decode_delta
from tests.unit.conftest import SQLITE_ONLY, ReaderHarness

KEY = ReportKey("act_1", "last_7d")
ZONE = "UTC"
PLAIN = 100_000


def _document(desk: ReaderHarness, key: ReportKey = KEY) -> bytes:
    return desk.reader.get_body(desk.reader.read(key))


def _publish_two(desk: ReaderHarness, key: ReportKey = KEY) -> tuple[bytes, bytes]:
    """Warm a key on two days, and return both documents."""
    desk.warm(key)
    old = _document(desk, key)
    desk.bench.clock.sleep(24 * 3600)
    desk.warm(key)
    return old, _document(desk, key)


def _context(desk: ReaderHarness) -> Context:
    return desk.bench.prefetch.context


def _wanted(document: bytes, dictionary: bytes, key: ReportKey = KEY) -> DeltaKey:
    return DeltaKey(key, sha256(document).hexdigest(), sha256(dictionary).digest())


def test_a_returning_reader_gets_what_changed(desk: ReaderHarness) -> None:
    """Yesterday's document is the dictionary of today's, which comes back byte for byte."""
    old, new = _publish_two(desk)
    deltas, wanted = Deltas(_context(desk)), _wanted(new, old)
    assert deltas.peek(wanted, PLAIN) is None
    body = deltas.get(wanted, ZONE, lambda: new, PLAIN)
    assert body is not None
    assert decode_delta(body, old, len(new)) == new != old
    assert len(body) < len(new) / 2
    assert deltas.peek(wanted, PLAIN) == CachedDelta(body)


@SQLITE_ONLY
def test_the_document_itself_is_a_dictionary(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that holds the current document and sends no ETag gets next to nothing, without a query."""
    desk.warm(KEY)
    document = _document(desk)
    monkeypatch.setattr(entry_versions, "find", lambda *_: pytest.fail("not needed"))
    body = Deltas(_context(desk)).get(_wanted(document, document), ZONE, lambda: document, PLAIN)
    assert body is not None
    assert len(body) < 80
    assert decode_delta(body, document, len(document)) == document


def test_another_accounts_document_is_never_a_dictionary(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of another account's document behaves as one that does not exist: not even its bytes are read."""
    other = ReportKey("act_2", "last_7d")
    old, _ = _publish_two(desk, other)
    desk.warm(KEY)
    document = _document(desk)
    assert find_dictionary(_context(desk), other, "UTC", sha256(old).digest()) == old
    monkeypatch.setattr(module, "decompress", lambda *_: pytest.fail("a foreign document was decoded"))
    unknown = sha256(b"unknown").digest()
    for digest in (sha256(old).digest(), unknown):
        assert find_dictionary(_context(desk), KEY, ZONE, digest) is None
    rows = [
        entry_versions.find(desk.engine, "act_1", "default", desk.bench.settings.spec("default").hash, digest.hex())
        for digest in (sha256(old).digest(), unknown)
    ]
    assert rows == [[], []]
    deltas = Deltas(_context(desk))
    assert deltas.get(_wanted(document, old), ZONE, lambda: pytest.fail("not needed"), PLAIN) is None


def test_another_range_is_no_dictionary_but_another_name_of_the_window_is(desk: ReaderHarness) -> None:
    """A window is stored once: a reader who asked for it by its days gets deltas, one of another range does not."""
    old, _ = _publish_two(desk, ReportKey("act_1", "yesterday"))
    digest = sha256(old).digest()
    context = _context(desk)
    assert find_dictionary(context, ReportKey("act_1", "yesterday"), ZONE, digest) == old
    assert find_dictionary(context, ReportKey("act_1", "2026-11-24..2026-11-24"), ZONE, digest) == old
    assert find_dictionary(context, ReportKey("act_1", "2026-11-25..2026-11-25"), ZONE, digest) is None
    assert find_dictionary(context, KEY, ZONE, digest) is None


def test_a_damaged_version_is_ignored(desk: ReaderHarness) -> None:
    """A dictionary whose bytes are corrupt gives the plain coding."""
    old, new = _publish_two(desk)
    desk.corrupt_payloads()
    assert Deltas(_context(desk)).get(_wanted(new, old), ZONE, lambda: new, PLAIN) is None


@SQLITE_ONLY
def test_versions_that_do_not_fit_are_passed_over(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another range, damaged ones and other bytes stand before the right one, which is found."""
    old, _ = _publish_two(desk)
    context, digest = _context(desk), sha256(old).digest()
    spec = desk.bench.settings.spec("default").hash
    ((good, sealed),) = entry_versions.find(desk.engine, "act_1", "default", spec, digest.hex())
    by_digest = sorted((str(number).encode() for number in range(9_000)), key=lambda text: sha256(text).digest())
    others = [*by_digest[:4], *by_digest[-4:]]
    answers = {b"large": TooMuchData("large"), b"damaged": Corrupt("damaged")} | {other: other for other in others}
    assert sha256(others[0]).digest() < digest < sha256(others[-1]).digest()

    def find(*_: object) -> list[entry_versions.StoredVersion]:
        new_year = Window(date(2020, 1, 1), date(2020, 1, 1))
        foreign = replace(good, key=ReportKey("act_1", str(new_year)), window=new_year)
        return [
            entry_versions.StoredVersion(foreign, b"foreign"),
            *(entry_versions.StoredVersion(good, blob) for blob in (*answers, sealed)),
        ]

    def decode(blob: bytes, settings: CompressionSettings) -> bytes:
        answer = answers.get(blob) or decompress(blob, settings)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(entry_versions, "find", find)
    monkeypatch.setattr(module, "decompress", decode)
    assert find_dictionary(context, KEY, ZONE, digest) == old


@SQLITE_ONLY
def test_a_version_answered_its_own_key_and_other_names_of_its_window(desk: ReaderHarness) -> None:
    """Its own key whatever the range means by now, and a key of the same days then; none before or after."""
    old, _ = _publish_two(desk)
    spec = desk.bench.settings.spec("default")
    ((version, _),) = entry_versions.find(desk.engine, "act_1", "default", spec.hash, sha256(old).hexdigest())
    account, days = Account("act_1", ZONE, ZONE), version.window
    assert module._answered(replace(version, window=Window(days.since, days.since)), KEY, account, spec)
    assert module._answered(version, ReportKey("act_1", str(days)), account, spec)
    for shift in (-1, 1):
        other = Window(days.since + timedelta(days=shift), days.until + timedelta(days=shift))
        for name in (KEY.date_range, "2020-01-01..2020-01-01", "yesterday"):
            shifted = replace(version, key=ReportKey("act_1", name), window=other)
            assert not module._answered(shifted, ReportKey("act_1", str(days)), account, spec)


@SQLITE_ONLY
def test_a_delta_is_never_larger_than_the_plain_coding(desk: ReaderHarness) -> None:
    """A delta of the plain coding's size is not sent, now or from the cache."""
    old, new = _publish_two(desk)
    deltas, wanted = Deltas(_context(desk)), _wanted(new, old)
    body = deltas.get(wanted, ZONE, lambda: new, PLAIN)
    assert body is not None
    assert deltas.get(wanted, ZONE, lambda: new, len(body)) is None
    assert deltas.get(wanted, ZONE, lambda: new, len(body) - 1) is None
    assert deltas.get(wanted, ZONE, lambda: new, len(body) + 1) == body
    assert deltas.peek(wanted, len(body)) == CachedDelta(None)


@SQLITE_ONLY
def test_concurrent_readers_share_one_computation(desk: ReaderHarness) -> None:
    """Sixteen threads that ask at once get the same bytes, and the document is loaded once."""
    old, new = _publish_two(desk)
    deltas, wanted = Deltas(_context(desk)), _wanted(new, old)
    loads, started = [0], threading.Event()

    def load() -> bytes:
        loads[0] += 1
        started.wait(30)
        return new

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(deltas.get, wanted, ZONE, load, PLAIN) for _ in range(16)]
        started.set()
        bodies = {future.result() for future in futures}
    assert len(bodies) == 1
    assert None not in bodies
    assert loads == [1]


@SQLITE_ONLY
def test_an_error_is_not_remembered(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the document reaches the caller; a database that is away gives the plain coding; both pass."""
    old, new = _publish_two(desk)
    deltas, wanted = Deltas(_context(desk)), _wanted(new, old)

    def fail(*_: object) -> bytes:
        raise Corrupt

    with pytest.raises(Corrupt):
        deltas.get(wanted, ZONE, fail, PLAIN)
    with monkeypatch.context() as patch:
        patch.setattr(entry_versions, "find", lambda *_: (_ for _ in ()).throw(Transient("away")))
        assert deltas.get(wanted, ZONE, lambda: new, PLAIN) is None
    assert deltas.get(wanted, ZONE, lambda: new, PLAIN) is not None


@SQLITE_ONLY
def test_an_unknown_hash_is_looked_up_once(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that repeats an unknown hash causes one query, and displaces no delta."""
    desk.warm(KEY)
    document = _document(desk)
    deltas, wanted = Deltas(_context(desk)), _wanted(document, b"unknown")
    assert deltas.get(wanted, ZONE, lambda: document, PLAIN) is None
    for digest in (bytes(32), b"\xff" * 32):
        assert deltas.get(wanted._replace(dictionary_hash=digest), ZONE, lambda: document, PLAIN) is None
    monkeypatch.setattr(entry_versions, "find", lambda *_: pytest.fail("asked twice"))
    assert deltas.get(wanted, ZONE, lambda: document, PLAIN) is None
    assert deltas.peek(wanted, PLAIN) == CachedDelta(None)


@SQLITE_ONLY
def test_the_cache_is_bounded(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delta of the size of the cache is kept; a larger one is made again."""
    old, new = _publish_two(desk)
    context, wanted = _context(desk), _wanted(new, old)
    body = Deltas(context).get(wanted, ZONE, lambda: new, PLAIN)
    assert body is not None
    for size, cached in ((0, None), (len(body) - 1, None), (len(body), CachedDelta(body))):
        monkeypatch.setattr("adwarm.serving.deltas.CACHE_BYTES", size)
        deltas = Deltas(context)
        assert deltas.get(wanted, ZONE, lambda: new, PLAIN) == deltas.get(wanted, ZONE, lambda: new, PLAIN) == body
        assert deltas.peek(wanted, PLAIN) == cached


def test_a_version_in_another_codec_stays_a_dictionary(desk: ReaderHarness) -> None:
    """Versions in another codec decode to the same document."""
    old, new = _publish_two(desk)
    for item in entries.list_entries(desk.engine):
        stored = entries.find(desk.engine, item.key)
        assert stored is not None
        settings = desk.bench.settings.compression
        packed = compress(decompress(stored[1], settings), settings, codec="brotli")
        with write_transaction(desk.engine) as connection:
            assert entries.replace_payload(connection, item, packed.blob, desk.bench.clock.now())
    assert sum(entries.delete_orphans(desk.engine, desk.bench.clock.now() + timedelta(days=1))) == 2
    body = Deltas(_context(desk)).get(_wanted(new, old), ZONE, lambda: new, PLAIN)
    assert body is not None
    assert decode_delta(body, old, len(new)) == new


@dataclass(frozen=True)
class _Pointer:
    key: ReportKey = KEY
    data_zone: str = ZONE


@SQLITE_ONLY
def test_the_hit_route_finds_deltas_in_threads(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop waits for the first demand only; the next one is answered from memory."""
    old, new = _publish_two(desk)
    digest = sha256(old).digest()
    result = desk.reader.read(KEY)
    assert result.entry is not None
    assert result.blob is not None
    entry, stored = result.entry, decode_envelope(result.blob).body

    async def run() -> None:
        deltas = DeltaThreads(_context(desk))
        first, same = await asyncio.gather(
            *(deltas.find(_Pointer(), entry, digest, stored, len(stored)) for _ in range(2))
        )
        assert first == same is not None
        assert decode_delta(first or b"", old, len(new)) == new
        monkeypatch.setattr(Deltas, "get", lambda *_: pytest.fail("computed twice"))
        assert await deltas.find(_Pointer(), entry, digest, stored, len(stored)) == first
        assert await deltas.find(_Pointer(), entry, digest, stored, len(first or b"")) is None
        deltas.close()

    asyncio.run(run())


@SQLITE_ONLY
def test_closing_drops_what_has_not_begun(desk: ReaderHarness) -> None:
    """A delta that waits for a thread is not made once the server stops."""
    deltas, release = DeltaThreads(_context(desk)), threading.Event()
    for _ in range(module._THREADS):
        deltas._executor.submit(release.wait, 5)
    waiting = deltas._executor.submit(int)
    waiting.add_done_callback(lambda _: release.set())
    deltas.close()
    assert waiting.cancelled()
