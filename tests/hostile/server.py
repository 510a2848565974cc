"""A loopback server that implements enough of the Graph API for adwarm, and gives each account one behavior.

One thread per connection. It serves the account node, insights with cursors, async reports (submit, batch of polls,
read) and lists of objects below an account. Any other call is an error in the platform's shape.
"""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.hostile.rows import ADS, FOREIGN, digits, rows_of
from tests.hostile.wire import (
    Delay,
    EarlyClose,
    ResponseStep,
    WireRequest,
    error_body,
    http_response,
    read_request,
    reset,
)

_RUN_ID = 500_000_000_000
_RUNS_OF_AN_ACCOUNT = 10_000
_BELOW = {"campaigns": "21", "adsets": "22", "ads": "23"}
"""The edges below an object, and the prefix of the ids there; the account's digits and a number follow."""


@dataclass
class HostileServer:
    """The server; use it as a context manager.

    Attributes:
        behaviors: the behavior of each account; an account without one is healthy.
        elsewhere: another server, for redirects to another port.
        calls: calls so far, by account and route.
        first_call: monotonic time of an account's first call.
        tokens: the values of all `Authorization` headers received.
    """

    behaviors: Mapping[str, Any] = field(default_factory=dict)
    other_server: "HostileServer | None" = None
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    first_call: dict[str, float] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    url: str = ""
    _runs: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _connections: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _listener: socket.socket = field(default_factory=socket.socket)

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        with self._lock:
            for connection in (self._listener, *self._connections):
                _shut(connection)

    def run_id(self, account: str, params: Mapping[str, str]) -> str:
        """Return the id of a new report of an account; its rows are those of `params`."""
        with self._lock:
            number = _RUN_ID + int(digits(account)) * _RUNS_OF_AN_ACCOUNT + len(self._runs)
            self._runs[str(number)] = dict(params)
        return str(number)

    def page(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Return the correct response to a query about an account, all in one page."""
        return {"data": rows_of(account, params)}

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(120)
        try:
            with connection, connection.makefile("rb") as reader:
                while call := read_request(reader):
                    if not self._send(connection, self._answer(call)):
                        return
        except (OSError, ValueError):
            return  # the client has gone, as most of them do here
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _send(self, connection: socket.socket, pieces: Iterable[ResponseStep]) -> bool:
        """Send a response; return False if the connection ends with it."""
        for piece in pieces:
            if isinstance(piece, Delay):
                if self._stopped.wait(piece.seconds):
                    return False
            elif isinstance(piece, str):
                if piece == EarlyClose.RESET:
                    reset(connection)
                return False
            else:
                connection.sendall(piece)
        return True

    def _answer(self, call: WireRequest) -> Iterable[ResponseStep]:
        self.tokens.add(call.headers.get("authorization", ""))
        if call.method == "POST" and not call.parts:
            return [http_response([self._poll(entry) for entry in json.loads(call.params["batch"])])]
        account, route = self._target(call)
        call.number = self._count(account, route)
        call.query = self._runs.get(call.parts[0], {}) if route == "read" else call.params
        behavior = self.behaviors.get(account)
        if behavior is not None and route in behavior.routes:
            return iter(behavior.act(self, account, call))
        return [http_response(self._right(account, route, call))]

    def _target(self, call: WireRequest) -> tuple[str, str]:
        """Return the account and the route of a call."""
        first, edge = call.parts[0], call.parts[1] if len(call.parts) > 1 else ""
        if edge in _BELOW:
            return (first if first.startswith("act_") else f"act_{first[2:-3]}"), edge
        if not first.startswith("act_"):
            return _owner(first), "read" if edge == "insights" else edge or "poll"
        if edge == "insights":
            return first, "submit" if call.method == "POST" else "insights"
        return first, edge or "account"

    def _count(self, account: str, route: str) -> int:
        with self._lock:
            self.first_call.setdefault(account, time.monotonic())
            self.calls[account, route] += 1
            return self.calls[account, route]

    def _right(self, account: str, route: str, call: WireRequest) -> Any:
        if route == "account":
            return {"id": account, "timezone_name": "UTC", "currency": "EUR", "account_status": 1}
        if route in {"insights", "read"} and call.query:
            return self.page(account, call.query)
        if route == "submit":
            return {"report_run_id": self.run_id(account, call.params)}
        if route in _BELOW:
            numbers = range(1, ADS + 1 if route == "ads" else 2)
            return {"data": [{"id": f"{_BELOW[route]}{digits(account)}{number:03d}"} for number in numbers]}
        return error_body(100, f"Unknown path components: /{'/'.join(call.parts)}")

    def _poll(self, entry: Mapping[str, Any]) -> Any:
        run_id = str(entry["relative_url"]).split("/", 1)[1].partition("?")[0]
        account = _owner(run_id)
        behavior = self.behaviors.get(account)
        number = self._count(account, "poll")
        done: Any = {"id": run_id, "async_status": "Job Completed", "async_percent_completion": 100}
        if behavior is not None and behavior.poll is not None:
            done = behavior.poll(run_id, number)
        return None if done is None else {"code": 200, "headers": [], "body": json.dumps(done)}


class UnconfiguredServer(HostileServer):
    """A server that nobody configured; it returns rows for any query."""

    def page(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Return rows that look right and must not be stored."""
        return {"data": [{**row, "ad_name": FOREIGN} for row in rows_of(account, params)]}


def _owner(run_id: str) -> str:
    return f"act_{(int(run_id) - _RUN_ID) // _RUNS_OF_AN_ACCOUNT}" if run_id.isdecimal() else ""


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is shut already
    finally:
        connection.close()
