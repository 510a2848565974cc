"""`make up`: what a second start prints, and what it refuses, without starting anything."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from dev import down, up
from dev.up import Installation


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the local stack; nothing can be started in it."""
    monkeypatch.setattr(up, "UP_HOME", tmp_path)
    monkeypatch.setattr(up, "find_processes", list)
    monkeypatch.setattr(up, "_start_metadata_server", lambda: pytest.fail("something was started"))
    (tmp_path / "airflow").mkdir()
    return tmp_path


@pytest.fixture
def healthy_url() -> Iterator[str]:
    """The address of a server that answers as a healthy Airflow does."""

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"scheduler": {"status": "healthy"}}).encode())

        def log_message(self, *arguments: object) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_second_start_prints_the_login_again(
    home: Path, healthy_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it runs, the command succeeds with the same URL and password, and starts nothing."""
    Installation(healthy_url, dags_unpaused=True).save(home)
    (home / "airflow" / "passwords.json").write_text(json.dumps({"admin": "pass-word"}))
    monkeypatch.setattr(up, "find_processes", lambda: ["a process"])
    assert up.main() == 0
    printed = capsys.readouterr().out
    assert "it runs already" in printed
    assert f"Airflow runs on {healthy_url}  user: admin  password: pass-word" in printed
    assert f"page: {healthy_url}/adwarm/" in printed


def test_a_stack_that_is_not_healthy_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Processes without a healthy Airflow are an error that says what to do."""
    monkeypatch.setattr(up, "find_processes", lambda: ["a process"])
    assert up.main() == 1
    assert "make down" in capsys.readouterr().out


def test_another_log_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data of another log is not mixed in: the message says what to remove. Naming no log keeps the first one."""
    Installation(source_log="/logs/first.parquet").save(home)
    assert not up.is_other_log(Installation.load(home))
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", "/logs/first.parquet")
    assert not up.is_other_log(Installation.load(home))
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", "/logs/second.parquet")
    assert up.main() == 1
    assert f"to use /logs/second.parquet, remove {home} first" in capsys.readouterr().out


def test_the_dashboard_and_its_token_are_printed(
    home: Path, healthy_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the read API serves the dashboard, its address is printed with the token of the demo."""
    Installation(healthy_url, read_api=healthy_url, dags_unpaused=True).save(home)
    (home / "airflow" / "passwords.json").write_text(json.dumps({"admin": "pass-word"}))
    (home / "read_api_token").write_text("adwarm_demo\n")
    monkeypatch.setattr(up, "find_processes", lambda: ["a process"])

    assert up.main() == 0
    assert f"dashboard: {healthy_url}/dashboard/  token: adwarm_demo\n" in capsys.readouterr().out


def test_a_read_api_that_did_not_start_is_named(
    home: Path, healthy_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Airflow is still usable, and the message says where the log is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        unused = f"http://127.0.0.1:{listener.getsockname()[1]}"
    Installation(healthy_url, read_api=unused, dags_unpaused=True).save(home)
    (home / "airflow" / "passwords.json").write_text(json.dumps({"admin": "pass-word"}))
    monkeypatch.setattr(up, "find_processes", lambda: ["a process"])
    monkeypatch.setattr(up, "_READ_API_SECONDS", 0)

    assert up.main() == 0
    assert f"the read API did not start; its log is {home / 'read_api.log'}" in capsys.readouterr().out


@pytest.mark.slow
def test_airflows_database_starts_in_a_folder_with_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reached by the URL that Airflow gets, found again by a second start, and stopped by `make down`."""
    home = tmp_path / "a b" / "it's"
    home.mkdir(parents=True)
    monkeypatch.setattr(up, "UP_HOME", home)
    url = up._start_metadata_server()
    try:
        assert up._start_metadata_server() == url
        engine = create_engine(url)
        with engine.connect() as connection:
            assert Path(connection.exec_driver_sql("SHOW data_directory").scalar_one()) == home / "metadata"
        engine.dispose()
    finally:
        assert down._stop_metadata_server(home)
