"""What an operator and a reader see when a field is removed, a version is retired, or a token ends."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.server import SimulatorServer
from tests.support.wall_clock import WallClock

from .conftest import Adwarm


def find_check(adwarm: Adwarm, name: str) -> Any:
    """Return one check of the doctor."""
    (check,) = adwarm("doctor", "--only", name, "--json").json
    return check


@pytest.fixture
def changing_platform(platform: SimulatorServer) -> Any:
    """Returns a function that sets the faults of the platform, which has none at the end."""
    yield lambda **values: platform.state.set_fault_profile(parse_fault_profile(values, "test"))
    platform.reset()


@pytest.mark.slow
def test_a_removed_field(adwarm: Adwarm, changing_platform: Any, wall_clock: WallClock) -> None:
    """The report, the doctor and one alert name it, with what it costs; a week later it is back by itself."""
    refusal = "impressions is not valid for fields param. please check the reference for all valid values"
    changing_platform(poison=[{"field": "impressions", "refusal": refusal}])
    for account in ("act_1", "act_2"):
        assert adwarm("warm", account, "--range", "last_7d").exit_code == 0
    header = adwarm("get", "act_1", "last_7d", "--json").json
    missing = "field impressions: refused by the platform (ads are not scored without it): Meta: (#100)"
    assert header["missing"].startswith(missing)
    assert not header["complete"]
    assert "spend" in header["daily"]["columns"]
    check = find_check(adwarm, "fields")
    assert check["warning"]
    assert "impressions by v26.0 for act_1, act_2, tried again on 2026-12-02" in check["detail"]
    (alert,) = adwarm("errors", "--alerts", "--json").json
    assert alert["kind"] == "FieldRefused"
    assert "act_1 is read without it" in alert["reason"]
    assert "ADWARM_REPORTS" in alert["next_step"]
    opened = adwarm("gate", "open", "account:act_2", "--json").json[0]
    assert "is read without impressions" in opened["detail"]
    assert not find_check(adwarm, "fields")["warning"]
    assert adwarm("warm", "act_1", "--range", "yesterday").exit_code == 0
    changing_platform()
    wall_clock.set(wall_clock.now() + timedelta(days=7))
    assert adwarm("warm", "act_1", "--range", "last_7d").exit_code == 0
    assert adwarm("get", "act_1", "last_7d", "--json").json["missing"] is None
    assert not find_check(adwarm, "fields")["warning"]


@pytest.mark.slow
def test_a_breakdown_that_was_never_switched_on(
    adwarm: Adwarm, changing_platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer, the doctor and one alert name the days of an empty report; without plain rows they are counted."""
    monkeypatch.setenv("ADWARM_REPORTS__DEVICES__BREAKDOWNS", '["impression_device"]')
    changing_platform(false_sum=[{"breakdown": "impression_device", "factor": 0}])
    assert adwarm("warm", "act_1", "--range", "last_3d").exit_code == 0
    for days in ("last_3d", "last_7d"):
        assert adwarm("warm", "act_1", "--range", days, "--report", "devices").exit_code == 0
    header = adwarm("get", "act_1", "last_3d", "--report", "devices", "--json").json
    assert header["missing"].startswith(
        "groups of 3 days from 2026-11-22 to 2026-11-24, on the first of them: 0 of the "
    )
    assert (header["complete"], header["settled"], header["daily"]["rows"]) == (False, False, 0)
    assert (header["query"]["attribution"], header["query"]["attribution_windows"]) == ("unified", [])
    check = find_check(adwarm, "groups")
    assert check["warning"]
    assert f"act_1 devices: {header['missing']}; enable the breakdown in Ads Manager" in check["detail"]
    assert "4 days of the report devices are not compared: no report without breakdowns has them" in check["detail"]
    (alert,) = adwarm("errors", "--alerts", "--json").json
    assert alert["kind"] == "Reconciliation"
    assert "the rows without breakdowns sum to" in alert["reason"]
    assert adwarm("status", "--json").json["maintenance"]["differences"][0]["comparison"] == "days"


def watch(adwarm: Adwarm) -> list[tuple[str, str]]:
    """Run the step that reads what ends, and return the kind and reason of every alert so far."""
    assert adwarm("maintain", "--step", "watch_platform").exit_code == 0
    return [(alert["kind"], alert["reason"]) for alert in adwarm("errors", "--alerts", "--json").json]


@pytest.mark.slow
def test_a_retired_version(adwarm: Adwarm, changing_platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade by the platform is in report, doctor and one alert; a newer version is a setting and a call."""
    monkeypatch.setenv("ADWARM_SOURCE__API_VERSION", "v25.0")
    changing_platform(version={"retired": ["v25.0"], "upgrades": True})
    assert adwarm("warm", "act_1", "--range", "yesterday").exit_code == 0
    assert adwarm("get", "act_1", "yesterday", "--meta").json["api_version"] == "v26.0"
    upgraded = (
        "connection default: the platform upgrades calls by version v25.0 of the API by itself, to v26.0; the plat"
    )
    for _ in range(2):
        ((kind, reason),) = watch(adwarm)
        assert (kind, reason.startswith(upgraded)) == ("ApiVersion", True)
    check = find_check(adwarm, "platform")
    assert check["warning"]
    assert check["detail"].startswith(
        "default: version v25.0 of the API ends on 2027-02-23, in 90 days; the platform up"
    )
    changing_platform(version={"retired": ["v25.0"]})
    refused = find_check(adwarm, "connection default")
    assert (refused["ok"], "2635" in refused["detail"]) == (False, True)
    assert adwarm("warm", "act_2", "--range", "yesterday").exit_code == 1
    alert = watch(adwarm)[0]
    assert (alert[0], "set a newer api_version" in alert[1]) == ("VersionEnded", True)
    assert "no end of version" not in find_check(adwarm, "platform")["detail"]
    monkeypatch.setenv("ADWARM_SOURCE__API_VERSION", "v27.0")
    assert find_check(adwarm, "connection default")["ok"]
    watch(adwarm)
    check = find_check(adwarm, "platform")
    lives = "default: no end of version v27.0 of the API is known; the access token never ends"
    assert (check["detail"], check["warning"]) == (lives, False)
    assert "9 calls in 15 days, 11.1% with an error" in find_check(adwarm, "access tier")["detail"]


@pytest.mark.slow
def test_a_refused_version_is_a_gate_by_the_real_clock(
    adwarm: Adwarm, platform: SimulatorServer, changing_platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first refusal closes it: no process calls, all list it; a person, a day or a newer version opens it."""
    scope = "version:v25.0 connection:default"
    monkeypatch.setenv("ADWARM_SOURCE__API_VERSION", "v25.0")
    changing_platform(version={"retired": ["v25.0"]})

    def count_calls(*arguments: str) -> int:
        before = platform.calls()["total"]
        assert adwarm(*arguments).exit_code == 1
        return int(platform.calls()["total"]) - before

    assert count_calls("warm", "act_1", "--range", "yesterday") == 1
    assert count_calls("warm", "act_1", "--range", "yesterday") == 0
    assert count_calls("warm", "act_2", "act_3", "--range", "last_7d") == 0
    assert count_calls("accounts", "discover") == 0
    before = platform.calls()["total"]
    adwarm("maintain", "--step", "watch_platform")
    assert platform.calls()["total"] == before

    (gate,) = adwarm("gate", "list", "--json").json["gates"]
    assert (gate["scope"], gate["rule"], gate["opened_by"], gate["account"]) == (scope, "version", "version", None)
    assert "(#2635)" in gate["why"]
    assert adwarm("status", "--json").json["gates"] == [gate]
    assert scope in find_check(adwarm, "quota")["detail"]

    opened = adwarm("gate", "open", "connection:default").stdout
    assert opened.startswith(f"ended: {scope} is no longer taken by the platform")
    assert "(a newer version of the API has to be set: fix that first" in opened
    assert adwarm("gate", "list", "--json").json["gates"] == []
    assert count_calls("warm", "act_2", "--range", "yesterday") == 1
    assert [gate["scope"] for gate in adwarm("gate", "list", "--json").json["gates"]] == [scope]

    monkeypatch.setenv("ADWARM_SOURCE__API_VERSION", "v27.0")
    assert adwarm("warm", "act_2", "--range", "yesterday").exit_code == 0
    assert adwarm("gate", "list", "--json").json["gates"] == []


@pytest.mark.slow
def test_a_token_that_ends(
    adwarm: Adwarm, wall_clock: WallClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six days before, the doctor and one alert say so, another alert a day before; a longer one goes to a file."""
    end = wall_clock.now() + timedelta(days=6)
    ends = parse_fault_profile({"token": {"expires_at": end.isoformat()}}, "test")
    config = SimulatorConfig(accounts=("act_1",), ads=2, app_secret="app-secret", fault_profile=ends)
    with SimulatorServer(config) as server:
        monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", server.url)
        assert "app_id and app_secret" in adwarm("accounts", "token").stderr
        monkeypatch.setenv("ADWARM_SOURCE__APP_ID", "77")
        monkeypatch.setenv("ADWARM_SOURCE__APP_SECRET", "app-secret")
        for _ in range(2):
            assert watch(adwarm) == [
                ("TokenExpires", "connection default: the access token ends on 2026-12-01, in 6 days")
            ]
        check = find_check(adwarm, "platform")
        assert check["warning"]
        assert check["detail"].endswith("the access token ends on 2026-12-01, in 6 days")
        wall_clock.set(end - timedelta(hours=20))
        assert "in 1 day" in watch(adwarm)[0][1]
        assert len(watch(adwarm)) == 2
        refused = adwarm("accounts", "token", "--extend", str(tmp_path / "absent/token"))
        assert (refused.exit_code, "cannot be made" in refused.stderr) == (1, True)
        assert not [name for name in server.calls()["paths"] if "oauth" in name]  # no token was given and lost
        path = tmp_path / "token"
        done = adwarm("accounts", "token", "--extend", str(path), "--json")
        assert (path.read_text(), path.stat().st_mode & 0o777) == ("simulated-token-extended", 0o600)
        assert "simulated-token" not in done.stdout + done.stderr
        assert done.json["expires_at"] > done.json["ended_at"]
        monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", path.read_text())
        watch(adwarm)
        assert not find_check(adwarm, "platform")["warning"]
        assert "name a new file" in adwarm("accounts", "token", "--extend", str(path)).stderr
