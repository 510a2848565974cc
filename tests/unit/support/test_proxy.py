"""The fault proxy: each fault does what it says, and nothing else."""

import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import FaultProxy, NetworkFaults

ANSWER = b"x" * 1_000


class _Answer(socketserver.BaseRequestHandler):
    """Answers each line with `ANSWER`."""

    def handle(self) -> None:
        while self.request.recv(100):
            self.request.sendall(ANSWER)


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """A server on a free port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Answer) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()


def ask(proxy: FaultProxy) -> bytes:
    """Send a line on a connection of its own, and return what is read until the answer is whole or the end."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(b"line\n")
        read = b""
        while len(read) < len(ANSWER) and (data := connection.recv(4_096)):
            read += data
        return read


def is_cut_off(connection: socket.socket) -> bool:
    """Whether a connection ends, normally or by a reset."""
    try:
        return connection.recv(10) == b""
    except ConnectionResetError:
        return True


def test_without_faults_it_only_forwards(address: tuple[str, int]) -> None:
    """The answer comes whole, also the second one on the same connection, and is counted."""
    with FaultProxy(address, random.Random(1)) as proxy:
        assert ask(proxy) == ANSWER
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
            for _ in range(2):
                connection.sendall(b"line\n")
                assert connection.recv(len(ANSWER), socket.MSG_WAITALL) == ANSWER
        counts = proxy.counts()
    assert (counts.connections, counts.exchanges, counts.bytes_received) == (2, 3, 3 * len(ANSWER))
    assert (counts.lost, counts.resets, counts.truncations) == (0, 0, 0)


def test_a_lost_request_reaches_no_server(address: tuple[str, int]) -> None:
    """The connection ends without an answer."""
    with FaultProxy(address, random.Random(1), NetworkFaults(loss=1.0)) as proxy:
        assert ask(proxy) == b""
        assert (proxy.counts().lost, proxy.counts().bytes_sent) == (1, 0)


def test_a_truncated_answer_ends_normally(address: tuple[str, int]) -> None:
    """So many bytes come, then the end."""
    with FaultProxy(address, random.Random(1), NetworkFaults(truncation=1.0, after_bytes=300)) as proxy:
        assert ask(proxy) == ANSWER[:300]
        assert proxy.counts().truncations == 1


def test_a_reset_is_an_error_of_the_connection(address: tuple[str, int]) -> None:
    """The client sees RST, not the end of a stream."""
    with FaultProxy(address, random.Random(1), NetworkFaults(reset=1.0)) as proxy, pytest.raises(ConnectionResetError):
        ask(proxy)
    assert proxy.counts().resets == 1


@pytest.mark.parametrize(
    ("faults", "least"),
    [
        (NetworkFaults(latency_seconds=0.1), 0.2),
        (NetworkFaults(bytes_per_second=10_000), 0.05),
        (NetworkFaults(truncation=1.0, after_bytes=10, slow_close_seconds=0.2), 0.2),
    ],
    ids=["latency", "bandwidth", "slow close"],
)
def test_slow_faults_take_their_time(address: tuple[str, int], faults: NetworkFaults, least: float) -> None:
    """Latency is per direction, bandwidth per byte, and a slow close withholds the end."""
    with FaultProxy(address, random.Random(1), faults) as proxy:
        began = time.monotonic()
        ask(proxy)
        assert time.monotonic() - began >= least


def test_faults_change_while_it_runs(address: tuple[str, int]) -> None:
    """A connection that was opened before is hit by the faults of now, and recovers with them."""
    with FaultProxy(address, random.Random(1)) as proxy:
        proxy.set_faults(NetworkFaults(loss=1.0))
        assert ask(proxy) == b""
        proxy.set_faults(NetworkFaults())
        assert ask(proxy) == ANSWER


def test_which_exchanges_are_hit_follows_from_the_seed(address: tuple[str, int]) -> None:
    """Equal seeds spoil the same exchanges, at about the share that was asked for."""

    def hits(seed: int) -> list[bool]:
        with FaultProxy(address, random.Random(seed), NetworkFaults(loss=0.3)) as proxy:
            return [ask(proxy) == b"" for _ in range(40)]

    assert hits(5) == hits(5)
    assert 4 <= sum(hits(5)) <= 20


def test_a_server_that_is_away_ends_the_connection() -> None:
    """The client is cut off, and the proxy goes on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with FaultProxy(address, random.Random(1)) as proxy:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
                assert is_cut_off(connection)


def test_open_connections_can_be_dropped(address: tuple[str, int]) -> None:
    """A connection in the middle of nothing ends when it is dropped."""
    with (
        FaultProxy(address, random.Random(1)) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection,
    ):
        connection.sendall(b"line\n")
        assert connection.recv(len(ANSWER), socket.MSG_WAITALL) == ANSWER
        proxy.drop_connections()
        assert is_cut_off(connection)
