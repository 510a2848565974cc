"""Keeps the charts of Superset's dashboards in Superset's own cache: an account is a dashboard, a page is one chart.

A warm repeats the request that readers' browsers send for the chart, forced; Superset keeps the result. Set the address
and the login as the Airflow connection `superset`, or as AIRFLOW_CONN_SUPERSET=http://user:password@host:8088.

No redirect is followed, since it could lead the login to another host, and an answer is read within the time and size
of a call.
"""

import json
import logging
import threading
from collections import Counter
from functools import cache
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from adwarm import Account, BadRequest, Denied, TokenDead, Transient
from adwarm.foundation.clock import Clock
from adwarm.model import NO_CURRENCY, Row
from adwarm.settings import SourceSettings
from adwarm.sources.meta.wire import BoundedAdapter, CallBounds
from adwarm.sources.protocol import AccountPage, AsyncReportHandle, Capabilities, FetchUnit, ResultPage
from adwarm.sources.synchronous import SynchronousSource, unknown_report
from adwarm.sources.units import CONNECT_SECONDS, MAX_RESPONSE_BYTES

log = logging.getLogger(__name__)
_READING = threading.Lock()  # Airflow answers one request of a task at a time
_BODY = ("datasource", "queries", "form_data", "result_format", "result_type")


class SupersetSource(SynchronousSource):
    """Warms the charts of dashboards; used by one thread."""

    name = "superset"
    capabilities = Capabilities(
        unique_metrics=frozenset(),
        max_page_rows=1,
        retention_days=0,
        closes_days=False,
        readers_fill=True,
        noun="dashboard",
    )

    def __init__(self, login: Any, rules: SourceSettings, connection: str) -> None:
        self.connection, self._login, self._rules = connection, login, rules
        self._url = f"{login.schema or login.conn_type or 'http'}://{login.host}:{login.port or 8088}"
        self._session: requests.Session | None = None
        self._bounds = CallBounds(rules.read_timeout, rules.call_timeout, MAX_RESPONSE_BYTES)

    def get_account(self, account_id: str) -> Account:
        """Return the dashboard.

        Raises:
            BadRequest: it is a slug or a UUID; the log, and so the accounts, have the integer.
        """
        number = account_id.removeprefix("act_")
        if not number.isdecimal():
            raise BadRequest(f"{account_id} is not the integer id of a dashboard, which the log has")
        return self._account(self._call("GET", f"dashboard/{number}", account_id)["result"])

    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return a hundred dashboards; the cursor is the number of the page."""
        number = int(cursor or 0)
        found = self._call("GET", f"dashboard/?q=(order_column:dashboard_title,page:{number},page_size:100)")["result"]
        return AccountPage(tuple(map(self._account, found)), str(number + 1) if len(found) == 100 else None)

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Warm one chart, and return a row for it; the cursor lists the charts that are left.

        Raises:
            BadRequest: no chart of the dashboard can be warmed.
        """
        if isinstance(target, AsyncReportHandle):
            raise unknown_report(target)
        dashboard, day = target.account_id.removeprefix("act_"), str(target.windows[0].since)
        if cursor is None:
            charts = self._call("GET", f"dashboard/{dashboard}/charts", target.account_id)["result"]
            cursor = ",".join(str(chart["id"]) for chart in charts)
        charts, _, done = cursor.partition("/")  # those left, and how many of the others are warm
        chart, _, left = charts.partition(",")
        row: Row = {"account_id": dashboard, "ad_id": chart, "date_start": day, "date_stop": day}
        is_warm = bool(chart) and self._warm(target.account_id, dashboard, chart)
        row["impressions"], warm = str(int(is_warm)), int(done or 0) + is_warm
        if chart and not left and not warm:
            raise BadRequest(f"no chart of {target.account_id} can be warmed; the log says why for each")
        return ResultPage([row] if chart else [], f"{left}/{warm}" if left else None)

    def _warm(self, account_id: str, dashboard: str, chart: str) -> bool:
        """Return whether Superset has the chart's data now; a chart with an error of its own does not stop the rest."""
        columns = {"action": "ChartDataRestApi.data", "dashboard_id": dashboard, "slice_id": chart}
        filters = ",".join(f"(col:{name},opr:eq,value:{value})" for name, value in columns.items())
        query = f"(columns:!(json),filters:!({filters}),order_column:dttm,order_direction:desc,page_size:9)"
        logged = [json.loads(item["json"]) for item in self._call("GET", f"log/?q={query}", account_id)["result"]]
        bodies = Counter(json.dumps({name: entry[name] for name in _BODY if name in entry}) for entry in logged)
        try:
            if bodies:
                usual = json.loads(bodies.most_common(1)[0][0])
                self._call("POST", "chart/data", account_id, {**usual, "force": True})
                return True
            ids = {"chart_id": int(chart), "dashboard_id": int(dashboard)}  # nobody has opened it yet
            [done] = self._call("PUT", "chart/warm_up_cache", account_id, ids)["result"]
            problem = done["viz_error"]
        except BadRequest as error:
            problem = error
        if problem:
            log.warning("chart %s of %s is not warm: %s", chart, account_id, problem)
        return not problem

    def _account(self, item: dict[str, Any]) -> Account:
        zone = self._rules.options.get("zone", "UTC")
        return Account(
            f"act_{item['id']}", zone, zone, NO_CURRENCY, self.connection, name=item["dashboard_title"] or ""
        )

    def _call(self, method: str, path: str, account_id: str = "", body: Any = None) -> Any:
        """Make one call of the API; a login that has expired is renewed once."""
        for session in (self._session, None):
            self._session = session or self._log_in()
            try:
                return self._send(self._session, method, path, account_id, body)
            except TokenDead:
                if session is None:
                    raise
        return None

    def _log_in(self) -> requests.Session:
        session = requests.Session()
        session.mount(self._url, BoundedAdapter(self._bounds))
        session.headers["Accept-Encoding"] = "identity"
        login = {"username": self._login.login, "password": self._login.password, "provider": "db"}
        token = self._send(session, "POST", "security/login", body=login)["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        csrf = self._send(session, "GET", "security/csrf_token/")["result"]
        session.headers.update({"X-CSRFToken": csrf, "Referer": self._url})
        return session

    def _send(self, session: requests.Session, method: str, path: str, account_id: str = "", body: Any = None) -> Any:
        url = f"{self._url}/api/v1/{path}"
        try:
            status, content = self._exchange(session, method, url, body)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Transient(f"Superset at {self._url} does not answer ({type(error).__name__}); check it") from None
        text = content[:200].decode(errors="replace")
        reason = f"Superset answers {method} {path.partition('?')[0]} with {status}: {text}"
        if status in {403, 404} and account_id:
            raise Denied(reason, account_id=account_id)
        if status >= 500 or status == 429:
            raise Transient(reason)
        if status != 200:
            raise TokenDead(reason) if status == 401 else BadRequest(reason)
        if len(content) == MAX_RESPONSE_BYTES:
            raise BadRequest(f"{reason[:100]}, which is larger than {MAX_RESPONSE_BYTES:,} bytes")
        try:
            return json.loads(content) if content else None
        except ValueError:
            raise Transient(f"{reason}, which is not JSON") from None

    def _exchange(self, session: requests.Session, method: str, url: str, body: Any) -> tuple[int, bytes]:
        """Return status and body of one answer; the data of a chart, which Superset keeps, is not read."""
        self._bounds.start()
        timeout = self._bounds.connect_timeout_seconds(CONNECT_SECONDS)
        with session.request(method, url, json=body, timeout=timeout, allow_redirects=False, stream=True) as answer:
            self._bounds.mark_head_complete()
            if answer.ok and url.endswith("/chart/data"):
                return answer.status_code, b""
            return answer.status_code, answer.raw.read(MAX_RESPONSE_BYTES)


@cache
def read_login(name: str) -> Any:
    """Return a connection of Airflow."""
    from airflow.sdk import BaseHook

    return BaseHook.get_connection(name)


def make_source(settings: SourceSettings, connection: str, clock: Clock | None) -> SupersetSource:
    """Return the source of a worker thread."""
    del clock
    with _READING:
        return SupersetSource(read_login(settings.options.get("connection", "superset")), settings, connection)
