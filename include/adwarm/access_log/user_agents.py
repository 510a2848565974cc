"""Which class of actor a user agent stands for.

Crawlers are recognized by the published list of the package crawler-user-agents; libraries, uptime monitors and load
balancers that are missing there, by a short list here. All others count as human: counting one open too many costs less
than missing a reader.
"""

import re
from functools import lru_cache

from adwarm.model import Actor

LONGEST_AGENT = 1024
"""Longer agents are truncated, which bounds the caches."""
_KEY = 3
_LITERAL = re.compile(r"(?:[^\\^$*+?.()\[\]{}|]|\\\W)+")
_HUMAN_PATTERNS = frozenset({r"AP3A\.240617\.008", r"Code\/1\.", "Fluid", "MetaIAB Facebook", r"Trae\/"})
"""Published patterns that match what humans use: a build of Android, desktop applications, browsers inside apps."""
_LIBRARIES = (
    r"AHC|akka-http|Alamofire|ApacheBench|Apache-CXF|Apache-Http\w+|Artillery|aws-cli|aws-sdk\S*|axios|Azure|Boto3|Bun|"
    r"Cohttp|cpp-httplib|curl|Dart|Deno|dotnet\S*|Embarcadero|facebook\S*sdk\S*|Faraday|fasthttp|Feign|Fiddler|gaxios|"
    r"go-resty|got|grpc-\w+|GuzzleHttp|hackney|haskell|httplib2|http\.rb|HTTPie|HTTP_Request2|hyper|Indy|insomnia|Java|"
    r"Jersey|JMeter|k6|ktor\S*|libcurl\S*|Locust|lua-resty\S*|LuaSocket|lwp\S*|Microsoft-CryptoAPI|Microsoft\.Data|"
    r"Microsoft URL|Mojolicious|n8n|newman|Nim|node\S*|okhttp|Paw|Perl|PHP\S*|Postman\w*|PycURL|Python\S*|RapidAPI|"
    r"reactor-?netty|requests|restify|RestSharp|reqwest|Ruby|SAP|Snoopy|Spring\S*|superagent|Symfony|Thunder Client|"
    r"tornado|Twisted|Typhoeus|undici|unirest\S*|ureq|urllib\S*|vegeta|Vert\.?x\S*|wget|WinHttp|wrk|Zapier|Zend\S*"
)
_MONITORS = (
    r"AlwaysOn|Amazon-Route53|AppDynamics|Apache\S* \(internal dummy|Better Stack|Blackbox|check_\w+|Checkly|collectd|"
    r"Consul|Datadog|Dynatrace|Hyperping|Instana|Netdata|Telegraf|Traefik|"
    r"Edge[ -]Health|ELB-\w+|Envoy|Fastly|Freshping|Gatus|GoogleHC|Grafana|HAProxy|Icinga|jetmon|kube-probe|"
    r"Load Balancer|Monit|Nagios|New ?Relic\w*|NodePing|OhDear|Prometheus|Pulsetic|Rigor|Sentry|Site24x7|StatusCake|"
    r"StatusOK|updown\.io|Uptrends|Varnish|Zabbix"
)
_ANYWHERE = (
    r"(?<!cu)bot\b|crawl|spider|monitor|pingdom|uptime|health[ -]?check|synthetic|heartbeat|statuscake|site24x7|"
    r"https?://(?!bsalsa)|http-?client|winhttprequest|indy library|powershell/|google-apps-script|googledocs|"
    r"headless|playwright|puppeteer|phantomjs|cypress|selenium|lighthouse"
)
_START = re.compile(rf"(?:{_LIBRARIES}|{_MONITORS})(?![\w-])", re.IGNORECASE)
_WORD = re.compile(_ANYWHERE)
"""Searched in lower case, which takes a tenth of the time of a case-insensitive search."""


class _CrawlerPatterns:
    """The published patterns. Literal patterns, which most are, are indexed by their first characters."""

    # A name with which all its published examples begin is searched at the beginning only: elsewhere it may name the
    # application in which a human's browser runs.

    def __init__(self) -> None:
        from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # half a megabyte, which only web server logs need

        self._first: dict[str, list[str]] = {}
        self._anywhere: dict[str, list[str]] = {}
        first: list[str] = []
        anywhere: list[str] = []
        for entry in CRAWLER_USER_AGENTS_DATA:
            pattern, examples = entry["pattern"], entry.get("instances", ())
            if pattern in _HUMAN_PATTERNS:
                continue
            is_first = bool(examples) and all(re.match(pattern, example) for example in examples)
            is_first = is_first or bool(re.fullmatch(r"\^[^|]+", pattern))
            text = re.sub(r"\\(\W)", r"\1", pattern)
            if _LITERAL.fullmatch(pattern) and len(text) >= _KEY:
                (self._first if is_first else self._anywhere).setdefault(text[:_KEY], []).append(text)
            else:
                (first if is_first else anywhere).append(f"(?:{pattern})")
        self._openings, self.patterns = re.compile("|".join(first)), re.compile("|".join(anywhere))

    def __contains__(self, agent: str) -> bool:
        if self._openings.match(agent) or agent.startswith(tuple(self._first.get(agent[:_KEY], ()))):
            return True
        for at in range(len(agent) - _KEY + 1):
            for text in self._anywhere.get(agent[at : at + _KEY], ()):
                if agent.startswith(text, at):
                    return True
        return self.patterns.search(agent) is not None


_crawlers = lru_cache(maxsize=1)(_CrawlerPatterns)


def classify_actor(agent: str | None) -> Actor:
    """Return the actor class of a user agent; human where the log has none."""
    return _classify(agent[:LONGEST_AGENT]) if agent else Actor.HUMAN


@lru_cache(maxsize=16_384)
def _classify(agent: str) -> Actor:
    if agent.startswith("adwarm"):
        return Actor.WARMER
    is_program = _START.match(agent) or _WORD.search(agent.lower()) or agent in _crawlers()
    return Actor.API if is_program else Actor.HUMAN
