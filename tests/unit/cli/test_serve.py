"""`adwarm serve` as a process: it says where it listens, answers, and ends cleanly on SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from adwarm.cli import main
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store.alerts import Channels, NewAlert, open_event
from graph_simulator import server
from graph_simulator.config import SimulatorConfig
from tests.support.alert_sink import run_sink

from .conftest import Adwarm

ROOT = Path(__file__).resolve().parents[3]
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
ALERT = NewAlert(at=AT, kind="OverlongPark", scope="meta", reason="asked for years", next_step="Look.")


@pytest.mark.slow
def test_it_serves_until_it_is_terminated(adwarm: Adwarm, tmp_path: Path) -> None:
    """The first line of --json has the URL; reports need a token; a notice that was left is sent before the end."""
    environment = {**os.environ, "ADWARM_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "include")}
    runtime = Runtime(Settings(home=tmp_path))
    open_event(runtime.engine, lambda _: ALERT, Channels(queued=("hook",)))
    with run_sink() as sink:
        channels = [{"type": "apprise", "name": "hook", "url": sink.url}]
        _serve_until_terminated({**environment, "ADWARM_ALERTS__CHANNELS": json.dumps(channels)})
    assert sink.titles == ["adwarm: OverlongPark of meta"]


def _serve_until_terminated(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "adwarm", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = b""
        while not lines.endswith(b"}\n"):
            lines += process.stdout.readline()
        url = orjson.loads(lines)["url"]
        with urllib.request.urlopen(f"{url}/healthz", timeout=20) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/v1/insights/act_1/yesterday", timeout=20)
        assert refused.value.code == 401
        refused.value.close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert process.stderr.read() == b""
    assert process.returncode in {0, -signal.SIGTERM}


def test_an_address_that_cannot_be_used_is_an_error(adwarm: Adwarm) -> None:
    """The message names the address and what to change."""
    result = adwarm("serve", "--host", "203.0.113.1", "--port", "1", "--json")
    assert result.exit_code == 1
    assert "--host" in result.json["error"]


def simulate(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[list[SimulatorConfig], object]:
    """Run the command without serving; return the configurations it would serve, and its exit code."""
    served: list[SimulatorConfig] = []
    monkeypatch.setattr(server, "run_forever", lambda config, host, port: served.append(config))
    monkeypatch.setattr(sys, "argv", ["adwarm", "simulate", *words])
    try:
        main()
    except SystemExit as stop:
        return served, stop.code
    return served, 0


def test_the_command_of_the_docs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Accounts, ads, seed, faults, scale and time are passed on; the address and the token are printed."""
    storm = tmp_path / "storm.toml"
    text = (ROOT / "examples/storm.toml").read_text(encoding="utf-8")
    storm.write_text(text.replace("[platform]", "[platform]\ndecoys = 0.4"), encoding="utf-8")
    words = ["--accounts", "200", "--ads", "50", "--seed", "7", "--faults", str(storm)]
    served, code = simulate(monkeypatch, *words, "--at", "2026-11-25T12:00:00Z")
    config = served[0]
    assert code in {0, None}
    assert (config.accounts, config.ads, config.seed, config.time_scale, config.decoys) == (200, 50, 7, 120, 0.4)
    assert config.now == datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    assert config.fault_profile.quota is not None
    assert "ADWARM_SOURCE__ACCESS_TOKEN=simulated-token" in capfd.readouterr().out


def test_an_invalid_faults_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The error on an invalid faults file names the field, and nothing is served."""
    storm = tmp_path / "storm.toml"
    storm.write_text('[[fault]]\nkind = "hail"\n', encoding="utf-8")
    served, code = simulate(monkeypatch, "--faults", str(storm))
    assert (served, code in {0, None}) == ([], False)
    assert "fault.0.kind" in capfd.readouterr().err.replace("\n", "")
