"""The control routes over HTTP."""

from datetime import UTC, datetime
from typing import Any

from graph_simulator.config import SimulatorConfig
from graph_simulator.http_app import PlatformApp
from tests.support.asgi_client import AsgiClient

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TOKEN = {"access_token": "simulated-token"}


def client(**changes: Any) -> AsgiClient:
    """A client on this machine."""
    app = PlatformApp(SimulatorConfig(now=NOW, ads=4, **changes))
    return AsgiClient(app, "http://127.0.0.1:8900", client=("127.0.0.1", 50_000))


def test_faults_can_be_set_and_read() -> None:
    """Faults set over the control route hit the next call; invalid ones are rejected with their location."""
    http = client()
    assert http.get("/control/faults").json()["fault"] == []
    assert http.post("/control/faults", json={"fault": [{"kind": "transient_1"}]}).status_code == 200
    assert http.get("/v26.0/act_1", params=TOKEN).status_code == 500
    wrong = http.post("/control/faults", json={"fault": [{"kind": "hail"}]})
    assert (wrong.status_code, "fault.0.kind" in wrong.json()["detail"]) == (400, True)
    http.post("/control/reset")
    assert http.get("/v26.0/act_1", params=TOKEN).status_code == 200


def test_the_log_continues_after_a_position() -> None:
    """Reading on from `next_after` returns each call once."""
    http = client()
    http.get("/v26.0/act_1", params=TOKEN)
    first = http.get("/control/log").json()
    http.get("/v26.0/act_2/insights", params=TOKEN)
    second = http.get("/control/log", params={"after": first["next_after"]}).json()
    assert [entry["account"] for entry in first["entries"] + second["entries"]] == ["act_1", "act_2"]
    assert second["entries"][0]["in_flight"] == 1
    assert "simulated-token" not in str(first)


def test_reports_are_listed_and_time_can_be_advanced() -> None:
    """Advancing the clock completes a report at once."""
    http = client()
    http.post("/control/clock", json={"now": NOW.isoformat(), "frozen": True})
    run_id = http.post("/v26.0/act_1/insights", data=TOKEN).json()["report_run_id"]
    assert [report["status"] for report in http.get("/control/reports").json()] == ["Job Not Started"]
    http.post("/control/clock", json={"advance_seconds": 3600})
    assert http.get(f"/v26.0/{run_id}", params=TOKEN).json()["async_status"] == "Job Completed"
    assert http.post("/control/clock", json={}).status_code == 422


def test_the_planted_truth_can_be_read() -> None:
    """The planted truth of an account's ads can be read."""
    result = client(decoys=1.0).get("/control/truth", params={"account": "act_1", "day": "2026-11-01"})
    assert {truth["kind"] for truth in result.json()} <= {
        "fatigued",
        "low_volume",
        "weekend_dip",
        "budget_cut",
        "price_shock",
    }
    assert client().get("/control/truth", params={"account": "x", "day": "2026-11-01"}).status_code == 400
