"""Servers that the benchmark of the read API starts, each on one core, and what they use of it and of memory."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; open_file_cache max=100;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{ root {folder}; default_type application/json; add_header Content-Encoding zstd; etag on; }}
    }}
}}
"""


@dataclass(frozen=True)
class Command:
    """A command that serves at the port that replaces PORT, and its further environment."""

    words: tuple[str, ...]
    environment: dict[str, str]


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"


def run_adwarm(environment: dict[str, str], *options: str) -> Command:
    """Return what starts `adwarm serve`."""
    return Command((sys.executable, "-m", "adwarm", "serve", "--json", "--port", "PORT", *options), environment)


def run_granian(name: str) -> Command:
    """Return what starts granian with an application of `serve_app`."""
    target = f"tests.benchmarks.serve_app:{name}"
    flags = ("--interface", "asgi", "--factory", "--no-ws", "--workers", "1", "--runtime-threads", "1")
    loop = ("--loop", "uvloop", "--log-level", "warning", "--port", "PORT")
    return Command((sys.executable, "-m", "granian", *flags, *loop, target), {})


def run_uvicorn(name: str) -> Command:
    """Return what starts uvicorn with an application of `serve_app`."""
    target = f"tests.benchmarks.serve_app:{name}"
    return Command(
        (
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "--no-access-log",
            "--log-level",
            "warning",
            "--port",
            "PORT",
            target,
        ),
        {},
    )


@contextmanager
def open_server(command: Command) -> Iterator[Server]:
    """Serve while the block runs, on `SERVER_CORE`; several workers on both cores."""
    port = free_port()
    words = [str(port) if word == "PORT" else word for word in command.words]
    cores = f"{SERVER_CORE},{LOAD_CORE}" if "--workers" in words else str(SERVER_CORE)
    process = subprocess.Popen(
        ["taskset", "-c", cores, *words],
        env={**os.environ, **command.environment},
        stdout=subprocess.PIPE if "--json" in words else None,
        start_new_session=True,
    )
    try:
        if process.stdout:
            process.stdout.readline()  # comes when all workers are ready; the port is open before
        _wait_for(port, process)
        yield Server(f"http://127.0.0.1:{port}", port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@contextmanager
def open_nginx(program: str, folder: Path, body: bytes) -> Iterator[Server]:
    """Let nginx serve one body while the block runs, on `SERVER_CORE`."""
    folder.mkdir()
    (folder / "body").write_bytes(body)
    port = free_port()
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port), encoding="utf-8")
    process = subprocess.Popen(["taskset", "-c", str(SERVER_CORE), program, "-c", str(folder / "nginx.conf")])
    try:
        _wait_for(port, process)
        yield Server(f"http://127.0.0.1:{port}", port, process)
    finally:
        process.terminate()
        process.wait(timeout=10)


def rss_mib(pid: int) -> float:
    """Return how much memory a process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def library_mib(pid: int) -> float:
    """Return how much of a process is files of libraries."""
    kilobytes, is_library = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if re.match(r"[0-9a-f]+-", line):
            is_library = ".so" in line
        elif is_library and line.startswith("Rss:"):
            kilobytes += int(line.split()[1])
    return kilobytes / 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children that run; a server with a supervisor has one."""
    total = 0.0
    for child in (pid, *list_children(pid)):
        fields = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def list_children(pid: int) -> list[int]:
    """Return the children of a process."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text(encoding="ascii").split()]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server does not answer")
