"""The client alone, in an environment without Airflow."""

import subprocess
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from adwarm_client import __version__

from .environments import LOCK, Distributions, Environment, uv

MEGABYTE = 1_000_000
PARTS = {"brotli", "httpx", "msgspec", "orjson", "platformdirs", "zstandard"}


@pytest.fixture(scope="module")
def alone(distributions: Distributions, python: str, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the client and what it needs."""
    environment = Environment.create(tmp_path_factory.mktemp("client"), python)
    environment.install("--constraint", str(LOCK), str(distributions.client))
    return environment


def test_the_client_is_small(alone: Environment) -> None:
    """The whole environment takes less than 60 MB, and nothing conflicts."""
    files = [path for path in alone.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < 60 * MEGABYTE
    uv("pip", "check", "--python", alone.python)


def test_it_works_without_adwarm(alone: Environment) -> None:
    """Clients and errors are there, a document is read, and pandas and mcp are asked for by what needs them alone."""
    code = (
        "import sys, adwarm_client as a, adwarm_client.document, adwarm_client.codings;"
        "client = a.Client('http://127.0.0.1:9', 'adwarm_id_secret-part', False);"
        "assert issubclass(a.NotReady, a.Transient) and 'secret' not in repr(client);"
        "print(a.__version__, a.__file__, any(name in sys.modules for name in ('adwarm', 'airflow', 'pandas')))"
    )
    done = subprocess.run([alone.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    version, place, has_more = done.stdout.split()
    assert (version, has_more) == (__version__, "False")
    assert Path(place).is_relative_to(alone.folder)
    script = subprocess.run([alone.folder / "bin/adwarm-mcp"], capture_output=True, text=True)
    assert (script.returncode, "adwarm-client[mcp]" in script.stderr) == (1, True)


def test_its_metadata_names_a_few_parts(distributions: Distributions) -> None:
    """Six parts and two extras; types and licence are in the wheel, and nothing but the package."""
    with zipfile.ZipFile(distributions.client) as archive:
        names = archive.namelist()
        [metadata] = [message_from_string(archive.read(name).decode()) for name in names if name.endswith("METADATA")]
    needs = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert {text.partition(">")[0] for text in needs} == PARTS
    assert metadata.get_all("Provides-Extra") == ["frame", "mcp"]
    assert {"adwarm_client/py.typed", f"adwarm_client-{__version__}.dist-info/licenses/LICENSE"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"adwarm_client", f"adwarm_client-{__version__}.dist-info"}
