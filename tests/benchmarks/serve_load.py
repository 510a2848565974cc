"""An open-loop load generator: requests leave at Poisson-distributed times, whether or not earlier ones are answered.

Run as a process: it reads its plan as JSON on standard input and writes the result as JSON on standard output. Latency
counts from the time at which a request was due, so that a server that stalls cannot hide the requests behind it.
"""

import asyncio
import gc
import random
import re
import statistics
import sys
from collections import deque
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import orjson
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass
class Result:
    """Latencies in seconds, the number of answers by status, and the connections that ended in a request."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    errors: int = 0


class Client(asyncio.Protocol):
    """One keep-alive connection that carries one request at a time."""

    def __init__(self, result: Result, idle: "deque[Client]", waiting: "deque[tuple[float, bytes]]") -> None:
        self._result, self._idle, self._waiting = result, idle, waiting
        self._left = 0
        self._head = b""
        self._due = 0.0
        self.is_busy = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, due: float, request: bytes) -> None:
        """Send a request that was due at `due` of `perf_counter`."""
        self._due, self.is_busy = due, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            self._head += data
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            length = _LENGTH.search(head + b"\r\n")
            status = int(head[9:12])
            self._result.statuses[status] = self._result.statuses.get(status, 0) + 1
            self._left = (int(length[1]) if length and status != 304 else 0) - len(rest)
        if self._left <= 0:
            self._finish()

    def _finish(self) -> None:
        self._result.latencies.append(perf_counter() - self._due)
        self.is_busy = False
        if self._waiting:
            self.send(*self._waiting.popleft())
        else:
            self._idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_busy:
            self._result.errors += 1
        if self in self._idle:
            self._idle.remove(self)


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Carry out a plan: host, port, rate, seconds, connections, and requests, each with its weight.

    Timers of the loop, which count milliseconds, end `busy_seconds` before a request is due; then it is awaited busily.
    """
    loop, rng = asyncio.get_running_loop(), random.Random(plan["seed"])
    result, idle, waiting = Result(), deque[Client](), deque[tuple[float, bytes]]()
    for _ in range(plan["connections"]):
        _, client = await loop.create_connection(lambda: Client(result, idle, waiting), plan["host"], plan["port"])
        idle.append(client)
    requests = [item["text"].encode() for item in plan["requests"]]
    weights = [item["weight"] for item in plan["requests"]]
    gc.disable()  # a collection would delay requests that are due
    start = due = perf_counter()
    sent = 0
    while due < start + plan["seconds"]:
        early = due - perf_counter()
        while early > 0:
            await asyncio.sleep(max(0.0, early - plan["busy_seconds"]))
            early = due - perf_counter()
        chosen = rng.choices(requests, weights)[0]
        if idle:
            idle.popleft().send(due, chosen)
        else:
            waiting.append((due, chosen))
        sent += 1
        due += rng.expovariate(plan["rate"])
    for _ in range(300):
        if len(result.latencies) + result.errors >= sent:
            break
        await asyncio.sleep(0.1)
    return summarize(result, sent)


def summarize(result: Result, sent: int) -> dict[str, Any]:
    """Return the percentiles in milliseconds, and the counts."""
    cuts = statistics.quantiles(result.latencies, n=1000) if len(result.latencies) > 1 else [0.0] * 999
    return {
        "sent": sent,
        "answered": len(result.latencies),
        "errors": sent - len(result.latencies),
        "statuses": {str(status): count for status, count in sorted(result.statuses.items())},
        **{f"p{name}_ms": cuts[index] * 1000 for name, index in (("50", 499), ("95", 949), ("99", 989))},
    }


def main() -> None:
    """Carry out the plan on standard input."""
    plan = orjson.loads(sys.stdin.buffer.read())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.buffer.write(orjson.dumps(runner.run(run(plan))))


if __name__ == "__main__":
    main()
