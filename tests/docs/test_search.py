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

SEARCHES = {
    "limit calls per hour": "how-to/limit-calls.html",
    "exclude an account": "how-to/accounts.html",
    "does warming pay": "how-to/limit-calls.html",
    "kubernetes": "how-to/kubernetes.html",
    "throttled": "how-to/runbook/throttled-platform.html",
    "pause": "how-to/stop-and-resume.html",
    "cost": "how-to/limit-calls.html",
    "slow": "how-to/why-not-warm.html",
    "timezone": "explanation/time-zones.html",
    "gdpr": "explanation/personal-data.html",
    "mwaa": "how-to/managed-airflow.html",
    "mixpanel": "how-to/own-log.html",
    "replace": "how-to/uninstall.html",
    "uninstall": "how-to/uninstall.html",
    "not warm why": "how-to/why-not-warm.html",
}
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
