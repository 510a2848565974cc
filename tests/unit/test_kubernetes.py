"""The files of deploy/kubernetes: well-formed, as the compose file, and without a secret. No cluster is needed."""

from pathlib import Path
from typing import Any

import yaml

from adwarm.cli.airflow import ALLOCATOR
from adwarm.settings import NAMES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text())
MANIFESTS: list[dict[str, Any]] = [
    document
    for name in ("pod-template.yaml", "migrate.yaml", "read-api.yaml")
    for document in yaml.safe_load_all((FOLDER / name).read_text())
]
PODS = {
    document["metadata"]["name"]: document if document["kind"] == "Pod" else document["spec"]["template"]
    for document in MANIFESTS
    if document["kind"] in {"Pod", "Job", "Deployment"}
}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]


def _variables(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in pod["spec"]["containers"][0]["env"]}


def _find(kind: str) -> dict[str, Any]:
    return next(document for document in MANIFESTS if document["kind"] == kind)


def test_no_pod_runs_as_root_or_without_a_limit() -> None:
    """Each pod has a user, drops every capability, and has a limit of memory."""
    for name in sorted(PODS):
        spec = PODS[name]["spec"]
        container = spec["containers"][0]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, (
            name
        )
        assert container["resources"]["requests"], name
        assert container["resources"]["limits"]["memory"], name


def test_variables_are_settings_and_secrets_are_references() -> None:
    """Each ADWARM_ variable exists, and what holds a password comes from a Secret."""
    for name in sorted(PODS):
        variables = _variables(PODS[name])
        ours = {variable for variable in variables if variable.startswith("ADWARM_")}
        assert ours <= set(NAMES), name
        assert "secretKeyRef" in variables["ADWARM_DATABASE_URL"]["valueFrom"], name
        assert all("value" in item or "secretKeyRef" in item["valueFrom"] for item in variables.values()), name


def test_pods_that_work_return_free_memory() -> None:
    """Tasks, the read API and all components of the chart have the allocator's variables."""
    for name in ["adwarm-task", "adwarm-read-api"]:
        for variables in (_variables(PODS[name]).values(), VALUES["env"]):
            assert ALLOCATOR.items() <= {item["name"]: item.get("value") for item in variables}.items()


def test_the_values_name_existing_settings_and_no_secret() -> None:
    """Variables are settings or Airflow's, and both databases, the broker and all keys are names of Secrets."""
    plain = [item["name"] for item in VALUES["env"]]
    secret = [item["envName"] for item in VALUES["secret"]]

    assert {name for name in (*plain, *secret) if name.startswith("ADWARM_")} <= set(NAMES)
    assert {"ADWARM_DATABASE_URL", "AIRFLOW_CONN_FACEBOOK_DEFAULT"} == set(secret)
    assert all(name.endswith("SecretName") for name in VALUES["data"])
    assert {"fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName"} <= set(VALUES)


def test_the_chart_has_a_worker_for_each_queue() -> None:
    """The set `warming` takes the queue that the DAGs send batches to; the default workers stay."""
    celery = VALUES["workers"]["celery"]
    [queue] = [item["value"] for item in VALUES["env"] if item["name"] == "ADWARM_WARMING_QUEUE"]

    assert [item["queue"] for item in celery["sets"]] == [queue]
    assert celery["enableDefault"]
    assert celery["queue"] == "default"
    assert celery["terminationGracePeriodSeconds"] == 120


def test_the_read_api_is_found_scaled_and_kept_available() -> None:
    """Service, autoscaler and disruption budget select the deployment, which is asked as the compose file asks."""
    deployment, labels = _find("Deployment"), _find("Deployment")["spec"]["template"]["metadata"]["labels"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    service = COMPOSE["read-api"]

    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert _find("Service")["spec"]["selector"] == labels
    assert _find("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert _find("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert _find("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 2
    assert container["command"] == service["command"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert f"{PODS['adwarm-read-api']['spec']['terminationGracePeriodSeconds']}s" == service["stop_grace_period"]


def test_every_pod_has_the_same_image() -> None:
    """One image for the chart and the manifests."""
    images = {pod["spec"]["containers"][0]["image"] for pod in PODS.values()}

    assert images == {f"{VALUES['images']['airflow']['repository']}:{VALUES['images']['airflow']['tag']}"}
