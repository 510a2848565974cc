"""What the walk does as people: fills a Superset with dashboards, and opens them by API or in Chromium."""

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import requests

_CHARTS = (1, 2, 3)
_FILTER: dict[str, Any] = {"col": "region", "op": "IN", "val": ["north"]}


class People:
    """An admin of a Superset.

    Args:
        url: where it answers.
        password: of the user `admin`.
    """

    def __init__(self, url: str, password: str) -> None:
        self._api, self._session = f"{url}/api/v1", requests.Session()
        login = {"username": "admin", "password": password, "provider": "db"}
        token = self._session.post(f"{self._api}/security/login", json=login, timeout=60).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"
        csrf = self._session.get(f"{self._api}/security/csrf_token/", timeout=60).json()["result"]
        self._session.headers.update({"X-CSRFToken": csrf, "Referer": url})

    def make_dashboards(self, data: Path) -> None:
        """Make three charts on a table, dashboard 1 with a native filter on two of them, dashboard 2 without."""
        _make_table(data)
        database = self._post("database", database_name="sales", sqlalchemy_uri=f"sqlite:///{data}")
        dataset = self._post("dataset", database=database, table_name="sales")
        dashboards = [self._post("dashboard", dashboard_title=name) for name in ("Sales by region", "Sales")]
        charts = [
            self._post_chart(dataset, dashboards, name, metric)
            for name, metric in (("Total", "SUM(amount)"), ("Days", "COUNT(*)"), ("Largest", "MAX(amount)"))
        ]
        for number, dashboard in enumerate(dashboards):
            metadata = {"native_filter_configuration": [_native_filter(dataset, charts)] if number == 0 else []}
            layout = {"position_json": json.dumps(_layout(charts)), "json_metadata": json.dumps(metadata)}
            self._send("PUT", f"dashboard/{dashboard}", layout)

    def open(self, dashboard: int) -> list[bool]:
        """Request each chart as a browser does that opens a dashboard, and return which were answered by the cache."""
        found = []
        for chart in _CHARTS:
            body = self._query(chart) | {"force": False}
            if dashboard == 1 and chart < 3:
                body["queries"][0]["filters"] = [_FILTER]
            body["form_data"] = {**body["queries"][0], "slice_id": chart}
            named = json.dumps({"slice_id": chart})
            answer = self._send("POST", f"chart/data?form_data={named}&dashboard_id={dashboard}", body)
            found.append(bool(answer["result"][0]["is_cached"]))
        return found

    def _query(self, chart: int) -> dict[str, Any]:
        saved = self._send("GET", f"chart/{chart}")["result"]["query_context"]
        context: dict[str, Any] = json.loads(saved)
        return {name: context[name] for name in ("datasource", "queries", "result_format", "result_type")}

    def _post_chart(self, dataset: int, dashboards: list[int], name: str, metric: str) -> int:
        measure = {"expressionType": "SQL", "sqlExpression": metric, "label": name}
        form = {"datasource": f"{dataset}__table", "viz_type": "table", "query_mode": "aggregate", "row_limit": 100}
        form |= {"groupby": ["region"], "metrics": [measure], "adhoc_filters": []}
        query: dict[str, Any] = {"filters": [], "extras": {"having": "", "where": ""}, "columns": ["region"]}
        query |= {"metrics": [measure], "orderby": [[measure, False]], "row_limit": 100, "order_desc": True}
        context = {"datasource": {"id": dataset, "type": "table"}, "queries": [query], "form_data": form}
        context |= {"result_format": "json", "result_type": "full"}
        values = {"slice_name": name, "viz_type": "table", "datasource_id": dataset, "datasource_type": "table"}
        return self._post(
            "chart", **values, dashboards=dashboards, params=json.dumps(form), query_context=json.dumps(context)
        )

    def _post(self, path: str, **body: Any) -> int:
        return int(self._send("POST", f"{path}/", body)["id"])

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._session.request(method, f"{self._api}/{path}", json=body, timeout=60)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


class Chromium:
    """A reader who is logged in, with an empty profile.

    Args:
        browser: Chromium, driven by Playwright.
        url: where Superset answers.
        password: of the user `admin`.
        pictures: a folder.
    """

    def __init__(self, browser: Any, url: str, password: str, pictures: Path) -> None:
        self._url, self._pictures = url, pictures
        self._context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = self._context.new_page()
        page.goto(f"{url}/login/")
        page.fill("#username", "admin")
        page.fill("#password", password)
        page.press("#password", "Enter")
        page.wait_for_url(lambda address: "/login" not in address)
        page.close()

    def open(self, dashboard: int) -> list[bool]:
        """Open a dashboard, save a picture of it, and return which of its charts were answered by the cache."""
        charts: dict[int, bool] = {}
        answers: list[Any] = []
        page = self._context.new_page()
        page.on("response", lambda answer: answers.append(answer) if "/chart/data" in answer.url else None)
        page.goto(f"{self._url}/superset/dashboard/{dashboard}/")
        for _ in range(300):
            page.wait_for_timeout(200)
            while answers:
                charts |= [_read_answer(answers.pop())]
            if charts.keys() >= set(_CHARTS):
                break
        page.wait_for_timeout(2000)  # the page gathers its events before it sends them to the log
        page.screenshot(path=self._pictures / f"dashboard-{dashboard}.png")
        page.close()
        return [charts.get(chart, False) for chart in _CHARTS]


def _read_answer(answer: Any) -> tuple[int, bool]:
    """Return the chart of an answer, and whether it came from the cache; 0 is the query of a filter's options."""
    body = json.loads(answer.request.post_data or "{}")
    return int(body.get("form_data", {}).get("slice_id") or 0), bool(answer.json()["result"][0]["is_cached"])


@contextlib.contextmanager
def start_chromium() -> Iterator[Any]:
    """Run Debian's Chromium without a window; None where it is not installed."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    # As root, Chromium refuses to start in its sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def _make_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sales (day DATE, region TEXT, amount REAL)")
        days = [date(2026, 1, 1) + timedelta(days=number) for number in range(300)]
        rows = [(str(day), region, 100 + day.day) for day in days for region in ("north", "south", "east")]
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", rows)


def _native_filter(dataset: int, charts: list[int]) -> dict[str, Any]:
    mask = {"extraFormData": {"filters": [_FILTER]}, "filterState": {"value": _FILTER["val"], "label": "north"}}
    return {
        "id": "NATIVE_FILTER-region",
        "name": "Region",
        "type": "NATIVE_FILTER",
        "filterType": "filter_select",
        "targets": [{"datasetId": dataset, "column": {"name": "region"}}],
        "defaultDataMask": mask,
        "controlValues": {"multiSelect": True},
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": charts[2:]},
        "chartsInScope": charts[:2],
    }


def _layout(charts: list[int]) -> dict[str, Any]:
    parents = ["ROOT_ID", "GRID_ID", "ROW-1"]
    layout: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": ["ROW-1"], "parents": parents[:1]},
        "ROW-1": {
            "type": "ROW",
            "id": "ROW-1",
            "children": [f"CHART-{chart}" for chart in charts],
            "parents": parents[:2],
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        },
    }
    for chart in charts:
        meta = {"chartId": chart, "width": 4, "height": 50, "sliceName": f"chart {chart}"}
        layout[f"CHART-{chart}"] = {
            "type": "CHART",
            "id": f"CHART-{chart}",
            "children": [],
            "parents": parents,
            "meta": meta,
        }
    return layout
