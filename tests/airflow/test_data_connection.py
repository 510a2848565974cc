"""Credentials of the object storage come from a connection, and appear nowhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adwarm.foundation import storage
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.redaction import redact
from adwarm.foundation.storage import options_for
from adwarm.settings import Settings
from tests.support.object_server import KEY_ID, REGION, SECRET, ObjectServer

TOKEN = "session-token-planted-4711"
pytestmark = pytest.mark.usefixtures("airflow_home", "no_connection_of_another_test")


@pytest.fixture
def no_connection_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process uses no connection yet."""
    monkeypatch.setattr(storage._process, "connections", {})
    monkeypatch.setattr(storage._process, "connection_names", set())


@pytest.fixture
def use(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Defines a connection and returns the options that a process has after it used it."""
    from adwarm_airflow import data_connection

    number = 0

    def define(url: str, **values: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        monkeypatch.setenv(f"AIRFLOW_CONN_BUCKET_{number}", json.dumps(values))
        settings = Settings(data_url=url, data_connection=f"bucket_{number}")
        data_connection.use_data_connection(settings)
        return options_for(url)

    return define


def test_login_and_password_are_key_and_secret(use: Any) -> None:
    """As the hooks of the Amazon provider read them; the rest of the extra is read too."""
    extra = {"aws_session_token": TOKEN, "region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:9"}
    options = use("s3://bucket/x", conn_type="aws", login=KEY_ID, password=SECRET, extra=extra)
    assert (options["key"], options["secret"], options["token"]) == (KEY_ID, SECRET, TOKEN)
    assert options["client_kwargs"] == {"region_name": "eu-west-1"}
    assert options["endpoint_url"] == "http://127.0.0.1:9"
    assert redact(f"{SECRET} {TOKEN}").count(SECRET) + redact(TOKEN).count(TOKEN) == 0


def test_extras_of_the_provider_are_enough(use: Any) -> None:
    """Keys in the extra, and the endpoint of the S3 client in `service_config`."""
    extra = {
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "service_config": {"s3": {"endpoint_url": "http://127.0.0.1:9"}},
        "config_kwargs": {"s3": {"addressing_style": "path"}},
    }
    options = use("s3://bucket/x", conn_type="aws", extra=extra)
    assert (options["key"], options["secret"], options["endpoint_url"]) == (KEY_ID, SECRET, "http://127.0.0.1:9")
    assert options["config_kwargs"]["s3"] == {"addressing_style": "path"}
    assert options["config_kwargs"]["read_timeout"] == 30, "timeouts of the settings stay"


def test_an_empty_connection_leaves_all_to_the_environment(use: Any) -> None:
    """The standard chain of AWS finds the credentials, such as the role of the machine."""
    options = use("s3://bucket/x", conn_type="aws", extra={"profile_name": "ads"})
    assert (options["profile"], "key" in options) == ("ads", False)


def test_a_google_connection_holds_a_key_file(use: Any) -> None:
    """As JSON, as text, or as a path; also under the long names of old connections."""
    key = {"type": "service_account", "private_key": "private-key-planted-4711", "client_email": "a@b.c"}
    assert use("gs://bucket/x", conn_type="google_cloud_platform", extra={"keyfile_dict": key})["token"] == key
    packed = {"extra__google_cloud_platform__keyfile_dict": json.dumps(key), "project": "ads"}
    options = use("gs://bucket/x", conn_type="google_cloud_platform", extra=packed)
    assert (options["token"], options["project"]) == (key, "ads")
    assert "planted-4711" not in redact("-----private-key-planted-4711-----")
    assert use("gs://bucket/x", conn_type="google_cloud_platform", extra={"key_path": "/k.json"})["token"] == "/k.json"


@pytest.mark.parametrize(
    ("url", "values", "message"),
    [
        ("s3://b/x", {"conn_type": "aws", "login": KEY_ID}, "both login and password"),
        ("s3://b/x", {"conn_type": "aws", "extra": {"role_arn": "arn:aws:iam::1:role/x"}}, "role_arn"),
        ("s3://b/x", {"conn_type": "http"}, "of type 'http'; use one of type aws"),
        ("gs://b/x", {"conn_type": "aws"}, "is for s3:// URLs"),
        ("/local", {"conn_type": "aws"}, "is for s3:// URLs"),
        ("gs://b/x", {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": "{no"}}, "is not JSON"),
    ],
)
def test_what_cannot_work_is_refused(use: Any, url: str, values: dict[str, Any], message: str) -> None:
    """Before anything is read, with what to do."""
    with pytest.raises(BadRequest, match=f"^ADWARM_DATA_CONNECTION: .*{message}"):
        use(url, **values)


def test_a_missing_connection_is_named(airflow_home: Path) -> None:
    """The message says which to create."""
    from adwarm_airflow.data_connection import use_data_connection

    with pytest.raises(BadRequest, match=r"'nowhere' does not exist; .* of type aws"):
        use_data_connection(Settings(data_url="s3://b/x", data_connection="nowhere"))


@pytest.mark.slow
def test_a_task_reads_and_writes_with_it(
    airflow_home: Path, object_server: ObjectServer, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the connection holds the credentials, the region and the address; a trigger does not read it."""
    from adwarm_airflow.task_context import open_runtime

    for name in object_server.environment:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    extra = {"endpoint_url": object_server.endpoint, "region_name": REGION}
    values = {"conn_type": "aws", "login": KEY_ID, "password": SECRET, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET_TASK", json.dumps(values))
    monkeypatch.setenv("ADWARM_DATA_URL", bucket_url)
    monkeypatch.setenv("ADWARM_DATA_CONNECTION", "bucket_task")
    open_runtime(uses_objects=False)
    assert "secret" not in options_for(bucket_url)
    runtime = open_runtime()
    digest = runtime.objects.put(b"rows")
    assert runtime.objects.get(digest, from_storage=True) == b"rows"


@pytest.mark.slow
def test_the_web_server_reads_a_connection_of_the_database(airflow_home: Path, bucket_url: str) -> None:
    """The page runs within Airflow's API server, which has no task to ask and reads the database itself."""
    code = (
        "import os; os.environ['_AIRFLOW_PROCESS_CONTEXT'] = 'server'\n"
        "from airflow.models import Connection\n"
        "from airflow.utils.session import create_session\n"
        f"row = Connection(conn_id='bucket_page', conn_type='aws', login={KEY_ID!r}, password={SECRET!r})\n"
        "with create_session() as session: session.add(row)\n"
        "from adwarm.foundation.storage import options_for\n"
        "from adwarm_airflow.task_context import open_runtime\n"
        "open_runtime()\n"
        f"print('key:', options_for({bucket_url!r})['key'])\n"
    )
    environment = {**os.environ, "ADWARM_DATA_URL": bucket_url, "ADWARM_DATA_CONNECTION": "bucket_page"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert f"key: {KEY_ID}" in run.stdout, run.stderr[-2000:]
    assert SECRET not in run.stdout + run.stderr
