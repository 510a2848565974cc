"""Logs as the tools that people use write them, by the columns that each tool documents.

Each has the same opens: 24 in two days, of four accounts or dashboards, between rows that are not opens.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

OPENS = 24
START = datetime(2026, 3, 2, 8, tzinfo=UTC)
ACCOUNTS = ("1234567890", "2345678901", "3456789012", "4567890123")
RANGES = ("last_7d", "yesterday", "last_30d")
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
Rows = list[dict[str, Any]]
Shapes = dict[str, tuple[str, Callable[[], bytes]]]


@dataclass(frozen=True)
class Event:
    """An open, or what happens beside it.

    Attributes:
        kind: `open`, or another event.
    """

    number: int
    at: datetime
    account: str
    date_range: str
    kind: str = "open"

    @property
    def board(self) -> int:
        """The id of the dashboard of the account."""
        return 11 + ACCOUNTS.index(self.account)

    @property
    def path(self) -> str:
        """The path of the page, or of what the page loads."""
        if self.kind == "open":
            return f"/reports/act_{self.account}?range={self.date_range}&tab=ads"
        return {"asset": "/static/app.js", "login": "/login?next=%2F", "denied": f"/reports/act_{self.account}"}[
            self.kind
        ]

    @property
    def status(self) -> int:
        """The status of the answer."""
        return 403 if self.kind == "denied" else 200


def events() -> Iterator[Event]:
    """Yield the events in order of time."""
    for number in range(OPENS):
        at = START + timedelta(hours=number % 12 + 24 * (number // 12), minutes=number * 7 % 60, milliseconds=250)
        account, date_range = ACCOUNTS[number * 7 % 4], RANGES[number % 3]
        for offset, kind in enumerate(("open", "asset", "login", "denied")):
            if kind == "open" or number % 3 == offset - 1:
                yield Event(number, at + timedelta(seconds=offset), account, date_range, kind)


def to_json(rows: Rows) -> bytes:
    """Return rows as JSON lines."""
    return b"".join(json.dumps(row, default=str).encode() + b"\n" for row in rows)


def to_csv(rows: Rows) -> bytes:
    """Return rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: Rows) -> bytes:
    target = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), target)
    return bytes(target.getvalue())


def nginx_json() -> bytes:
    """http://nginx.org/en/docs/http/ngx_http_log_module.html, with the variables of a usual `log_format`."""
    return to_json([
        {
            "time_iso8601": e.at.strftime("%Y-%m-%dT%H:%M:%S+00:00"), "remote_addr": "10.0.0.9",
            "request_method": "GET",
            "request_uri": e.path, "status": str(e.status), "body_bytes_sent": "512", "request_time": "0.125",
            "http_referer": f"https://app.example{e.path}", "http_user_agent": AGENT,
        }
        for e in events()
    ])  # fmt: skip


def ingress_nginx_json() -> bytes:
    """https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/log-format/."""
    return to_json([
        {
            "time": e.at.isoformat(), "remote_addr": "10.0.0.9", "x_forward_for": "10.0.0.9",
            "request_id": f"{e.number:032x}",
            "remote_user": "", "bytes_sent": 512, "request_time": 0.125, "status": e.status, "vhost": "app.example",
            "request_proto": "HTTP/2.0", "path": e.path.partition("?")[0], "request_query": e.path.partition("?")[2],
            "request_length": 300, "duration": 0.125, "method": "GET", "http_referrer": "", "http_user_agent": AGENT,
        }
        for e in events()
    ])  # fmt: skip


def combined() -> bytes:
    """https://httpd.apache.org/docs/current/logs.html#combined."""
    return "".join(
        f'10.0.0.9 - - [{e.at:%d/%b/%Y:%H:%M:%S} +0000] "GET {e.path} HTTP/1.1" {e.status} 512 "-" "{AGENT}"\n'
        for e in events()
    ).encode()


def caddy() -> bytes:
    """https://caddyserver.com/docs/logging: structured access logs."""
    return to_json([
        {
            "level": "info", "ts": e.at.timestamp(), "logger": "http.log.access", "msg": "handled request",
            "request": {
                "remote_ip": "10.0.0.9", "proto": "HTTP/2.0", "method": "GET", "host": "app.example", "uri": e.path,
                "headers": {"User-Agent": [AGENT], "Accept": ["*/*"]},
            },
            "bytes_read": 0, "duration": 0.0125, "size": 512, "status": e.status,
        }
        for e in events()
    ])  # fmt: skip


def cloudflare() -> bytes:
    """https://developers.cloudflare.com/logs/logpush/logpush-job/datasets/zone/http_requests/."""
    return to_json([
        {
            "ClientIP": "10.0.0.9", "ClientRequestHost": "app.example", "ClientRequestMethod": "GET",
            "ClientRequestPath": e.path.partition("?")[0], "ClientRequestURI": e.path, "ClientRequestUserAgent": AGENT,
            "EdgeEndTimestamp": int((e.at.timestamp() + 0.2) * 1e9), "EdgeResponseBytes": 512,
            "EdgeResponseStatus": e.status,
            "EdgeStartTimestamp": int(e.at.timestamp() * 1e9), "RayID": f"{e.number:016x}",
        }
        for e in events()
    ])  # fmt: skip


def alb() -> bytes:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html: no header."""
    return "".join(
        f"https {e.at:%Y-%m-%dT%H:%M:%S.%f}Z app/my-lb/50dc 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 "
        f'{e.status} {e.status} 0 57 "GET https://app.example:443{e.path} HTTP/1.1" "{AGENT}" '
        "ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/t/73e2 "
        f'"Root=1-58337281-{e.number:024x}" "app.example" "arn:aws:acm:us-east-2:123456789012:certificate/12345678" 1 '
        f'{e.at:%Y-%m-%dT%H:%M:%S.%f}Z "forward" "-" "-" "10.0.0.1:80" "{e.status}" "-" "-" TID_{e.number:x}\n'
        for e in events()
    ).encode()


def cloudfront() -> bytes:
    """https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html."""
    fields = (
        "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) "
        "cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken"
    )
    lines = [
        "\t".join([
            f"{e.at:%Y-%m-%d}", f"{e.at:%H:%M:%S}", "SOF50-C1", "512", "10.0.0.9", "GET", "d111.cloudfront.net",
            e.path.partition("?")[0], str(e.status), "-", AGENT.replace(" ",
            "%20"), e.path.partition("?")[2] or "-", "-",
            "Hit", f"{e.number:x}==", "app.example", "https", "23", "0.001",
        ])
        for e in events()
    ]  # fmt: skip
    return "\n".join(["#Version: 1.0", f"#Fields: {fields}", *lines, ""]).encode()


def iis() -> bytes:
    """https://learn.microsoft.com/en-us/windows/win32/http/w3c-logging."""
    fields = (
        "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) "
        "sc-status sc-substatus sc-win32-status time-taken"
    )
    head = ["#Software: Microsoft Internet Information Services 10.0", "#Version: 1.0", "#Date: 2026-03-02 08:00:00"]
    lines = [
        f"{e.at:%Y-%m-%d %H:%M:%S} 10.0.0.1 GET {e.path.partition('?')[0]} {e.path.partition('?')[2] or '-'} 443 - "
        f"10.0.0.9 {AGENT.replace(' ', '+')} - {e.status} 0 0 15"
        for e in events()
    ]
    half = len(lines) // 2
    return "\r\n".join([
        *head,
        f"#Fields: {fields}",
        *lines[:half],
        *head,
        f"#Fields: {fields}",
        *lines[half:],
        "",
    ]).encode()


def superset() -> bytes:
    """The table `logs`: https://github.com/apache/superset/blob/master/superset/models/core.py, class Log."""
    actions = {
        "open": "dashboard",
        "asset": "ChartDataRestApi.data",
        "login": "welcome",
        "denied": "DashboardRestApi.get_list",
    }
    return to_csv([
        {
            "id": n, "action": actions[e.kind], "user_id": 3 + e.number % 5,
            "json": json.dumps({"path": f"/superset/dashboard/{e.board}/", "dashboard_id": e.board,
            "url_rule": "/superset"}),
            "dttm": f"{e.at:%Y-%m-%d %H:%M:%S.%f}", "dashboard_id": "" if e.kind == "login" else e.board,
            "slice_id": "",
            "duration_ms": 120, "referrer": f"https://bi.example/superset/dashboard/{e.board}/?native_filters_key=x",
        }
        for n, e in enumerate(events())
    ])  # fmt: skip


def metabase_query_execution() -> bytes:
    """https://www.metabase.com/docs/latest/usage-and-performance-tools/usage-analytics-reference."""
    contexts = {"open": "dashboard", "asset": "csv-download", "login": "ad-hoc", "denied": "pulse"}
    return to_csv([
        {
            "id": n, "hash": f"{n:064x}", "started_at": f"{e.at:%Y-%m-%d %H:%M:%S.%f}+00", "running_time": 250,
            "result_rows": 20, "native": "f", "context": contexts[e.kind], "error": "", "executor_id": 4,
            "card_id": 100 + e.board,
            "dashboard_id": "" if e.kind == "login" else e.board, "pulse_id": "", "database_id": 2, "cache_hit": "f",
        }
        for n, e in enumerate(events())
    ])  # fmt: skip


def metabase_view_log() -> bytes:
    """https://www.metabase.com/docs/latest/usage-and-performance-tools/usage-analytics-reference: view log."""
    models = {"open": "dashboard", "asset": "table", "login": "collection", "denied": "database"}
    return to_json([
        {
            "id": n, "user_id": 4, "model": models[e.kind], "model_id": e.board, "timestamp": e.at, "metadata": "{}",
            "has_access": True, "context": None,
        }
        for n, e in enumerate(events())
    ])  # fmt: skip


def _posthog(*, as_text: bool) -> Rows:
    names = {"open": "$pageview", "asset": "$autocapture", "login": "$identify", "denied": "$pageleave"}
    rows = []
    for e in events():
        properties = {
            "$current_url": f"https://app.example{e.path}", "$pathname": e.path.partition("?")[0],
            "$host": "app.example",
            "$timezone": "Europe/Berlin", "$raw_user_agent": AGENT, "$browser": "Chrome", "$lib": "web",
        }  # fmt: skip
        rows.append({
            "uuid": f"0195{e.number:028x}", "event": names[e.kind], "distinct_id": f"u{e.number % 5}", "team_id": 1,
            "properties": json.dumps(properties) if as_text else properties,
            "timestamp": e.at if as_text else e.at.isoformat(),
            "created_at": e.at + timedelta(hours=3) if as_text else (e.at + timedelta(hours=3)).isoformat(),
            "inserted_at": e.at + timedelta(hours=4) if as_text else (e.at + timedelta(hours=4)).isoformat(),
        })  # fmt: skip
    return rows


def posthog_jsonl() -> bytes:
    """https://posthog.com/docs/data-pipelines/batch-exports/s3: events model."""
    return to_json(_posthog(as_text=False))


def posthog_parquet() -> bytes:
    """https://posthog.com/docs/data-pipelines/batch-exports/s3: in Parquet, properties are text that holds JSON."""
    return _parquet(_posthog(as_text=True))


def _ga4(*, is_flat: bool) -> Rows:
    names = {"open": "page_view", "asset": "scroll", "login": "session_start", "denied": "user_engagement"}
    rows: Rows = []
    for e in events():
        micros = int(e.at.timestamp() * 1e6)
        url = f"https://app.example{e.path if e.kind != 'denied' else '/'}"
        row: dict[str, Any] = {
            "event_date": f"{e.at:%Y%m%d}", "event_timestamp": micros, "event_name": names[e.kind],
            "event_previous_timestamp": micros - 10**9, "user_pseudo_id": f"{e.number}.1700000000",
            "user_first_touch_timestamp": micros - 10**12, "stream_id": "1234567",
        }  # fmt: skip
        values: dict[str, tuple[str | None, int | None]] = {
            "ga_session_id": (None, 1700000000 + e.number), "page_location": (url, None),
            "page_title": ("Ad overview", None),
        }  # fmt: skip
        if is_flat:
            row |= {name: text or number for name, (text, number) in values.items()}
        else:
            row["event_params"] = [
                {
                    "key": name,
                    "value": {"string_value": text, "int_value": number, "float_value": None, "double_value": None},
                }
                for name, (text, number) in values.items()
            ]
        rows.append(row)
    return rows


def ga4_flat() -> bytes:
    """https://support.google.com/analytics/answer/7029846, with the parameters as columns."""
    return to_csv(_ga4(is_flat=True))


def ga4_jsonl() -> bytes:
    """https://support.google.com/analytics/answer/7029846: the BigQuery export."""
    return to_json(_ga4(is_flat=False))


def ga4_parquet() -> bytes:
    """https://support.google.com/analytics/answer/7029846: the BigQuery export, with its lists."""
    return _parquet(_ga4(is_flat=False))


def looker() -> bytes:
    """https://cloud.google.com/looker/docs/usage-reports-with-system-activity-explores: History."""
    sources = {"open": "Dashboard", "asset": "Scheduled Task", "login": "SQL Runner", "denied": "API 4.0"}
    return to_csv([
        {
            "History ID": 900 + n, "History Created Time": f"{e.at:%Y-%m-%d %H:%M:%S}",
            "History Completed Time": f"{e.at + timedelta(seconds=3):%Y-%m-%d %H:%M:%S}",
            "History Source": sources[e.kind],
            "History Status": "complete", "Dashboard ID": e.board, "Dashboard Title": "Ad overview", "User ID": 7,
            "History Runtime in Seconds": 0.5,
        }
        for n, e in enumerate(events())
    ])  # fmt: skip


def redash() -> bytes:
    """https://github.com/getredash/redash/blob/master/redash/models/__init__.py: class Event."""
    actions = {"open": "view", "asset": "execute", "login": "login", "denied": "edit"}
    kinds = {"open": "dashboard", "asset": "data_source", "login": "redash", "denied": "dashboard"}
    return to_json([
        {
            "id": n, "org_id": 1, "user_id": 5, "action": actions[e.kind], "object_type": kinds[e.kind],
            "object_id": str(e.board),
            "additional_properties": {"ip": "10.0.0.9", "user_agent": AGENT}, "created_at": e.at,
        }
        for n, e in enumerate(events())
    ])  # fmt: skip


def grafana() -> bytes:
    """https://grafana.com/docs/grafana/latest/setup-grafana/configure-security/export-logs/: usage insights."""
    names = {"open": "dashboard-view", "asset": "data-request", "login": "data-request", "denied": "data-request"}
    return to_json([
        {
            "eventName": names[e.kind], "dashboardId": e.board, "dashboardUid": f"nErXDvC{e.board}",
            "dashboardName": "Ads",
            "userId": 2, "userLogin": "ana", "timestamp": e.at.isoformat(), "duration": 250, "totalQueries": 3,
        }
        for e in events()
    ])  # fmt: skip


def matomo() -> bytes:
    """https://developer.matomo.org/api-reference/reporting-api: Live.getLastVisitsDetails, one action a line."""
    kinds = {"open": "action", "asset": "download", "login": "outlink", "denied": "event"}
    return to_json([
        {
            "idSite": 1, "idVisit": 70 + e.number, "type": kinds[e.kind], "url": f"https://app.example{e.path}",
            "pageTitle": "Ad overview", "pageIdAction": str(30 + e.board), "idpageview": f"{e.number:06x}",
            "serverTimePretty": f"{e.at:%b %d, %Y %H:%M:%S}", "pageId": str(e.number), "timeSpent": 20,
            "pageviewPosition": 1, "timestamp": int(e.at.timestamp()),
        }
        for e in events()
    ])  # fmt: skip


def snowflake() -> bytes:
    """https://docs.snowflake.com/en/sql-reference/parameters#timestamp-tz-output-format: a space before the offset."""
    return to_csv([
        {"OPENED_AT": f"{e.at:%Y-%m-%d %H:%M:%S}.250 +0000", "AD_ACCOUNT": e.account, "PRESET": e.date_range}
        for e in events()
        if e.kind == "open"
    ])


def _translated(day: str, clock: str, words: tuple[str, str, str], names: str) -> bytes:
    ranges = dict(zip(RANGES, words, strict=True))
    rows = [e for e in events() if e.kind == "open"]
    lines = [f"{e.at:{day}};{e.at:{clock}};{e.account};{ranges[e.date_range]}" for e in rows]
    return "\n".join([names, *lines, ""]).encode()


def german_csv() -> bytes:
    """A spreadsheet of a German Windows: day and time of day in columns of their own."""
    words = ("Letzte 7 Tage", "Gestern", "Letzte 30 Tage")
    return _translated("%d.%m.%Y", "%H:%M Uhr", words, "Datum;Uhrzeit;Konto;Zeitraum")


def french_csv() -> bytes:
    """The same of a French one."""
    words = ("7 derniers jours", "Hier", "30 derniers jours")
    return _translated("%d/%m/%Y", "%Hh%M", words, "Date;Heure;Compte;Période")


def swedish_csv() -> bytes:
    """The same of a Swedish one."""
    words = ("Senaste 7 dagar", "Igår", "Senaste 30 dagar")
    return _translated("%Y-%m-%d", "%H.%M", words, "Datum;Klockslag;Konto;Period")


def american_csv() -> bytes:
    """The same of an American one."""
    words = ("Last 7 days", "Yesterday", "Last 30 days")
    return _translated("%m/%d/%Y", "%I:%M %p", words, "Date;Time;Account;Range")


def _tableau(number: int, e: Event) -> dict[str, Any]:
    path = f"AdSpend/sheets/Account?Account={e.account}&Period={e.date_range}"
    return {
        "id": 100 + number, "controller": "vizql", "action": "show", "http_user_agent": AGENT, "port": 443,
        "http_request_uri": path if e.kind == "open" else "auth/login?next=home", "created_at": e.at.isoformat(),
        "completed_at": (e.at + timedelta(seconds=2)).isoformat(), "currentsheet": "AdSpend/Account", "site_id": 1,
    }  # fmt: skip


def tableau_csv() -> bytes:
    """https://tableau.github.io/tableau-data-dictionary: http_requests, whose paths have no leading slash."""
    return to_csv([_tableau(n, e) for n, e in enumerate(events())])


def tableau_jsonl() -> bytes:
    """The same as JSON lines."""
    return to_json([_tableau(n, e) for n, e in enumerate(events())])


def looker_titles() -> bytes:
    """https://cloud.google.com/looker/docs/usage-reports-with-system-activity-explores: accounts in titles only."""
    return to_csv([
        {
            "History ID": 900 + n, "History Created Time": f"{e.at:%Y-%m-%d %H:%M:%S}",
            "History Source": "Dashboard" if e.kind == "open" else "API 4.0", "Dashboard Title": f"Account {e.account}",
        }
        for n, e in enumerate(events())
    ])  # fmt: skip


def row_numbers() -> bytes:
    """Paths beside a number of the row, which is no status."""
    return to_csv([
        {"id": 110 + 12 * n, "time": e.at.isoformat(), "url": e.path}
        for n, e in enumerate(e for e in events() if e.kind != "denied")
    ])


def wrapped_arguments() -> bytes:
    """The combined format, with dots, braces and brackets in the names and the arguments of paths."""
    paths = {
        "open": "/v1.2/{{reports}}/view?filter[account.id]=[act_{0.account}]&vars=%7B%22a%22%3A1%7D&p={0.date_range}",
        "asset": "/static/app.js", "login": "/login?next=%2F", "denied": "/v1.2/{{reports}}/view?filter[account.id]=[]",
    }  # fmt: skip
    return "".join(
        f'10.0.0.9 - - [{e.at:%d/%b/%Y:%H:%M:%S} +0000] "GET {paths[e.kind].format(e)} HTTP/1.1" {e.status} 512 "-" '
        f'"{AGENT}"\n'
        for e in events()
    ).encode()


def power_bi() -> bytes:
    """https://learn.microsoft.com/en-us/rest/api/power-bi/admin/get-activity-events: a page with a list."""
    operations = {"open": "ViewReport", "asset": "ExportReport", "login": "GetWorkspaces", "denied": "EditReport"}
    rows = [
        {
            "Id": f"{n:032x}", "RecordType": 20, "CreationTime": f"{e.at:%Y-%m-%dT%H:%M:%S}", "UserId": "ana@b.example",
            "Operation": operations[e.kind], "Workload": "PowerBI", "ReportName": "Ads",
            "ReportId": f"a{e.board}c2b7-3ce4", "IsSuccess": True,
        }
        for n, e in enumerate(events())
    ]  # fmt: skip
    return json.dumps(
        {"activityEventEntities": rows, "continuationUri": None, "lastResultSet": True}, indent=2
    ).encode()


def logfmt() -> bytes:
    """https://pkg.go.dev/github.com/go-logfmt/logfmt: pairs of key and value, quoted where there are spaces."""
    messages = {"open": "report viewed", "asset": "report exported", "login": "signed in", "denied": "report edited"}
    return "".join(
        f'time={e.at.isoformat()} level=info msg="{messages[e.kind]}" user="ana b" account=act_{e.account} '
        f"range={e.date_range} took=12ms\n"
        for e in events()
    ).encode()


def own_web_format() -> bytes:
    """http://nginx.org/en/docs/http/ngx_http_log_module.html: a `log_format` of somebody's own, sent through syslog."""
    return "".join(
        f"<190>{e.at:%b %d %H:%M:%S} web1 nginx: 10.0.0.9 {e.at:%d/%b/%Y:%H:%M:%S}.250 {e.status} 0.{125 + e.number} "
        f'"ana b" GET {e.path} app.example [cache MISS]\n'
        for e in events()
    ).encode()


SHAPES: Shapes = {
    "nginx JSON": ("access.json", nginx_json),
    "ingress-nginx JSON": ("ingress.log", ingress_nginx_json),
    "combined": ("access.log", combined),
    "Caddy": ("caddy.log", caddy),
    "Cloudflare": ("cloudflare.log", cloudflare),
    "AWS ALB": ("alb.log", alb),
    "CloudFront": ("cloudfront.log", cloudfront),
    "IIS": ("u_ex260302.log", iis),
    "Superset logs": ("superset.csv", superset),
    "Metabase query_execution": ("query_execution.csv", metabase_query_execution),
    "Metabase view_log": ("view_log.jsonl", metabase_view_log),
    "PostHog JSON lines": ("posthog.jsonl", posthog_jsonl),
    "PostHog Parquet": ("posthog.parquet", posthog_parquet),
    "GA4 flat": ("ga4.csv", ga4_flat),
    "GA4 JSON lines": ("ga4.jsonl", ga4_jsonl),
    "GA4 Parquet": ("ga4.parquet", ga4_parquet),
    "Looker History": ("looker.csv", looker),
    "Redash events": ("redash.jsonl", redash),
    "Grafana usage insights": ("grafana.log", grafana),
    "Matomo": ("matomo.jsonl", matomo),
    "Snowflake": ("snowflake.csv", snowflake),
    "German CSV": ("german.csv", german_csv),
    "French CSV": ("french.csv", french_csv),
    "Swedish CSV": ("swedish.csv", swedish_csv),
    "American CSV": ("american.csv", american_csv),
    "Tableau CSV": ("tableau.csv", tableau_csv),
    "Tableau JSON lines": ("tableau.jsonl", tableau_jsonl),
    "Looker titles": ("titles.csv", looker_titles),
    "Row numbers": ("rows.csv", row_numbers),
    "Power BI": ("activity.json", power_bi),
    "logfmt": ("app.log", logfmt),
    "Own web format": ("web.log", own_web_format),
    "Wrapped arguments": ("wrapped.log", wrapped_arguments),
}
"""By tool, the name and the content of its log."""


def write_log(folder: Path, shape: str, shapes: Shapes = SHAPES) -> Path:
    """Write the log of a tool, and return its path."""
    name, make = shapes[shape]
    path = folder / name
    path.write_bytes(make())
    return path
