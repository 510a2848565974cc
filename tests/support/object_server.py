"""An object storage on this machine that speaks the protocol of S3 (moto), with the latency and the faults one wants.

Every request is counted. It proves what adwarm asks of an object storage, not how AWS behaves under load.
"""

import logging
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from adwarm.foundation.clock import SystemClock

KEY_ID, SECRET = "AKIAADWARMTEST000001", "object-server-secret-4711"
REGION = "us-east-1"
_Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer in place of the storage's own.

    Attributes:
        status: HTTP status, such as `503 Slow Down`.
        code: the error code in the body, such as `SlowDown`.
        method: HTTP method of the requests it concerns; empty for any.
        path: regular expression that their path contains.
        cut: send the beginning of an answer, then close the connection.
    """

    status: str = "503 Slow Down"
    code: str = "SlowDown"
    method: str = ""
    path: str = ""
    cut: bool = False

    def fits(self, method: str, path: str) -> bool:
        """Whether it concerns a request."""
        return self.method in {"", method} and re.search(self.path, path) is not None


@dataclass
class ObjectServer:
    """A running object storage; a context manager that starts and stops it.

    Attributes:
        latency: seconds that each answer takes at least.
        requests: number of requests, by `METHOD` and by `METHOD kind`, where kind is `object` or `list`.
        faults: what the next requests that fit are answered with, one each.
        most_at_once: how many requests were in progress at once.
    """

    latency: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    faults: deque[Fault] = field(default_factory=deque)
    most_at_once: int = 0
    _at_once: Counter[int] = field(default_factory=Counter, repr=False)
    _resets: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _server: Any = field(default=None, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def start(self) -> Self:
        """Start on a free port of the loopback interface; the storage is empty."""
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Handler(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"  # connections stay open, as those of a real storage do

            def log_request(self, *_arguments: Any) -> None:
                """Log nothing."""

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        application: _Application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._wrap(application), threaded=True, request_handler=Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="object-server", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of the file system that reaches it; the credentials are those of the environment."""
        return {"endpoint_url": self.endpoint, "client_kwargs": {"region_name": REGION}}

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which adwarm, and any other client, reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def create_bucket(self, name: str) -> str:
        """Create a bucket, unless it exists, and return its URL."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self._server.server_address[1], timeout=30)
        try:
            connection.request("PUT", f"/{quote(name)}", headers={"Authorization": _AUTHORIZATION})
            status = connection.getresponse().status
        finally:
            connection.close()
        if status not in {200, 409}:
            raise RuntimeError(f"the bucket {name} was not created: {status}")
        return f"s3://{name}"

    def reset(self) -> None:
        """Drop latency, faults and counts."""
        with self._lock:
            self.latency, self.most_at_once = 0.0, 0
            self._resets += 1  # a request given up by its client may still wait; it is none of the next test
            self._at_once.clear()
            self.faults.clear()
            self.requests.clear()

    def _wrap(self, application: _Application) -> _Application:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            fault, resets = self._begin(environ)
            try:
                if self.latency:
                    SystemClock().sleep(self.latency)
                if fault is None:
                    return list(application(environ, start_response))
                _read_body(environ)
                return _answer(fault, start_response, has_body=environ["REQUEST_METHOD"] != "HEAD")
            finally:
                with self._lock:
                    self._at_once[resets] -= 1

        return serve

    def _begin(self, environ: dict[str, Any]) -> tuple[Fault | None, int]:
        """Count a request; return the fault it is answered with, and the number of resets before it."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        kind = "list" if "list-type=2" in environ.get("QUERY_STRING", "") else "object"
        with self._lock:
            self.requests[method] += 1
            self.requests[f"{method} {kind}"] += 1
            self._at_once[self._resets] += 1
            self.most_at_once = max(self.most_at_once, self._at_once[self._resets])
            fault = next((fault for fault in self.faults if fault.fits(method, path)), None)
            if fault is not None:
                self.faults.remove(fault)
            return fault, self._resets


_AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20260101/{REGION}/s3/aws4_request, SignedHeaders=host, Signature=0"
)


def _read_body(environ: dict[str, Any]) -> None:
    """Read what the client sends, so that the connection can be used again."""
    if length := int(environ.get("CONTENT_LENGTH") or 0):
        environ["wsgi.input"].read(length)


def _answer(fault: Fault, start_response: Callable[..., Any], *, has_body: bool) -> list[bytes]:
    if fault.cut:
        start_response("200 OK", [("Content-Length", "1000"), ("Connection", "close")])
        return [b"x" * 10]
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{fault.code}</Code>'
        f"<Message>planted by the test: {SECRET}</Message><RequestId>1</RequestId></Error>"
    ).encode()
    if not has_body:
        start_response(fault.status, [("Content-Length", "0")])
        return []
    start_response(fault.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]
