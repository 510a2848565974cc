"""Environments into which only the wheel and what it needs is installed, and programs that run in them."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.txt"
SMOKE = Path(__file__).with_name("smoke.py")
_INHERITED = ("HOME", "LANG", "LC_ALL", "TMPDIR", "UV_CACHE_DIR", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "SSL_CERT_FILE")


def uv(*arguments: str, cwd: Path = ROOT) -> str:
    """Run uv and return its output.

    Raises:
        RuntimeError: it failed; the message ends with what it wrote.
    """
    path = shutil.which("uv")
    if path is None:
        raise RuntimeError("uv is not on PATH; `make setup` installs it")
    done = subprocess.run([path, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


class Distributions(NamedTuple):
    """What `uv build --all-packages` makes of a clone: adwarm's two distributions, and the wheel of its client."""

    sdist: Path
    wheel: Path
    client: Path


def build_distributions(folder: Path) -> Distributions:
    """Build each source distribution, and from that its wheel."""
    uv("build", "--quiet", "--all-packages", "--out-dir", str(folder), str(ROOT))
    [sdist], [wheel] = folder.glob("adwarm-*.tar.gz"), folder.glob("adwarm-*.whl")
    [client] = folder.glob("adwarm_client-*.whl")
    return Distributions(sdist, wheel, client)


def find_interpreter(version: str) -> str | None:
    """Return a Python of this minor version: one that uv knows, else one of pyenv; None when there is neither."""
    with suppress(RuntimeError):
        return uv("python", "find", "--no-python-downloads", version).strip()
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return None
    listed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=False)
    for name in listed.stdout.split():
        if name.startswith(f"{version}."):
            prefix = subprocess.run([pyenv, "prefix", name], capture_output=True, text=True, check=False)
            return str(Path(prefix.stdout.strip()) / "bin/python")
    return None


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder for what its programs store.

    Attributes:
        folder: the virtual environment.
        home: the home of Airflow and adwarm.
        variables: environment variables of every program.
    """

    folder: Path
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: Path, python: str) -> "Environment":
        """Create an empty environment."""
        uv("venv", "--quiet", "--python", python, str(folder / "venv"))
        (folder / "home").mkdir()
        return cls(folder / "venv", folder / "home")

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin/python")

    def install(self, *arguments: str) -> None:
        """Install packages."""
        uv("pip", "install", "--quiet", "--python", self.python, *arguments)

    @property
    def process_environment(self) -> dict[str, str]:
        """The whole environment of a program: nothing of this checkout, and nothing of the developer's Airflow."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **inherited,
            "PATH": os.pathsep.join([str(self.folder / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "NO_PROXY": "127.0.0.1,localhost",
            **self.variables,
        }

    def run(self, *command: str, fails: bool = False, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment and return what it wrote.

        Raises:
            RuntimeError: it failed, or, with `fails`, it did not.
        """
        done = subprocess.run(
            command,
            env=self.process_environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
        if bool(done.returncode) is not fails:
            raise RuntimeError(
                f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
            )
        return done

    def smoke(self, *parts: str) -> dict[str, Any]:
        """Run parts of `smoke.py` in the environment and return what they found."""
        found: dict[str, Any] = json.loads(self.run(self.python, str(SMOKE), *parts).stdout.splitlines()[-1])
        return found

    @contextmanager
    def running(self, *command: str, log: str) -> Iterator[Path]:
        """Run a program in a session of its own while the block runs, and end every process of that session."""
        path = self.home / log
        with path.open("wb") as file:
            process = subprocess.Popen(
                command,
                env=self.process_environment,
                cwd=self.home,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield path
        finally:
            end_session(process.pid)
            process.wait(30)


def end_session(session: int) -> None:
    """End every process of a session that a test started: first with SIGTERM, after ten seconds with SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        members = _list_session(session)
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)
        psutil.wait_procs(members, timeout=10)


def _list_session(session: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session and process.pid != os.getpid():
                members.append(process)
    return members


def wait_until(is_true: Callable[[], bool], seconds: float, log: Path) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it did not in time; the message ends with the log.
    """
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it never happened:\n{log.read_text(errors='replace')[-3000:]}")
        threading.Event().wait(0.1)


def wait_for(url: str, seconds: float, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the body of a URL as soon as it answers.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(url, headers=dict(headers or {}))
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                body: bytes = response.read()
                return body
        except OSError:
            threading.Event().wait(0.2)
    raise TimeoutError(f"{url} did not answer in {seconds:.0f} s")
