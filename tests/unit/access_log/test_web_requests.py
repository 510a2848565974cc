"""Opens are found among the requests of JSON, CSV and Parquet logs as in text logs."""

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from adwarm.access_log import Quarantine, log_span, read_events, user_agents
from adwarm.access_log.user_agents import classify_actor
from adwarm.access_log.web_requests import RequestFilter, redact_path
from adwarm.foundation.errors import NotFound
from adwarm.model import Actor
from adwarm.settings import AccessLogSettings, Settings

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0"
CADDY = {"path": "request.uri", "method": "request.method", "user_agent": "request.headers.User-Agent"}
NGINX = {"ts": "time", "path": "request", "user_agent": "http_user_agent"}


def _caddy(uri: str, status: int = 200, method: str = "GET", agent: str = BROWSER) -> dict[str, Any]:
    request = {"method": method, "uri": uri, "headers": {"User-Agent": [agent]}}
    return {"level": "info", "ts": 1_772_445_600.25, "request": request, "duration": 0.012, "status": status}


def _nginx(request: str, status: str = "200") -> dict[str, Any]:
    return {"time": "2026-03-02T10:00:00+00:00", "request": request, "status": status,
            "http_user_agent": "curl/8.5"}  # fmt: skip


def _read(path: Path, quarantine: Quarantine | None = None, **log: Any) -> list[dict[str, Any]]:
    batches = read_events(str(path), Settings(access_log=AccessLogSettings(**log)), quarantine=quarantine)
    return [row for batch in batches for row in batch.to_pylist()]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_the_json_log_of_caddy_is_read(tmp_path: Path) -> None:
    """Path, method, status and agent are nested; errors other than 499 and other methods are ignored."""
    uri = "/accounts/12/insights/last%207%20days"
    rows = [_caddy(uri), _caddy(uri, 499), _caddy(uri, 404), _caddy(uri, method="POST"), _caddy("/metrics"),
            _caddy(uri, agent="curl/8.5")]  # fmt: skip
    quarantine = Quarantine()
    events = _read(_write(tmp_path / "log.json", rows), quarantine, columns=CADDY)
    assert [(e["account_id"], e["date_range"], e["actor"]) for e in events] == [
        ("act_12", "last_7d", "human"),
        ("act_12", "last_7d", "human"),
        ("act_12", "last_7d", "api"),
    ]
    assert (quarantine.ignored, quarantine.count, quarantine.unmatched_paths) == (3, 0, ["/metrics"])


def test_a_request_line_names_method_and_path(tmp_path: Path) -> None:
    """nginx's `$request` is split; statuses may be text."""
    rows = [_nginx("GET /act/7/reports/today HTTP/1.1"), _nginx("POST /act/7/reports/today HTTP/1.1"),
            _nginx("GET /act/7/reports/today HTTP/2.0", "502"), _nginx("\x16\x03\x01")]  # fmt: skip
    (event,) = _read(_write(tmp_path / "access.json", rows), columns=NGINX)
    assert (event["account_id"], event["actor"]) == ("act_7", "api")


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
    (event,) = _read(log, pattern=r"/dash/(?P<account_id>\d+)", constants={"date_range": "last_30d"})
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
    assert "none of 3 requests matches ADWARM_ACCESS_LOG__PATTERN" in text
    assert "/report?account=" in text
    assert not any(word in text for word in ("app.js", "secret", "123"))


def test_agents_of_programs_are_counted_when_asked_for() -> None:
    """Only programs are counted."""
    requests = RequestFilter(AccessLogSettings().pattern, lambda path: None)
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


BROWSERS = Path(__file__).with_name("browser_agents.txt").read_text(encoding="utf-8").splitlines()
"""What browsers, browsers within applications, and desktop applications send."""

LIBRARIES = [
    "python-requests/2.32.3", "Python-urllib/3.12", "python-httpx/0.27.0", "Python/3.11 aiohttp/3.9.5", "urllib3/2.2.1",
    "curl/8.7.1", "libcurl-agent/1.0", "Wget/1.24.5", "axios/1.7.2", "node-fetch/1.0", "node", "undici",
    "got (https://github.com/sindresorhus/got)", "Go-http-client/2.0", "go-resty/2.13.1", "fasthttp", "grpc-go/1.64.0",
    "Java/17.0.11", "Java-http-client/21.0.3", "Apache-HttpClient/4.5.14 (Java/17.0.8)", "okhttp/4.12.0",
    "Jersey/2.41", "ReactorNetty/1.1.19", "ktor-client", "libwww-perl/6.77", "Mojolicious (Perl)", "Ruby",
    "Faraday v2.9.0", "http.rb/5.2.0", "Typhoeus - https://github.com/typhoeus/typhoeus", "GuzzleHttp/7", "PHP/8.3",
    "Symfony HttpClient/Curl", "WordPress/6.5; https://example.com", "RestSharp/110.2.0.0", "dotnet-httpclient/8",
    "reqwest/0.12.4", "hyper/1.3", "ureq/2.9.7", "Dart/3.4 (dart:io)", "Deno/1.44.0", "Bun/1.1.12", "hackney/1.20.1",
    "PostmanRuntime/7.39.0", "insomnia/9.2.0", "HTTPie/3.2.2", "k6/0.51.0 (https://k6.io/)", "ApacheBench/2.3",
    "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621.2506",
    "Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)", "Mozilla/3.0 (compatible; Indy Library)",
    "Mozilla/5.0 (compatible; Google-Apps-Script; beanserver; +https://script.google.com; id: x)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/125.0.0.0 Safari/537.36",
]  # fmt: skip

MONITORS = [
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "Uptime-Kuma/1.23.13", "StatusCake",
    "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "Better Uptime Bot", "Site24x7", "Checkly/1.0",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120 Safari/537.36 StatusCake",
    "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)", "kube-probe/1.29",
    "ELB-HealthChecker/2.0", "Amazon-Route53-Health-Check-Service (ref 1; report http://amzn.to/1)", "GoogleHC/1.0",
    "Prometheus/2.52.0", "Blackbox Exporter/0.25.0", "Zabbix", "check_http/v2.4.9 (nagios-plugins 2.4.9)", "Datadog/7",
    "Azure Traffic Manager Endpoint Monitor", "Consul Health Check", "Freshping", "updown.io daemon 2.11", "Icinga",
    "Mozilla/5.0 (compatible; PRTG Network Monitor (www.paessler.com); Windows)", "Elastic-Heartbeat/8.14.0",
    "Apache/2.4.59 (internal dummy connection)", "Grafana/11.0.0", "SomebodysMonitor/2.0",
    "New Relic/1.0", "NewRelicPinger/1.0", "Dynatrace", "Telegraf/1.30 Go/1.22", "Traefik", "Hyperping", "Netdata",
    "Better Stack", "Instana", "collectd",
]  # fmt: skip


def test_published_crawlers_are_programs() -> None:
    """All published examples are recognized but those of five patterns that match browsers of humans."""
    examples = [(entry["pattern"], example) for entry in CRAWLER_USER_AGENTS_DATA for example in entry["instances"]]
    missed = {pattern for pattern, example in examples if classify_actor(example) is not Actor.API}
    assert len(examples) > 2000
    assert missed == user_agents._HUMAN_PATTERNS  # a build of Android, two editors, browsers inside of applications


def test_browsers_are_human() -> None:
    """None of two hundred browser agents counts as a program."""
    assert len(set(BROWSERS)) == len(BROWSERS) >= 200
    assert [agent for agent in BROWSERS if classify_actor(agent) is not Actor.HUMAN] == []


def test_libraries_and_monitors_are_programs() -> None:
    """Requests of libraries and monitors are not opens by readers."""
    assert [agent for agent in [*LIBRARIES, *MONITORS] if classify_actor(agent) is not Actor.API] == []


def test_crawlers_nobody_has_published_give_themselves_away() -> None:
    """A name that ends in bot, or a contact address, does not belong to a browser."""
    assert classify_actor("Mozilla/5.0 (compatible; Brandnewbot/0.1)") is Actor.API
    assert classify_actor("Mozilla/5.0 (compatible; Newcomer/1.0; +https://example.com/about)") is Actor.API


def test_adwarm_is_the_warmer_and_an_unknown_agent_is_human() -> None:
    """A missing agent and an unknown application count as human."""
    assert classify_actor("adwarm/0.1") is Actor.WARMER
    assert {classify_actor(agent) for agent in (None, "", "-", "AcmeDashboards/3.2 (iPhone; iOS 18.1)")} == {
        Actor.HUMAN
    }


def test_the_cache_is_bounded() -> None:
    """A very long agent is truncated before it is cached, and classified by its beginning."""
    user_agents._classify.cache_clear()
    tail = "x" * 60_000
    assert {classify_actor(f"curl/8 {number} {tail}") for number in range(50)} == {Actor.API}
    assert user_agents._classify.cache_info().currsize == 50
    assert classify_actor("Mozilla/5.0 " + tail + " Googlebot/2.1") is Actor.HUMAN


def test_an_agent_is_classified_once() -> None:
    """Further lines of two hundred agents cost cache look-ups."""
    user_agents._classify.cache_clear()
    for agent in BROWSERS * 3:
        classify_actor(agent)
    assert user_agents._classify.cache_info().misses == len(BROWSERS)


def test_a_path_names_an_account_of_any_platform(tmp_path: Path) -> None:
    """Ids come as they are, their case and what a page had to quote included; a path that leads elsewhere is none."""
    ids = ["3f2504e0-4f89-11d3-9a0c-0305e82c3301", "T2_ABC", "t2_abc", "18e54", "google_ads:123-456-7890", "act_7"]
    paths = [*map(quote, ids), "7", "..%2fact_1", "%2e%2e", "t2%00", "%22t2%22"]
    rows = [_nginx(f"GET /accounts/{path}/insights/last_7d HTTP/1.1") for path in paths]
    read = _read(_write(tmp_path / "access.jsonl", rows), columns=NGINX)
    assert [row["account_id"] for row in read] == [*ids, "act_7"]
