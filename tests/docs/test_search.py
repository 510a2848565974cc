"""The search of the built documentation: the words that users type lead to the page that answers them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

FIRST = {
    "how-to/limit-calls": ("limit calls per hour", "does warming pay", "cost", "rate limit", "quota"),
    "how-to/accounts": ("exclude an account", "account id", "holiday"),
    "how-to/kubernetes": ("kubernetes", "helm"),
    "how-to/runbook/throttled-platform": ("throttled",),
    "how-to/stop-and-resume": ("pause",),
    "how-to/why-not-warm": ("slow", "not warm why"),
    "explanation/time-zones": ("timezone",),
    "explanation/personal-data": ("gdpr",),
    "how-to/managed-airflow": ("mwaa", "composer"),
    "how-to/own-log": (
        "mixpanel",
        "tableau",
        "power bi",
        "powerbi",
        "looker",
        "ga4",
        "google analytics",
        "csv",
        "log format",
    ),
    "how-to/uninstall": ("replace", "uninstall"),
    "how-to/read-api": ("token", "python client", "cors"),
    "how-to/runbook/dead-token": ("token expired",),
    "how-to/own-ad-account": ("access token",),
    "how-to/react": ("react",),
    "how-to/backfill": ("backfill",),
    "how-to/alerts": ("alert", "slack"),
    "how-to/fatigue": ("creative fatigue", "excel"),
    "how-to/run-in-production": ("postgres", "sqlite", "docker", "memory"),
    "how-to/other-sources": ("snowflake", "bigquery", "airbyte", "fivetran"),
    "how-to/upgrade": ("upgrade",),
    "how-to/back-up": ("restore", "backup"),
    "how-to/install": ("install",),
    "how-to/object-storage": ("s3",),
    "how-to/observe": ("grafana",),
    "how-to/warm-superset": ("superset",),
    "how-to/runbook/stale-reports": ("stale",),
    "how-to/strategies": ("cron",),
}
"""What users type, by the page that answers it."""
SEARCHES = {query: f"{page}.html" for page, queries in FIRST.items() for query in queries}
LAST = ("explanation/decisions.html", "project/", "index.html")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    """Return the pages that the search of a fresh build answers, in their order, by query."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js, which runs the search of the site")
    site = tmp_path_factory.mktemp("site")
    mkdocs = [str(Path(sys.executable).with_name("mkdocs")), "build", "--quiet", "--site-dir", str(site)]
    subprocess.run(mkdocs, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    asks = [node, str(Path(__file__).with_name("search.cjs")), str(site), *SEARCHES, "budget"]
    done = subprocess.run(asks, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return {query: [page.partition("#")[0] for page in answer] for query, answer in found.items()}


@pytest.mark.parametrize(("query", "page"), SEARCHES.items())
def test_a_search_finds_its_page_first(pages: Mapping[str, list[str]], query: str, page: str) -> None:
    """The first hit is the page that answers, by the search that runs in the browser."""
    assert pages[query][:1] == [page]


def test_decisions_come_last(pages: Mapping[str, list[str]]) -> None:
    """A word of a decision leads to every page for users before that, pages of the root and the home."""
    is_last = [page.startswith(LAST) for page in pages["budget"] if not page.startswith("reference/")]

    assert "explanation/decisions.html" in pages["budget"]
    assert is_last == sorted(is_last)
