"""What hostile clients make the server hold and refuse, measured against `adwarm serve` in a process of its own.

    python -m tests.hostile.serve_flood [--seconds 600] [--requests 50000] [--source FOLDER] [--only WORD]

`--source` serves with the product of another checkout, for the figures before a change. Each line is one attack; the
last one is a soak: generated requests of every kind beside 300 valid requests a second.
"""

import argparse
import asyncio
import os
import random
import resource
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from tests.benchmarks.measure import save_results
from tests.benchmarks.serve_process import free_port, rss_mib
from tests.benchmarks.serve_store import Store, fill

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = 1_024
"""The soft limit of open files that the server is started with, as most shells have it."""
RATE: Final = 300.0
MAX_GROWTH_MIB: Final = 20.0
MAX_SOAK_GROWTH_MIB: Final = 30.0
BUSY: Final = 2_048
"""Connections that always have a request to answer: as many as callers without a token may have."""
MAX_PROBE_SECONDS: Final = 30.0
"""How long a reader or probe waits for its answer beside a flood that has most of the machine."""
PROBE: Final = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
INVENTED_TOKEN: Final = b"GET /v1/accounts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer adwarm_%s_%s\r\n\r\n" % (
    b"a" * 12,
    b"A" * 43,
)
INVENTED_SESSION: Final = b"GET /adwarm/now HTTP/1.1\r\nHost: a\r\nCookie: __Secure-adwarm=%s\r\n\r\n" % (b"A" * 43)
_ANSWER_SECONDS = 20.0
_START_SECONDS = 180.0


@dataclass(frozen=True)
class Target:
    """A running server: where it listens, what it has, and what it writes to its standard error."""

    port: int
    pid: int
    store: Store
    log: Path
    tokens: tuple[str, ...] = ()

    def head(self, path: str, token: str | None = None, **headers: str) -> bytes:
        """Return the head of a GET."""
        named = {"Host": "127.0.0.1", "Authorization": f"Bearer {token or self.store.token}", **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
        return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    def count_log_bytes(self) -> int:
        """Return how much it has written to its log."""
        return self.log.stat().st_size

    def count_tracebacks(self) -> int:
        """Return how many tracebacks its log has."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("Traceback (most recent call last)")


@contextmanager
def serving(folder: Path, store: Store, source: Path, tokens: tuple[str, ...] = ()) -> Iterator[Target]:
    """Serve the home of this process's settings while the block runs."""
    port, log = free_port(), folder / f"server-{time.monotonic_ns()}.log"
    path = f"{source}/include{os.pathsep}{source}/plugins"

    def limit_files() -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))

    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "adwarm", "serve", "--port", str(port)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=output,
            stderr=output,
            preexec_fn=limit_files,  # no thread of this process runs yet
            start_new_session=True,
        )
        try:
            _wait_for_start(port, process)
            yield Target(port, process.pid, store, log, tokens)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _wait_for_start(port: int, process: "subprocess.Popen[bytes]") -> None:
    ends_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends_at and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the server did not start; its log says why")


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Return a connection for a block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=2**22)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return status and body of the next answer; 0 when the connection ended first."""
    with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:])
            status = int(head.split(b" ", 2)[1])
            length = 0 if status in {204, 304} else int(fields.get(b"content-length", b"0"))
            return status, await reader.readexactly(length)
    return 0, b""


async def ask(target: Target, data: bytes) -> int:
    """Return the status of a request on a connection of its own; 0 when it was not answered."""
    try:
        async with connected(target) as (reader, writer):
            writer.write(data)
            return (await read_answer(reader))[0]
    except ConnectionError:
        return 0


def _text(rng: random.Random, size: int) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits + "/;=*+.", k=size))


def random_head(target: Target, rng: random.Random) -> bytes:
    """Return a valid request whose headers nobody has sent before; most are answered with 304."""
    headers = {
        "Accept": f"application/json, x/{_text(rng, rng.randint(10, 6_000))}",
        "Accept_Encoding": f"zstd, br;q=0.{rng.randint(1, 9)}, {_text(rng, rng.randint(1, 1_000))}",
        "Adwarm_Client": _text(rng, rng.randint(1, 500)),
        "Prefer": f"wait=0, {_text(rng, rng.randint(1, 500))}",
        "If_None_Match": "*",
        "X_Request_Id": _text(rng, 60),
    }
    return target.head(rng.choice(target.store.fresh), **headers)


async def measure_memory(target: Target, requests: int) -> dict[str, Any]:
    """Item: memory under random headers, over 8 connections with a read-only token's right."""
    rng = random.Random(1)

    async def send(count: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        async with connected(target) as (reader, writer):
            for _ in range(count):
                writer.write(random_head(target, rng))
                statuses[(await read_answer(reader))[0]] += 1
        return statuses

    await asyncio.gather(*(send(100) for _ in range(8)))
    before = rss_mib(target.pid)
    found = sum(await asyncio.gather(*(send(requests // 8) for _ in range(8))), Counter())
    growth = rss_mib(target.pid) - before
    holds = growth <= MAX_GROWTH_MIB and set(found) <= {200, 304}
    return _row(f"{requests:,} requests with random headers: MiB grown", round(growth, 1), holds, dict(found))


async def measure_heads(target: Target) -> dict[str, Any]:
    """Item: a head of 56 KB in one write, alone and behind another request."""
    large = target.head(target.store.fresh[0], X="a" * 56_000)
    alone = await ask(target, large)
    async with connected(target) as (reader, writer):
        writer.write(target.head("/v1/accounts") + large)
        behind = [(await read_answer(reader))[0] for _ in range(2)]
    return _row("a head of 56 KB: statuses alone, behind another", f"{alone}, {behind}", alone == behind[1] == 431, {})


async def measure_slow_bodies(target: Target, count: int) -> dict[str, Any]:
    """Item: bodies that never end hold connections; valid readers meanwhile, and what aborted logins write."""
    tracebacks = target.count_tracebacks()
    head = (
        b"POST /adwarm/login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ntoken="
    )
    held = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(head)
        held.append((reader, writer))
    found = Counter([await ask(target, target.head(target.store.fresh[0])) for _ in range(50)])
    await asyncio.sleep(13)
    is_held = [not reader.at_eof() and not writer.is_closing() for reader, writer in held]
    for _, writer in held:
        writer.transport.abort()
    await asyncio.sleep(1)
    more = target.count_tracebacks() - tracebacks
    value = f"{found[200]} of 50 readers, {sum(is_held)} held after 13 s, {more} tracebacks"
    holds = found == {200: 50} and not any(is_held) and more == 0
    return _row(f"{count:,} slow bodies without a token", value, holds, dict(found))


async def measure_invented(target: Target, count: int) -> dict[str, Any]:
    """Item: valid tokens that the process has not seen, in the midst of invented ones."""
    invented = [target.head("/v1/accounts", f"adwarm_{_text_id(number)}_{'A' * 43}") for number in range(count)]
    limit = asyncio.Semaphore(200)

    async def bounded(data: bytes) -> int:
        async with limit:
            return await ask(target, data)

    tasks = [asyncio.create_task(bounded(data)) for data in invented]
    await asyncio.sleep(0.3)
    path = target.store.fresh[0]
    found = Counter(await asyncio.gather(*(ask(target, target.head(path, token)) for token in target.tokens)))
    others = Counter(await asyncio.gather(*tasks))
    value = f"{found[200]} of {len(target.tokens)} valid answered"
    return _row(f"{count:,} invented tokens", value, found == {200: len(target.tokens)}, dict(others))


def _text_id(number: int) -> str:
    return f"{number:012d}"


class _Flooder(asyncio.Protocol):
    """Keeps a connection full of unanswered requests; a new one follows each that ends, until `stop` is set."""

    def __init__(self, target: Target, request: bytes, ahead: int, stop: asyncio.Event) -> None:
        self._target, self._request, self._ahead, self._stop = target, request, ahead, stop
        self._transport: asyncio.Transport | None = None

    async def connect(self) -> None:
        """Open the connection, unless the flood is over."""
        while not self._stop.is_set():
            with suppress(OSError):
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._target.port)
                return
            await asyncio.sleep(0.1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request * self._ahead)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(self._request * data.count(b"HTTP/1.1 "))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._stop.is_set():
            self._next = asyncio.get_running_loop().create_task(self.connect())

    def end(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def flooding(target: Target, request: bytes, connections: int, ahead: int) -> AsyncIterator[None]:
    """Flood the server for a block: each of many connections always has `ahead` requests that are not answered."""
    stop = asyncio.Event()
    flooders = [_Flooder(target, request, ahead, stop) for _ in range(connections)]
    for start in range(0, connections, 100):
        await asyncio.gather(*(flooder.connect() for flooder in flooders[start : start + 100]))
    await asyncio.sleep(1)
    try:
        yield
    finally:
        stop.set()
        for flooder in flooders:
            flooder.end()
        await asyncio.sleep(0.5)


async def measure_anonymous(target: Target, request: bytes, connections: int, ahead: int) -> dict[str, Any]:
    """Item: new readers with a token, and probes, beside connections that always have a request to answer."""
    valid = target.head(target.store.fresh[0])
    statuses, slowest = Counter[int](), 0.0
    async with flooding(target, request, connections, ahead):
        for data in (valid, PROBE) * 10:
            start, status = time.monotonic(), 0
            with suppress(TimeoutError):
                status = await asyncio.wait_for(ask(target, data), MAX_PROBE_SECONDS)
            statuses[status] += 1
            slowest = max(slowest, time.monotonic() - start)
    what = request.partition(b" HTTP")[0].decode()
    return _row(
        f"{connections:,} connections with {ahead:,} x {what} without a token: readers and probes answered, slowest s",
        f"{statuses[200]} of 20, {slowest:.2f}",
        statuses == {200: 20},
        dict(statuses),
    )


async def measure_files(target: Target, count: int) -> dict[str, Any]:
    """Item: more connections than the soft limit of open files had room for, and misses beside them."""
    held = []
    for _ in range(count):
        with suppress(OSError):
            held.append(await asyncio.open_connection("127.0.0.1", target.port))
    paths = (*target.store.missing, *target.store.stale, "/v1/accounts", "/metrics")
    statuses = Counter([await ask(target, target.head(path)) for path in paths])
    for _, writer in held:
        writer.transport.abort()
    holds = all(200 <= status < 500 for status in statuses)
    return _row(f"{count:,} idle connections at {FILES:,} files: misses", str(dict(statuses)), holds, {})


async def measure_pipelined(target: Target, count: int) -> dict[str, Any]:
    """Item: many requests in one write: all answered, in order, without a traceback; and a client that leaves."""
    tracebacks, paths = target.count_tracebacks(), target.store.fresh
    async with connected(target) as (reader, writer):
        names = [paths[number % len(paths)] for number in range(count)]
        writer.write(b"".join(target.head(path, If_None_Match="*", X="a" * 100) for path in names))
        answers = [(await read_answer(reader))[0] for _ in range(count)]
    async with connected(target) as (reader, writer):
        writer.write(b"".join(target.head(path) for path in names))
        await read_answer(reader)
    await asyncio.sleep(1)
    more = target.count_tracebacks() - tracebacks
    value = f"{answers.count(304)} answered, {more} tracebacks"
    return _row(f"{count:,} requests in one write", value, answers.count(304) == count and more == 0, {})


async def _be_hostile(target: Target, ends_at: float, counts: Counter[str]) -> None:
    """Send one kind of request after another until a time of the monotonic clock."""
    rng, store = random.Random(2), target.store
    slow = b"POST /v1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n"
    kinds: dict[str, Callable[[], bytes]] = {
        "random headers": lambda: random_head(target, rng),
        "invented tokens": lambda: target.head("/v1/accounts", f"adwarm_{_text_id(rng.randrange(10**9))}_{'A' * 43}"),
        "malformed": lambda: rng.randbytes(rng.randint(1, 3_000)) + b"\r\n\r\n",
        "wrong paths": lambda: target.head("/v1/" + _text(rng, rng.randint(1, 2_500)).replace(";", "%")),
        "pipelined": lambda: b"".join(target.head(rng.choice(store.fresh), If_None_Match="*") for _ in range(50)),
        "large heads": lambda: target.head("/healthz", X="a" * 56_000),
        "invalid ranges": lambda: target.head(f"/v1/insights/act_{rng.randrange(10**6)}/{_text(rng, 12)}"),
        "old and missing": lambda: target.head(rng.choice((*store.stale, *store.missing))),
        "slow": lambda: slow[: rng.randint(1, len(slow))],
    }

    async def repeat(kind: str, make: Callable[[], bytes]) -> None:
        while time.monotonic() < ends_at:
            with suppress(OSError):
                async with connected(target) as (reader, writer):
                    writer.write(make())
                    if kind == "slow":
                        await asyncio.sleep(rng.random() * 5)
                    else:
                        status, _ = await read_answer(reader)
                        counts["5xx"] += status >= 500
            counts[kind] += 1
            await asyncio.sleep(0.1)

    await asyncio.gather(
        *(repeat(kind, make) for kind, make in kinds.items() for _ in range(3 if kind == "slow" else 1))
    )


async def _load_valid(target: Target, seconds: float) -> dict[str, Any]:
    requests = [{"text": target.head(path).decode(), "weight": 1.0} for path in target.store.fresh]
    plan = {"host": "127.0.0.1", "port": target.port, "rate": RATE, "seconds": seconds, "connections": 32}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.serve_load", stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    output, _ = await process.communicate(orjson.dumps({**plan, "seed": 1, "busy_seconds": 0, "requests": requests}))
    result: dict[str, Any] = orjson.loads(output)
    return result


async def soak(target: Target, seconds: float) -> list[dict[str, Any]]:
    """Item: valid requests, first alone, then beside every kind of hostile one.

    Memory is counted from the time on at which both have filled the process for a tenth as long.
    """

    async def flood(length: float) -> dict[str, Any]:
        ends_at = time.monotonic() + length
        return (await asyncio.gather(_load_valid(target, length), _be_hostile(target, ends_at, counts)))[0]

    counts, short = Counter[str](), max(3.0, seconds / 10)
    await _load_valid(target, 2)
    quiet = await _load_valid(target, short)
    start = rss_mib(target.pid)
    await flood(short)
    before = rss_mib(target.pid)
    busy = await flood(seconds)
    growth = rss_mib(target.pid) - before
    refused = sum(count for status, count in busy["statuses"].items() if status != "200") + busy["errors"]
    return [
        _row(f"soak of {seconds:g} s: valid requests refused", refused, refused == 0, dict(busy["statuses"])),
        _row("the same: 5xx to hostile ones", counts["5xx"], counts["5xx"] == 0, dict(counts)),
        _row(
            f"the same: MiB grown, after {before - start:.1f} of the first {short:g} s",
            round(growth, 1),
            growth <= MAX_SOAK_GROWTH_MIB,
            {},
        ),
        _row("the same: tracebacks", target.count_tracebacks(), target.count_tracebacks() == 0, {}),
        _row(
            "the same: p99 ms, quiet and beside the flood",
            f"{quiet['p99_ms']:.1f}, {busy['p99_ms']:.1f}",
            busy["p99_ms"] <= 2 * quiet["p99_ms"],
            {},
        ),
    ]


def _row(what: str, value: Any, holds: bool, details: dict[Any, Any]) -> dict[str, Any]:
    row = {"what": what, "value": value, "holds": "yes" if holds else "NO", "details": str(details) if details else ""}
    print(*row.values(), sep="  ", flush=True)
    return row


def _add_tokens(count: int) -> tuple[str, ...]:
    """Store tokens that no process has seen, and return them."""
    from datetime import UTC, datetime

    from adwarm.model import AccessToken, TokenScope
    from adwarm.runtime import Runtime
    from adwarm.serving.tokens import make_token
    from adwarm.store import access_tokens

    engine, made = Runtime().engine, [make_token() for _ in range(count)]
    for item in made:
        token = AccessToken(id=item.id, name="t", scopes=frozenset({TokenScope.READ}), created_at=datetime.now(UTC))
        access_tokens.insert_token(engine, token, item.secret_hash)
    return tuple(item.text for item in made)


@dataclass(frozen=True)
class Sizes:
    """How much of each is sent."""

    seconds: float = 600.0
    requests: int = 50_000
    connections: int = 4_095
    invented: int = 5_000
    only: str = ""


def run_all(folder: Path, source: Path, sizes: Sizes) -> list[dict[str, Any]]:
    """Measure in a home of its own below `folder`; each attack meets a new server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2 * max(sizes.connections, BUSY)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, hard), hard))
    os.environ["ADWARM_HOME"] = str(folder / "home")
    store = fill(None)
    tokens = _add_tokens(200)
    attacks: dict[str, Callable[[Target], Awaitable[dict[str, Any]]]] = {
        "memory": lambda target: measure_memory(target, sizes.requests),
        "heads": measure_heads,
        "pipelined": lambda target: measure_pipelined(target, 1_000),
        "invented": lambda target: measure_invented(target, sizes.invented),
        "files": lambda target: measure_files(target, min(1_100, sizes.connections)),
        "slow": lambda target: measure_slow_bodies(target, sizes.connections),
        "anonymous tokens": lambda target: measure_anonymous(target, INVENTED_TOKEN, BUSY, 2),
        "anonymous sessions": lambda target: measure_anonymous(target, INVENTED_SESSION, BUSY, 2),
        "anonymous probes": lambda target: measure_anonymous(target, PROBE, 300, 1_500),
    }
    rows: list[dict[str, Any]] = []
    for name, attack in attacks.items():
        if sizes.only in name:
            with serving(folder, store, source, tokens) as target:
                rows.append(asyncio.run(attack(target)))  # type: ignore[arg-type]
    if sizes.only in "soak":
        with serving(folder, store, source) as target:
            rows.extend(asyncio.run(soak(target, sizes.seconds)))
    return rows


def main() -> int:
    """Measure and report; return exit code 0 if everything holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=Sizes.seconds, help="of the soak")
    parser.add_argument("--requests", type=int, default=Sizes.requests, help="with random headers")
    parser.add_argument("--connections", type=int, default=Sizes.connections, help="with slow bodies")
    parser.add_argument("--source", type=Path, default=ROOT, help="the checkout whose product serves")
    parser.add_argument("--only", default="", help="an attack, such as memory or soak")
    parser.add_argument("--name", default="serve-flood", help="of the file of results")
    options = parser.parse_args()
    sizes = replace(Sizes(), seconds=options.seconds, requests=options.requests, connections=options.connections)
    with tempfile.TemporaryDirectory(prefix="adwarm-flood-") as name:
        rows = run_all(Path(name), options.source.resolve(), replace(sizes, only=options.only))
    save_results(options.name, "a server under hostile clients", rows)
    return 0 if all(row["holds"] == "yes" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
