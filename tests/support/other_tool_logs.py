"""Logs of ten tools that were written from their documentation before the check knew any of them."""

import json
from typing import Any

from tests.support.tool_logs import AGENT, Event, Shapes, events, to_csv, to_json

_LISTED = {"ids": ["x1"], "count": 1}


def _guid(event: Event) -> str:
    return f"9f1c2b{event.board}-3ce4-4a30-b62b-2aef16943bc4"


def _path(event: Event) -> str:
    return event.path if event.kind != "login" else "/login"


def haproxy() -> bytes:
    """HAProxy's manual, 8.2.3: `option httplog`, prefixed by syslog; headers with blanks precede the request."""
    return "".join(
        f"{e.at:%b %d %H:%M:%S} lb01 haproxy[14389]: 10.0.1.2:{33000 + n} [{e.at:%d/%b/%Y:%H:%M:%S}.250] http-in~ "
        f"web/srv{n % 2} 0/0/30/69/109 {e.status} 2750 - - ---- 1/1/1/1/0 0/0 {{app.example|{AGENT[: 60 + n]}}} {{}} "
        f'"GET {_path(e)} HTTP/1.1"\n'
        for n, e in enumerate(events())
    ).encode()


def heroku() -> bytes:
    """Heroku's pages on HTTP routing: a prefix with the time, then pairs of which the first is called `at`."""
    return "".join(
        f'{e.at.isoformat()} heroku[router]: at=info method=GET path="{_path(e)}" host=app.example '
        f'request_id=76fe0891-38cd-4293-a082-{n:012d} fwd="10.0.0.9" dyno=web.1 connect=1ms service={n}ms '
        f"status={e.status} bytes={n + 130} protocol=https\n"
        for n, e in enumerate(events())
    ).encode()


def google_load_balancer() -> bytes:
    """Google Cloud's pages on logs of the Application Load Balancer: the request lies in `httpRequest`."""
    return to_json([
        {
            "httpRequest": {
                "latency": "0.05s", "remoteIp": "10.0.0.9", "requestMethod": "GET", "responseSize": str(300 + n),
                "requestUrl": f"https://app.example{_path(e)}", "status": e.status, "userAgent": AGENT,
            },
            "insertId": f"1vzs{n}", "receiveTimestamp": e.at.isoformat(), "severity": "INFO", "spanId": f"{n:016x}",
            "resource": {"labels": {"project_id": "p", "zone": "global"}, "type": "http_load_balancer"},
            "timestamp": e.at.isoformat(),
        }
        for n, e in enumerate(events())
    ])  # fmt: skip


def envoy() -> bytes:
    """Envoy's pages on access logs: the format that is used without a setting."""
    return "".join(
        f'[{e.at:%Y-%m-%dT%H:%M:%S}.250Z] "GET {_path(e)} HTTP/2" {e.status} - 0 {154 + n} {200 + n} {180 + n} '
        f'"10.0.0.9" "{AGENT}" "cc21d9b0-cf5c-432b-8c7e-{n:012x}" "app.example" "10.0.2.1:80"\n'
        for n, e in enumerate(events())
    ).encode()


def domo() -> bytes:
    """Domo's pages on its Activity Log API: one list; views of cards are events of their own beside those of pages."""
    kinds = {
        "open": ("VIEWED", "PAGE", "Viewed page"), "asset": ("VIEWED", "CARD", "Viewed card"),
        "login": ("LOGGEDIN", "USER", "Logged in"), "denied": ("UPDATED", "PAGE", "Updated page"),
    }  # fmt: skip
    rows = []
    for n, e in enumerate(events()):
        action, kind, text = kinds[e.kind]
        number = {"asset": 771000000 + n, "login": 1619916076}.get(e.kind, 663909000 + e.board)
        rows.append({
            "actionType": action, "additionalComment": f"Ana: {text}.", "browserDetails": AGENT, "device": "desktop",
            "eventText": text, "objectId": str(number), "objectName": "Ads", "objectType": kind, "userName": "Ana",
            "time": f"{e.at:%Y-%m-%d %I:%M:%S %p}", "userId": "1619916076", "userType": "USER",
        })  # fmt: skip
    return json.dumps(rows).encode()


def qlik_cloud() -> bytes:
    """Qlik's pages on its Audits API and on events of apps: a page with `data`, each event in a cloud event."""
    kinds = {
        "open": "com.qlik.v1.app.opened", "asset": "com.qlik.app.reload.finished", "denied": "com.qlik.app.exported",
        "login": "com.qlik.v1.user-session.begin",
    }  # fmt: skip
    rows = [
        {
            "id": f"60143626-36a8-4661-9afe-{n:012x}", "time": e.at.isoformat(), "type": kinds[e.kind], "userid": "u1",
            "data": {"idpId": "x"} if e.kind == "login" else {"id": _guid(e), "resourceType": "app"},
            "source": "com.qlik/engine", "toplevelresourceid": "" if e.kind == "login" else _guid(e),
        }
        for n, e in enumerate(events())
    ]  # fmt: skip
    return json.dumps({"data": rows, "links": {"next": {"href": ""}}}, indent=2).encode()


def quicksight() -> bytes:
    """AWS' pages on QuickSight in CloudTrail: `Records`, each of the one AWS account beside the dashboard's ARN."""
    names = {"open": "GetDashboard", "asset": "QueryDatabase", "login": "CreateUser", "denied": "UpdateDashboard"}
    rows = [
        {
            "eventVersion": "1.08", "eventTime": f"{e.at:%Y-%m-%dT%H:%M:%SZ}", "eventName": names[e.kind],
            "userIdentity": {"arn": "arn:aws:sts::111122223333:assumed-role/qs/ana", "accountId": "111122223333"},
            "recipientAccountId": "111122223333", "eventID": f"e7d2382e-70a0-3fb7-9d41-{n:012x}",
            "serviceEventDetails": {"eventRequestDetails": {
                "dashboardId": f"arn:aws:quicksight:us-east-1:111122223333:dashboard/{_guid(e)}",
            } if e.kind in {"open", "denied"} else _LISTED},
        }
        for n, e in enumerate(events())
    ]  # fmt: skip
    return json.dumps({"Records": rows}).encode()


def reporting_services() -> bytes:
    """Microsoft's page on the view ExecutionLog3: account and range are parameters, and schedules run reports, too."""
    kinds = {"open": "Interactive", "asset": "Subscription", "login": "Refresh Cache", "denied": "Subscription"}
    return to_csv([
        {
            "InstanceName": "SQL\\RS", "ItemPath": "/Ads/Overview", "UserName": "B\\ana", "RequestType": kinds[e.kind],
            "Parameters": f"AccountId={e.account}&Period={e.date_range}", "ItemAction": "Render", "Source": "Live",
            "TimeStart": f"{e.at:%Y-%m-%d %H:%M:%S}.250", "TimeEnd": f"{e.at:%Y-%m-%d %H:%M:%S}.999",
            "TimeDataRetrieval": 100 + n, "Status": "rsSuccess", "ByteCount": 20000 + n, "RowCount": 120,
        }
        for n, e in enumerate(events())
    ])  # fmt: skip


def lograge() -> bytes:
    """The README of lograge, with the prefix of Rails' logger: the path has no query, and no host stands before it."""
    return "".join(
        f"I, [{e.at:%Y-%m-%dT%H:%M:%S.%f} #42{n:02d}]  INFO -- : method=GET "
        f"path={'/session/new' if e.kind in {'asset', 'login'} else f'/accounts/{e.account}/reports/{e.date_range}'} "
        f"format=html controller=ReportsController action=show status={e.status} duration={n}.33 view=40.43\n"
        for n, e in enumerate(events())
    ).encode()


def amplitude() -> bytes:
    """Amplitude's pages on its Export API: six times, of which `event_time` is meant, and properties of the event."""
    kinds = {"open": "Report Viewed", "asset": "session_start", "login": "Report Exported", "denied": "Filter Changed"}
    rows: list[dict[str, Any]] = [
        {
            "server_received_time": f"{e.at:%Y-%m-%d %H:%M:59.000000}", "app": 123456, "user_id": f"u{n % 5}",
            "event_time": f"{e.at:%Y-%m-%d %H:%M:%S.%f}", "processed_time": f"{e.at:%Y-%m-%d 23:%M:%S.%f}",
            "amplitude_id": 810000000000 + n % 7, "event_type": kinds[e.kind], "event_id": n,
            "event_properties": {"Ad Account": f"act_{e.account}", "Date Range": e.date_range.replace("_", " ")},
        }
        for n, e in enumerate(events())
    ]  # fmt: skip
    return to_json(rows)


OTHER_SHAPES: Shapes = {
    "HAProxy": ("haproxy.log", haproxy),
    "Heroku": ("heroku.log", heroku),
    "Google load balancer": ("requests.json", google_load_balancer),
    "Envoy": ("envoy.log", envoy),
    "Domo": ("domo.json", domo),
    "Qlik Cloud": ("audits.json", qlik_cloud),
    "QuickSight": ("cloudtrail.json", quicksight),
    "Reporting Services": ("ExecutionLog3.csv", reporting_services),
    "lograge": ("production.log", lograge),
    "Amplitude": ("amplitude.json", amplitude),
}
"""By tool, the name and the content of its log."""
