"""What is in the wheel and in the source distribution, and what their metadata says."""

import tarfile
import zipfile
from email import message_from_string
from email.message import Message

import pytest

import adwarm

from .environments import ROOT, Distributions

EXTRAS = {"alerts", "celery", "fab", "gcs", "otel", "postgres", "s3", "serve"}


@pytest.fixture
def wheel(distributions: Distributions) -> dict[str, str]:
    """The text files of the wheel by name."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        return {name: archive.read(name).decode("utf-8", "replace") for name in archive.namelist()}


@pytest.fixture
def metadata(wheel: dict[str, str]) -> Message:
    """The metadata of the wheel."""
    return message_from_string(wheel[f"adwarm-{adwarm.__version__}.dist-info/METADATA"])


def test_the_wheel_built_from_the_source_distribution_is_whole(wheel: dict[str, str]) -> None:
    """DAGs, env.py of alembic, templates, static files, types and the licence are in it; tests, tools, data are not."""
    dags = {f"adwarm_airflow/dags/{path.name}" for path in (ROOT / "dags").glob("*.py")}
    migrations = {
        path.relative_to(ROOT / "include").as_posix()
        for path in (ROOT / "include/adwarm/store/migrations").rglob("*.py")
    }
    templates = {
        path.relative_to(ROOT / "include").as_posix()
        for path in (ROOT / "include").rglob("*")
        if path.parent.name in {"templates", "static"} and path.is_file()
    }
    typed = {f"{name}/py.typed" for name in ("adwarm", "adwarm_airflow", "graph_simulator")}

    assert dags | migrations | templates | typed <= set(wheel)
    assert f"adwarm-{adwarm.__version__}.dist-info/licenses/LICENSE" in wheel
    assert len(dags) == 7
    assert len(templates) > 10
    assert not {name for name in wheel if name.startswith(("tests", "dev", "examples")) or name.endswith(".parquet")}


def test_the_source_distribution_holds_no_tests_and_no_data(distributions: Distributions) -> None:
    """It holds what the wheel is built from, the changelog and the licence."""
    with tarfile.open(distributions.sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    source = {"include", "plugins", "dags", "pyproject.toml"}
    assert top - {".gitignore"} == source | {"CHANGELOG.md", "LICENSE", "README.md", "PKG-INFO"}


def test_the_metadata_names_what_is_supported(metadata: Message) -> None:
    """Airflow from 3.3 on, three versions of Python, every extra, and a lower bound for each dependency."""
    needs = list(metadata.get_all("Requires-Dist", []))
    classifiers = metadata.get_all("Classifier", [])

    assert "apache-airflow<4,>=3.3" in needs
    assert [text for text in needs if ">" not in text] == []
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)
    labels = {text.partition(",")[0] for text in metadata.get_all("Project-URL", [])}
    assert labels == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}


def test_heavy_and_optional_packages_are_extras(metadata: Message) -> None:
    """The base has no executor, no driver of a server and no cloud's file system."""
    base = {text.split(";")[0] for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text}
    optional = ("celery", "redis", "fab", "psycopg", "s3fs", "gcsfs", "uvloop", "instrumentation")
    assert [text for text in base if any(name in text for name in optional)] == []
