"""The demo's readers of the read API: in the evening of the replayed day, and again on the next morning.

Everything is read over HTTP from a server in this process, whose clock is the demo's. Reads are opens, which the server
logs.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import AdwarmError
from adwarm.model import AccessToken, Actor, Priority, ReportKey, TokenScope, resolve_key
from adwarm.prefetch import KeyRequest
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving.api.server import serve_in_thread
from adwarm.serving.tokens import make_token
from adwarm.store import access_tokens, entries
from adwarm_client import Client, ReportAnswer
from dev.demo_day import ReplayDay

BEFORE_MIDNIGHT = timedelta(minutes=30)
"""How long before the end of the day the readers come."""
AFTER_MIDNIGHT = timedelta(hours=9)
"""How long after it they come back."""
AGAIN_AFTER = timedelta(minutes=10)
"""How long after their first read they read the same again."""
MAX_REPORTS = 40
TIMED_READS = 2_000
_RATE_PER_SECOND = 1e6
"""The demo's clock stands still while it reads, so that all its reads fall into one second of a token's limit."""


@dataclass(frozen=True)
class ApiReading:
    """What reading through the API gave.

    Attributes:
        figures: the same for equal stores.
        times: latencies in milliseconds.
    """

    figures: dict[str, Any]
    times: dict[str, float]


@dataclass(frozen=True)
class ApiReaders:
    """Readers of the reports that are fresh in the evening.

    Attributes:
        runtime: of the process that serves; its clock is `clock`.
        folder: where the client keeps its reports.
    """

    runtime: Runtime
    clock: VirtualClock
    day: ReplayDay
    set_platform_time: Callable[[datetime], None]
    folder: Path

    @property
    def hours(self) -> tuple[datetime, datetime]:
        """The time from the first read to the last one, in whole hours."""
        return self.day.end - timedelta(hours=1), self.day.end + AFTER_MIDNIGHT + timedelta(hours=1)

    def read(self) -> ApiReading:
        """Read each report for the first time, once more unchanged, and next morning when it was fetched again."""
        self.clock.set(self.day.end - BEFORE_MIDNIGHT)
        keys = find_fresh(self.runtime, self.day, self.clock.now())
        reader, script = (make_demo_token(self.runtime, actor) for actor in (Actor.HUMAN, Actor.API))
        with (
            serve_in_thread(build_read_api(self.runtime)) as url,
            Client(url, reader, self.folder) as client,
            httpx.Client(base_url=url, headers={"Authorization": f"Bearer {script}"}) as http,
        ):
            first = _read_all(client, keys)
            self.clock.sleep(AGAIN_AFTER.total_seconds())
            again = _read_all(client, keys)
            row_bytes = sum(_measure_body(http, key, "identity", shape="rows") for key in keys)
            latencies = _time_hits(http, keys)
            self._fetch_again(keys)
            later = _read_all(client, keys)
        figures = {
            "reports": len(keys),
            "hits": _count_hits(first),
            "row_bytes": row_bytes,
            "first_visit_bytes": _count_bytes(first),
            "unchanged_bytes": _count_bytes(again),
            "unchanged_codings": dict(Counter(answer.coding for answer in again)),
            "next_morning_hits": _count_hits(later),
            "next_morning_bytes": _count_bytes(later),
            "opens_by_readers": len(first) + len(again) + len(later),
            "opens_by_scripts": len(keys) + len(latencies),
            "timed_reads": len(latencies),
        }
        return ApiReading(figures, _summarize_latencies(latencies))

    def _fetch_again(self, keys: Sequence[ReportKey]) -> None:
        """Fetch the reports next morning: there is a new day, and the platform has restated earlier ones.

        Raises:
            AdwarmError: a report could not be fetched.
        """
        self.clock.set(self.day.end + AFTER_MIDNIGHT)
        self.set_platform_time(self.clock.now())
        result = self.runtime.prefetch_engine().run([KeyRequest(key) for key in keys], Priority.NORMAL)
        failed = [outcome.reason for outcome in result.outcomes if not outcome.status.is_served]
        if failed:
            raise AdwarmError(f"{len(failed)} reports could not be fetched again: {failed[0]}")


def find_fresh(runtime: Runtime, day: ReplayDay, now: datetime) -> list[ReportKey]:
    """Return up to `MAX_REPORTS` of the day's report keys whose entry is fresh from `now` to the second read."""
    keys = sorted({item.key for item in day.opens}, key=str)
    fresh = [key for key in keys if _is_fresh(runtime, key, now)]
    step = max(1, -(-len(fresh) // MAX_REPORTS))
    return fresh[::step]


def make_demo_token(runtime: Runtime, actor: Actor) -> str:
    """Store a token that may read every account, and return it."""
    new = make_token()
    token = AccessToken(
        id=new.id,
        name=f"make demo, {actor.value}",
        scopes=frozenset({TokenScope.READ}),
        actor=actor,
        rate_per_second=_RATE_PER_SECOND,
        created_at=runtime.clock.now(),
    )
    access_tokens.insert_token(runtime.engine, token, new.secret_hash)
    return new.text


def _is_fresh(runtime: Runtime, key: ReportKey, now: datetime) -> bool:
    """Whether an entry that was fetched before `now` stays fresh; the demo has fetched others after it."""
    account, spec = runtime.reader.get_account(key.account_id), runtime.settings.spec(key.report)
    stored = entries.find(runtime.engine, resolve_key(key, account, spec, now))
    return stored is not None and stored[0].fetched_at <= now and stored[0].is_fresh(now + AGAIN_AFTER)


def _read_all(client: Client, keys: Sequence[ReportKey]) -> list[ReportAnswer]:
    return [client.report(key.account_id, key.date_range, key.report, wait=0) for key in keys]


def _count_hits(answers: Sequence[ReportAnswer]) -> int:
    return sum(answer.status == "hit" for answer in answers)


def _count_bytes(answers: Sequence[ReportAnswer]) -> int:
    return sum(answer.wire_bytes for answer in answers)


def _measure_body(http: httpx.Client, key: ReportKey, coding: str, **query: str) -> int:
    """Return the bytes of an answer's body on the wire."""
    response = http.get(_path(key), params={"report": key.report, **query}, headers={"Accept-Encoding": coding})
    response.raise_for_status()
    return int(response.headers["content-length"])


def _time_hits(http: httpx.Client, keys: Sequence[ReportKey]) -> list[float]:
    """Return the milliseconds of `TIMED_READS` hits over one connection, each from the request to the whole body."""
    latencies = []
    for number in range(TIMED_READS if keys else 0):
        path = _path(keys[number % len(keys)])
        started = time.perf_counter()
        with http.stream("GET", path, headers={"Accept-Encoding": "zstd"}) as response:
            for _ in response.iter_raw():  # as it comes, without decoding it
                pass
        latencies.append((time.perf_counter() - started) * 1000)
        response.raise_for_status()
    return latencies


def _path(key: ReportKey) -> str:
    return f"/v1/insights/{key.account_id}/{key.date_range}"


def _summarize_latencies(latencies: Sequence[float]) -> dict[str, float]:
    if not latencies:
        return {}
    return {f"hit_p{share}_ms": round(float(np.percentile(latencies, share)), 2) for share in (50, 95, 99)}
