"""The wheel: it holds the three packages with their data, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import adwarm

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"adwarm": "include", "graph_simulator": "include", "adwarm_airflow": "plugins"}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("adwarm-*.whl")
    with zipfile.ZipFile(path) as wheel:
        return set(wheel.namelist())


def test_it_holds_every_file_of_the_packages(names: set[str]) -> None:
    """Modules, `py.typed`, package data and the DAGs are included; caches are not."""
    files = {
        path.relative_to(ROOT / parent).as_posix()
        for package, parent in PACKAGES.items()
        for path in (ROOT / parent / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {f"adwarm_airflow/dags/{path.name}" for path in (ROOT / "dags").glob("*.py")}
    packed = {name for name in names if ".dist-info/" not in name}

    assert packed == files
    assert {f"{package}/py.typed" for package in PACKAGES} <= packed


def test_its_version_is_the_packages(names: set[str]) -> None:
    """The version is written in one place, `adwarm.__version__`."""
    assert f"adwarm-{adwarm.__version__}.dist-info/METADATA" in names


def test_it_holds_no_tests_and_no_local_stack(names: set[str]) -> None:
    """Only the three packages and the metadata are at the top level."""
    top = {name.partition("/")[0] for name in names}

    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
