"""Opens are found among the requests of JSON, CSV and Parquet logs as in text logs."""

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adwarm.access_log import Quarantine, log_span, read_events
from adwarm.access_log.web_requests import RequestFilter, redact_path
from adwarm.foundation.errors import NotFound
from adwarm.settings import AccessLogSettings, Settings

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0"
CADDY = {"path": "request.uri", "method": "request.method", "user_agent": "request.headers.User-Agent"}
NGINX = {"ts": "time", "path": "request", "user_agent": "http_user_agent", "latency_seconds": "request_time"}


def _caddy(uri: str, status: int = 200, method: str = "GET", agent: str = BROWSER) -> dict[str, Any]:
    request = {"method": method, "uri": uri, "headers": {"User-Agent": [agent]}}
    return {"level": "info", "ts": 1_772_445_600.25, "request": request, "duration": 0.012, "status": status}


def _nginx(request: str, status: str = "200") -> dict[str, Any]:
    return {"time": "2026-03-02T10:00:00+00:00", "request": request, "status": status, "request_time": "0.250",
            "http_user_agent": "curl/8.5"}  # fmt: skip


def _read(path: Path, quarantine: Quarantine | None = None, **log: Any) -> list[dict[str, Any]]:
    batches = read_events(str(path), Settings(access_log=AccessLogSettings(**log)), quarantine=quarantine)
    return [row for batch in batches for row in batch.to_pylist()]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_the_json_log_of_caddy_is_read(tmp_path: Path) -> None:
    """Path, method, status and agent are nested; errors and other methods are ignored, 499 is a miss."""
    uri = "/accounts/12/insights/last%207%20days"
    rows = [_caddy(uri), _caddy(uri, 499), _caddy(uri, 404), _caddy(uri, method="POST"), _caddy("/metrics"),
            _caddy(uri, agent="curl/8.5")]  # fmt: skip
    quarantine = Quarantine()
    events = _read(_write(tmp_path / "log.json", rows), quarantine, columns=CADDY)
    assert [(e["account_id"], e["date_range"], e["actor"], e["hit"]) for e in events] == [
        ("act_12", "last_7d", "human", None),
        ("act_12", "last_7d", "human", False),
        ("act_12", "last_7d", "api", None),
    ]
    assert (quarantine.ignored, quarantine.count, quarantine.unmatched_paths) == (3, 0, ["/metrics"])


def test_a_request_line_names_method_and_path(tmp_path: Path) -> None:
    """nginx's `$request` is split; seconds become milliseconds; statuses may be text."""
    rows = [_nginx("GET /act/7/reports/today HTTP/1.1"), _nginx("POST /act/7/reports/today HTTP/1.1"),
            _nginx("GET /act/7/reports/today HTTP/2.0", "502"), _nginx("\x16\x03\x01")]  # fmt: skip
    (event,) = _read(_write(tmp_path / "access.json", rows), columns=NGINX)
    assert (event["account_id"], event["actor"], event["latency_ms"]) == ("act_7", "api", 250.0)


def test_a_parquet_log_of_requests_is_read(tmp_path: Path) -> None:
    """Requests in a table are opens by the same rules; a rejected row is named by its own number."""
    rows = [_caddy("/static/a.js"), _caddy("/accounts/12/insights/never"), _caddy("/accounts/12/insights/today")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    quarantine = Quarantine()
    columns = {**CADDY, "user_agent": "level"}
    (event,) = _read(tmp_path / "log.parquet", quarantine, columns=columns)
    assert event["date_range"] == "today"
    assert [(sample.reason, sample.offset) for sample in quarantine.samples] == [("date_range", 1)]


def test_a_constant_range_spares_the_group(tmp_path: Path) -> None:
    """A dashboard whose path names only the account may have one range."""
    log = tmp_path / "access.log"
    log.write_text(f'h - - [02/Mar/2026:10:00:00 +0000] "GET /dash/12 HTTP/1.1" 200 5 "-" "{BROWSER}"\n')
    (event,) = _read(log, path_pattern=r"/dash/(?P<account_id>\d+)", constants={"date_range": "last_30d"})
    assert (event["account_id"], event["date_range"]) == ("act_12", "last_30d")


def test_a_pattern_that_matches_nothing_is_named_with_the_paths_seen(tmp_path: Path) -> None:
    """The error names the setting, its value and some pages, without scripts and without query values."""
    line = 'h - - [02/Mar/2026:10:00:00 +0000] "GET {} HTTP/1.1" 200 5 "-" "x"\n'
    (tmp_path / "access.log").write_text(
        "".join(map(line.format, ["/app.js", "/report?account=123&token=EAAsecret", "/report?account=5&token=x"]))
    )
    with pytest.raises(NotFound) as error:
        log_span(str(tmp_path), Settings())
    text = str(error.value)
    assert "none of 3 requests matches ADWARM_ACCESS_LOG__PATH_PATTERN" in text
    assert "/report?account=" in text
    assert not any(word in text for word in ("app.js", "secret", "123"))


def test_agents_of_programs_are_counted_when_asked_for() -> None:
    """Only programs are counted."""
    requests = RequestFilter(AccessLogSettings().path_pattern, lambda path: None)
    requests.machine_agents = Counter()
    assert [requests.classify(agent) for agent in ("curl/8.5", "curl/8.5", BROWSER, None)] == [
        "api",
        "api",
        "human",
        "human",
    ]
    assert requests.machine_agents == {"curl/8.5": 2}


def test_a_path_may_be_shown() -> None:
    """Names of parameters stay, values go."""
    assert redact_path("/r/7?range=last_7d&access_token=EAAB1234567890abcdef#x").startswith("/r/7?range=")
    assert "EAAB" not in redact_path("/r/7?access_token=EAAB1234567890abcdef")
    assert "last_7d" not in redact_path("/r/7?range=last_7d")
