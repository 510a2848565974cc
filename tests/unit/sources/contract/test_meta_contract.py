"""The contract of sources, on Meta against the simulated platform."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from adwarm.model import Account, Row, Window
from adwarm.settings import SourceSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.transport import MetaCredentials
from adwarm.testing import SourceContract, UpstreamData, UpstreamFailure
from graph_simulator.config import SimulatorConfig
from graph_simulator.dataset import object_id
from graph_simulator.date_ranges import DateRange
from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_profile import FaultProfile, FaultRule, SizeSetting
from graph_simulator.levels import slots_of_level
from graph_simulator.server import SimulatorServer

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TOKEN = "EAAcontract0123456789hush"
ZONES = {"act_11": "Europe/Berlin", "act_12": "America/New_York"}
PERIOD = Window(date(2026, 10, 20), date(2026, 11, 5))
FAULTS = {
    UpstreamFailure.UNREACHABLE: FaultRule(kind=FaultKind.RESET),
    UpstreamFailure.HANGS: FaultRule(kind=FaultKind.SLOW_BODY, seconds=20),
    UpstreamFailure.THROTTLED: FaultRule(kind=FaultKind.TOO_MANY_429),
    UpstreamFailure.DENIED: FaultRule(kind=FaultKind.DENIED),
    UpstreamFailure.TOKEN_DEAD: FaultRule(kind=FaultKind.TOKEN_DEAD),
    UpstreamFailure.DAMAGED: FaultRule(kind=FaultKind.TRUNCATED),
}


@pytest.fixture(scope="module")
def platform() -> Iterator[SimulatorServer]:
    """A platform with two accounts in two zones, and empty pages between full ones."""
    accounts = tuple(ZONES)
    config = SimulatorConfig(accounts=accounts, ads=4, token=TOKEN, now=NOW, zone=ZONES, empty_middle_pages=True)
    with SimulatorServer(config) as server:
        server.set_now(NOW, frozen=True)
        yield server


@pytest.fixture(scope="module")
def held(platform: SimulatorServer) -> UpstreamData:
    """What the platform holds, added up by the simulator without rendering rows."""
    rows = [row for account in ZONES for row in _true_rows(platform, account)]
    accounts = tuple(Account(name, zone, zone, "USD") for name, zone in ZONES.items())
    return UpstreamData(accounts, tuple(rows), PERIOD, Window(date(2026, 12, 1), date(2026, 12, 3)))


def _true_rows(platform: SimulatorServer, account: str) -> list[Row]:
    profile = platform.state.dataset.profile(account)
    rows: list[Row] = []
    for item in platform.state.sums(account, "ad", DateRange(PERIOD.since, PERIOD.until), daily=True):
        slot = int(item.id[9:13])
        rows.append({
            "account_id": account.removeprefix("act_"),
            "campaign_id": object_id("3", profile, slot // slots_of_level("campaign")),
            "adset_id": object_id("2", profile, slot // slots_of_level("adset")),
            "ad_id": item.id,
            "impressions": str(item.impressions),
            "reach": str(item.reach),
            "clicks": str(item.clicks),
            "inline_link_clicks": str(item.link_clicks),
            "spend": f"{item.spend_cents / 100:.2f}",
            "date_start": item.since.isoformat(),
            "date_stop": item.until.isoformat(),
        })
    return rows


class TestMeta(SourceContract):
    """Meta's insights, by the simulator."""

    failures = frozenset({*FAULTS, UpstreamFailure.TOO_MUCH_DATA})
    secrets = (TOKEN,)
    page_size = 5

    @pytest.fixture(autouse=True)
    def _platform(self, platform: SimulatorServer, held: UpstreamData) -> None:
        platform.reset()
        platform.set_now(NOW, frozen=True)
        self.platform, self.held = platform, held

    def make_source(self) -> MetaSource:
        """Return a source over the simulated platform."""
        return MetaSource(MetaCredentials(SecretStr(TOKEN)), SourceSettings(graph_url=self.platform.url))

    def make_source_with_time_limit(self) -> MetaSource:
        """Return a source whose calls may take half a second."""
        settings = SourceSettings(graph_url=self.platform.url, read_timeout=0.5, call_timeout=0.5)
        return MetaSource(MetaCredentials(SecretStr(TOKEN)), settings)

    def data(self) -> UpstreamData:
        """Return what the platform holds."""
        return self.held

    def count_requests(self) -> int:
        """Return the calls that the platform has counted."""
        return self.platform.calls()["total"]

    def wait(self) -> None:
        """Let the platform's clock run on while a report is made."""
        self.platform.state.advance(5)

    @contextmanager
    def replace_value(self, row: Row, field: str, value: Any) -> Iterator[None]:
        """Change the rows that the platform responds with."""
        state = self.platform.state
        answer = state.answer
        key = {name: row[name] for name in ("ad_id", "date_start")}

        def changed(call: Any) -> Any:
            content = answer(call)
            for item in content.get("data", ()):
                if all(item.get(name) == part for name, part in key.items()):
                    item[field] = str(value) if isinstance(value, float) else value
            return content

        state.answer = changed  # type: ignore[method-assign]
        try:
            yield
        finally:
            del state.answer

    @contextmanager
    def fail_upstream(self, failure: UpstreamFailure, account_id: str) -> Iterator[None]:
        """Set a fault profile."""
        if failure is UpstreamFailure.TOO_MUCH_DATA:
            profile = FaultProfile(size=SizeSetting(sync_rows=10))
        else:
            accounts = frozenset({account_id}) if failure is UpstreamFailure.DENIED else frozenset()
            profile = FaultProfile(fault=(FAULTS[failure].model_copy(update={"accounts": accounts}),))
        self.platform.state.set_fault_profile(profile)
        try:
            yield
        finally:
            self.platform.state.set_fault_profile(FaultProfile())
