"""Object storage for the benchmark: moto's server in a process of its own, which keeps all objects in memory."""

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.scale_stack import find_free_port

BUCKET = "adwarm"
_START_SECONDS = 60.0
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",  # moto accepts any
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def object_storage() -> Iterator[dict[str, str]]:
    """Start a server with an empty bucket; yield the environment in which adwarm stores its objects there."""
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **_ENVIRONMENT}
    )
    settings = {**_ENVIRONMENT, "AWS_ENDPOINT_URL": url, "ADWARM_DATA_URL": f"s3://{BUCKET}/objects"}
    before = {name: os.environ.get(name) for name in settings}
    try:
        _create_bucket(url, process)
        os.environ.update(settings)  # the benchmark itself lists the objects too
        yield settings
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        process.terminate()
        process.wait(timeout=20)


def _create_bucket(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
            return urllib.request.urlopen(request, timeout=10).close()
        except OSError:
            threading.Event().wait(0.1)
    raise SystemExit("moto's server did not start; run `python -m moto.server` to see why")
