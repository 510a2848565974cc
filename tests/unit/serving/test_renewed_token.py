"""A token that is renewed where the settings are stored reaches processes that run: the drainer and the command."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adwarm.foundation.errors import Corrupt
from adwarm.foundation.gate import Rule
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.recovery import Call, Failure
from adwarm.runtime import Runtime, build_healers
from adwarm.serving.drainers import FetchMode, QueueDrainer
from adwarm.settings import HealerSettings
from adwarm.settings.recovery_sections import DEFAULT_HEALERS
from adwarm.store.gates import SqlGates
from adwarm.store.requests import RequestStatus
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer


@dataclass
class Vault:
    """The user's vault and the platform whose token it holds."""

    server: SimulatorServer
    token: str = "first"

    def settings(self) -> dict[str, object]:
        """Return what `ADWARM_SECRETS_HOOK` returns."""
        return {"source": {"access_token": self.token}}

    def renew(self, token: str) -> None:
        """Renew the token on both sides."""
        self.token = token
        self.server.state.renew_token(token)


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """An installation whose token comes from a vault."""
    with SimulatorServer(SimulatorConfig(ads=2, token="first")) as server:
        vault = Vault(server)
        module = ModuleType("vault_of_the_test")
        module.settings = vault.settings  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for name, value in {
            "SECRETS_HOOK": f"{module.__name__}:settings",
            "SOURCE__GRAPH_URL": server.url,
            "HOME": str(tmp_path / "home"),
            "RECOVERY__INITIAL_DELAY_SECONDS": "0",
        }.items():
            monkeypatch.setenv(f"ADWARM_{name}", value)
        yield vault


@dataclass
class Drain:
    """A drainer, and an event for every request that ended."""

    runtime: Runtime
    drainer: QueueDrainer
    ended: threading.Event

    def fetch(self, account: str) -> RequestStatus:
        """Request a report, and return how the request ended."""
        number = self.runtime.queue.enqueue(ReportKey(account, "yesterday"), Priority.NORMAL).id
        self.drainer.wake()
        while True:
            self.ended.clear()
            request = self.runtime.queue.find(number)
            assert request is not None
            if request.status in {RequestStatus.COMPLETED, RequestStatus.FAILED}:
                return request.status
            assert self.ended.wait(60)


@pytest.fixture
def drain(vault: Vault) -> Iterator[Drain]:
    """A running drainer of the read API."""
    runtime, ended = Runtime(), threading.Event()
    drainer = QueueDrainer(FetchMode("drains", "here"), runtime.queue, lambda: runtime.queue_worker(1), threads=1)
    drainer.start(ended.set)
    yield Drain(runtime, drainer, ended)
    drainer.stop(30)


def _token_refreshes(runtime: Runtime) -> list[Any]:
    cooldowns = SqlGates(runtime.engine).list_gates(0.0, Rule.COOLDOWN)
    return [gate for gate in cooldowns if gate.scope.startswith("healing:token_refresh")]


def test_a_running_drainer_takes_over_a_renewed_token(vault: Vault, drain: Drain) -> None:
    """The drainer of the read API fetches with the token that the secrets hook returns now, without a restart."""
    assert drain.fetch("act_1") is RequestStatus.COMPLETED
    vault.renew("second")
    assert drain.fetch("act_2") is RequestStatus.COMPLETED
    codes = [call.code for call in vault.server.state.calls.entries()[0]]
    assert codes.count(190) == 1


def test_the_action_is_recorded_for_all_workers(vault: Vault, drain: Drain) -> None:
    """The name of the cool-down is that of the connection; its detail says what happened."""
    vault.renew("second")
    assert drain.fetch("act_1") is RequestStatus.COMPLETED
    (row,) = _token_refreshes(drain.runtime)
    assert (row.scope, row.data["succeeded"]) == ("healing:token_refresh:default", True)
    assert "second" not in row.why


def test_a_run_of_a_command_takes_it_over(vault: Vault) -> None:
    """The engine of `adwarm warm` fetches with the renewed token, with a connection of its own too."""
    runtime = Runtime()
    vault.renew("second")
    result = runtime.prefetch_engine().run([KeyRequest(ReportKey("act_1", "yesterday"))], Priority.LOW)
    assert [str(outcome.status) for outcome in result.outcomes] == ["fetched"]


def test_without_healers_a_batch_still_reads_the_connection_again(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `ADWARM_RECOVERY__HEAL=false` no healer runs; the end of the batch takes over what was renewed."""
    monkeypatch.setenv("ADWARM_RECOVERY__HEAL", "false")
    runtime = Runtime()
    vault.renew("second")
    result = runtime.prefetch_engine().run([KeyRequest(ReportKey("act_1", "yesterday"))], Priority.LOW)
    assert [str(outcome.status) for outcome in result.outcomes] == ["fetched"]
    assert _token_refreshes(runtime) == []


def test_healers_come_from_the_settings(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry becomes the healer of its action, in order, with its cool-down."""
    monkeypatch.setenv(
        "ADWARM_RECOVERY__HEALERS",
        '[{"action": "cache_clear", "scope": "account", "cooldown_seconds": 5},'
        ' {"action": "custom", "call": "package.module:function", "errors": ["TokenDead"]}]',
    )
    runtime = Runtime()
    made = [(item.action, item.cooldown_seconds) for item in build_healers(runtime.settings.recovery.healers, runtime)]
    assert made == [("cache_clear", 5.0), ("custom", 60.0)]
    defaults = [item.action for item in build_healers(DEFAULT_HEALERS, runtime)]
    assert defaults == ["token_refresh", "session_restart", "partition_refetch", "cache_clear"]


def test_the_caches_of_a_process_are_known_to_its_healer(vault: Vault) -> None:
    """The reader of a runtime is cleared by its `cache_clear`."""
    runtime = Runtime()
    reader = runtime.reader
    (healer,) = build_healers([HealerSettings(action="cache_clear")], runtime)
    assert healer.heal(Failure(Call("store"), Corrupt())) == "cleared all in 1 caches of one process"
    assert reader is runtime.reader
