"""The object store in a bucket: requests, faults, pages, forks and credentials."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adwarm.foundation import storage
from adwarm.foundation.errors import AdwarmError, Corrupt, NotFound, StorageError
from adwarm.foundation.storage import (
    StorageOptions,
    options_for,
    use_connection,
    use_settings,
)
from adwarm.settings import Settings
from adwarm.store.objects import ObjectStore
from adwarm.store.page_files import PageFolder
from tests.support.object_server import KEY_ID, SECRET, Fault, ObjectServer

FAULTS = {
    "AccessDenied": ("403 Forbidden", "objects_denied", "docs/how-to/object-storage.md"),
    "ExpiredToken": ("400 Bad Request", "objects_expired", "renew them"),
    "InvalidAccessKeyId": ("403 Forbidden", "objects_credentials", "ADWARM_DATA_CONNECTION"),
    "NoSuchBucket": ("404 Not Found", "objects_no_bucket", "create it"),
    "AuthorizationHeaderMalformed": ("400 Bad Request", "objects_region", "AWS_DEFAULT_REGION"),
    "RequestTimeTooSkewed": ("403 Forbidden", "objects_clock", "clock"),
    "SlowDown": ("503 Slow Down", "objects_busy", "ADWARM_MAX_BATCHES"),
    "InternalError": ("500 Internal Server Error", "objects_busy", "ADWARM_MAX_BATCHES"),
}


@pytest.mark.parametrize("code", FAULTS)
def test_answers_of_the_storage_say_what_to_do(code: str, object_server: ObjectServer, bucket_url: str) -> None:
    """Whatever is done, the error is one of the project's, names the setting and the remedy, and shows no secret."""
    use_settings(StorageOptions(object_server.options, attempts=1, cache_bytes=0))
    store = ObjectStore(bucket_url)
    digest = store.put(b"rows")
    status, expected, advice = FAULTS[code]
    for call in (
        lambda: store.get(digest),
        lambda: store.put(b"more"),
        lambda: list(store.list_objects()),
        lambda: store.delete(digest),
        lambda: list(store.read_many([digest, digest])),
    ):
        object_server.faults.extend([Fault(status, code)] * 9)
        with pytest.raises(StorageError, match=r"^ADWARM_DATA_URL: s3://adwarm-tests/") as raised:
            call()
        object_server.faults.clear()
        assert (raised.value.code, advice in str(raised.value)) == (expected, True)
        assert SECRET not in str(raised.value)


def test_a_missing_bucket_is_no_missing_object(object_server: ObjectServer) -> None:
    """Otherwise a repair would delete the rows of every day because a URL has a typing error."""
    store = ObjectStore("s3://adwarm-absent/data")
    for call in (store.get, store.exists, store.get_modified_at, store.read_unverified):
        with pytest.raises(StorageError, match="the bucket does not exist"):
            call("0" * 64)
    with pytest.raises(StorageError, match="the bucket does not exist"):
        list(store.list_objects())
    with pytest.raises(StorageError, match="the bucket does not exist"):
        store.check()


@pytest.mark.parametrize("fault", [Fault(), Fault("500 Internal Server Error", "InternalError"), Fault(cut=True)])
def test_what_fails_for_the_moment_is_tried_again(fault: Fault, object_server: ObjectServer, bucket_url: str) -> None:
    """One overload, one internal error and one broken connection are not seen by whoever reads."""
    store = ObjectStore(bucket_url)
    digest = store.put(b"rows")
    object_server.faults.append(fault)
    assert store.get(digest) == b"rows"
    assert not object_server.faults, "the fault was met"


def test_a_storage_that_does_not_answer_is_a_timeout(object_server: ObjectServer, bucket_url: str) -> None:
    """The limit of the settings holds, and the message names it."""
    digest = ObjectStore(bucket_url).put(b"rows")
    use_settings(StorageOptions(object_server.options, attempts=1, read_seconds=0.2))
    object_server.latency = 1.0
    with pytest.raises(StorageError, match="did not answer in time") as raised:
        ObjectStore(bucket_url).get(digest)
    assert raised.value.code == "objects_timeout"


def test_a_storage_that_is_away_is_unreachable(object_server: ObjectServer) -> None:
    """A refused connection is not an answer."""
    use_settings(StorageOptions({"endpoint_url": "http://127.0.0.1:9"}, attempts=1))
    with pytest.raises(StorageError, match="cannot be reached") as raised:
        ObjectStore("s3://adwarm-tests/away").get("0" * 64)
    assert raised.value.code == "objects_unreachable"


def test_a_damaged_object_is_corrupt_even_if_it_is_in_memory(object_server: ObjectServer, bucket_url: str) -> None:
    """The copy in memory is whole and may be served; what checks the storage reads the storage."""
    use_settings(StorageOptions(object_server.options))
    store, other = ObjectStore(bucket_url), ObjectStore(bucket_url)
    digest = store.put(b"rows")
    name = f"objects/{digest[:2]}/{digest}.parquet"
    remote = other._remote
    assert remote is not None
    remote.write(name, b"rowz", "application/octet-stream")
    assert store.get(digest) == b"rows"
    for read in (lambda: store.get(digest, from_storage=True), lambda: other.get(digest)):
        with pytest.raises(Corrupt):
            read()
    store.delete(digest)
    with pytest.raises(NotFound):
        store.get(digest)


def test_reading_takes_one_request_and_none_the_second_time(object_server: ObjectServer, bucket_url: str) -> None:
    """No object is looked up before it is read, and what this process has written needs no request at all."""
    use_settings(StorageOptions(object_server.options))
    writer, reader = ObjectStore(bucket_url), ObjectStore(bucket_url)
    object_server.requests.clear()
    digest = writer.put(b"rows")
    assert object_server.requests["PUT"] == sum(object_server.requests[name] for name in ("GET", "PUT", "HEAD")) == 1
    assert [writer.get(digest), reader.get(digest), reader.get(digest)] == [b"rows"] * 3
    assert (object_server.requests["GET"], object_server.requests["HEAD"]) == (1, 0)


def test_many_objects_are_read_at_once_within_the_limit(object_server: ObjectServer, bucket_url: str) -> None:
    """Latency is hidden by requests in parallel, no more than the setting."""
    use_settings(StorageOptions(object_server.options, parallel=4, cache_bytes=0))
    store = ObjectStore(bucket_url)
    digests = store.put_many([b"%d" % number for number in range(24)])
    object_server.reset()
    object_server.latency = 0.02
    assert list(store.read_many(digests)) == [b"%d" % number for number in range(24)]
    assert object_server.requests["GET"] == 24
    assert 2 <= object_server.most_at_once <= 4


def test_listings_follow_every_page(
    object_server: ObjectServer, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage returns a thousand names at once, here five."""
    store = ObjectStore(bucket_url)
    digests = store.put_many([b"%d" % number for number in range(40)])
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
    object_server.requests.clear()
    assert sorted(digest for digest, _ in store.list_objects()) == sorted(digests)
    assert object_server.requests["GET list"] > len({digest[:2] for digest in digests}) + 1


def test_what_another_process_wrote_is_listed(bucket_url: str) -> None:
    """No listing is kept in memory."""
    mine, theirs = ObjectStore(bucket_url), ObjectStore(bucket_url)
    assert list(mine.list_objects()) == []
    digest = theirs.put(b"rows")
    assert list(mine.list_objects()) == [(digest, ".parquet")]
    theirs.delete(digest)
    assert list(mine.list_objects()) == []


@pytest.mark.slow
def test_a_forked_process_has_connections_of_its_own(bucket_url: str) -> None:
    """A task of Airflow is a fork: it reads and writes while its parent does, after both have used the store."""
    store = ObjectStore(bucket_url)
    digests = store.put_many([b"%d" % number for number in range(20)])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.put(b"of the child")
            is_same = list(store.read_many(digests)) == [b"%d" % number for number in range(20)]
            code = 0 if is_same and len(list(store.list_objects())) >= 21 else 2
        finally:
            os._exit(code)
    assert list(store.read_many(digests)) == [b"%d" % number for number in range(20)]
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(list(store.list_objects())) == 21


@pytest.mark.slow
def test_a_missing_package_names_the_extra() -> None:
    """Without s3fs the error says what to install, before anything is read."""
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from adwarm.store.objects import ObjectStore\n"
        "try: ObjectStore('s3://bucket/x').check()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.startswith("BadRequest ADWARM_DATA_URL")
    assert "pip install 'adwarm[s3]'" in run.stdout


def test_objects_and_pages_have_content_types(object_server: ObjectServer, bucket_url: str) -> None:
    """A browser or a tool that opens an object knows what it is."""
    import s3fs

    ObjectStore(bucket_url).put(b"rows")
    url = PageFolder(bucket_url).write("review-1.html", b"<p>")
    files = s3fs.S3FileSystem(**options_for(bucket_url))
    (partition,) = files.find(f"{bucket_url}/objects")
    assert files.info(partition)["ContentType"] == "application/vnd.apache.parquet"
    assert files.info(url)["ContentType"] == "text/html; charset=utf-8"
    assert PageFolder(bucket_url).read("review-1.html") == b"<p>"


def test_no_credentials_are_an_error_that_says_where_they_belong(
    object_server: ObjectServer, bucket_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of AWS's chain is there."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "absent"))
    use_settings(StorageOptions(object_server.options, attempts=1, connect_seconds=2))
    with pytest.raises(AdwarmError, match=r"no credentials; name a connection of Airflow") as raised:
        ObjectStore(bucket_url).get("0" * 64)
    assert raised.value.code == "objects_credentials"


def test_options_of_the_settings_are_for_the_storage_of_the_data_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of one storage are not sent to another, and a connection takes precedence."""
    monkeypatch.setenv("ADWARM_DATA_OPTIONS", '{"key": "id-of-settings", "secret": "secret-of-settings"}')
    settings = Settings(data_url="s3://bucket/x")
    assert "secret-of-settings" not in repr(settings) + str(settings)
    assert options_for("s3://other/log")["secret"] == "secret-of-settings"
    assert "secret" not in options_for("gs://bucket/log")
    assert options_for("/var/log") == {}
    monkeypatch.setattr(storage._process, "connections", {})
    use_connection("bucket", "s3", {"secret": "secret-of-connection", "client_kwargs": {"region_name": "eu-west-1"}})
    options = options_for("s3a://other/log")
    assert (options["key"], options["secret"]) == ("id-of-settings", "secret-of-connection")
    assert options["client_kwargs"] == {"region_name": "eu-west-1"}


@pytest.mark.parametrize("text", ["no json", "[1]", '"text"', "1"])
def test_options_that_are_no_object_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the setting and the form, and not the value."""
    from adwarm.settings import load_settings

    monkeypatch.setenv("ADWARM_DATA_OPTIONS", f"{text}")
    with pytest.raises(AdwarmError, match=r"ADWARM_DATA_OPTIONS.*JSON object") as raised:
        load_settings()
    assert text == "1" or text not in str(raised.value)


def test_the_key_id_of_the_server_is_used(object_server: ObjectServer, bucket_url: str) -> None:
    """Credentials of the standard chain are enough: no setting holds them."""
    assert "secret" not in options_for(bucket_url)
    assert os.environ["AWS_ACCESS_KEY_ID"] == KEY_ID
    ObjectStore(bucket_url).check()
