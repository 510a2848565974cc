"""A local receiver of notices, and a worker process whose calls fail."""

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import Transient
from adwarm.recovery import Call, RecoveryPipeline, StoredAlerts
from adwarm.recovery.alert_delivery import NoticeSender
from adwarm.recovery.channels import AppriseSender
from adwarm.settings import AlertSettings, RecoverySettings
from adwarm.settings.recovery_sections import AppriseChannel
from adwarm.store.database import open_engine
from adwarm.store.error_events import ErrorLog
from tests.support.memory_recovery import memory_options


@dataclass
class Sink:
    """What a local HTTP server received.

    Attributes:
        url: URL of Apprise that leads to it; it holds a secret.
        received: the bodies, in order.
        status: status code of its responses.
    """

    url: str
    received: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200

    @property
    def titles(self) -> list[str]:
        """The titles of the messages."""
        return [str(body["title"]) for body in self.received]


@contextmanager
def run_sink() -> Iterator[Sink]:
    """Run a receiver on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if sink.status == 200:
                sink.received.append(json.loads(body))
            self.send_response(sink.status)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink = Sink(f"json://127.0.0.1:{server.server_port}/hooks/top-secret-path")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings_of(url: str, **values: Any) -> AlertSettings:
    """Settings with one channel named `hook`."""
    return AlertSettings(channels=(AppriseChannel(name="hook", url=url),), **values)


def fail_many_times(database: str, url: str, failures: int) -> None:
    """Fail calls in four threads, as one worker process; return when its notices are sent."""
    engine, settings, clock = open_engine(database), settings_of(url), SystemClock()
    (channel,) = settings.channels
    assert isinstance(channel, AppriseChannel)
    sender, errors = NoticeSender(engine, settings, [AppriseSender(channel)]), ErrorLog(engine)
    options = memory_options(clock, alerts=StoredAlerts(engine, settings, errors, sender, clock))
    pipeline = RecoveryPipeline(
        RecoverySettings(max_attempts=1, heal=False), errors, clock, random.Random(1), **options
    )

    def fail(number: int) -> None:
        def operation() -> None:
            raise Transient("the platform is down")

        try:
            pipeline.run(operation, call=Call("meta", account_id=f"act_{number % 7}", subject=f"key {number}"))
        except Transient:
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fail, range(failures)))
    assert sender.wait(60)
