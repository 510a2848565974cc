"""User agents tell programs from humans."""

from pathlib import Path

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from adwarm.access_log import web_requests
from adwarm.access_log.web_requests import classify_actor
from adwarm.model import Actor

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
    assert missed == web_requests._HUMAN_PATTERNS  # a build of Android, two editors, browsers inside of applications


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
    web_requests._actor.cache_clear()
    tail = "x" * 60_000
    assert {classify_actor(f"curl/8 {number} {tail}") for number in range(50)} == {Actor.API}
    assert web_requests._actor.cache_info().currsize == 50
    assert classify_actor("Mozilla/5.0 " + tail + " Googlebot/2.1") is Actor.HUMAN


def test_an_agent_is_classified_once() -> None:
    """Further lines of two hundred agents cost cache look-ups."""
    web_requests._actor.cache_clear()
    for agent in BROWSERS * 3:
        classify_actor(agent)
    assert web_requests._actor.cache_info().misses == len(BROWSERS)
