"""The container topology: valid Compose, with safe settings. The tests need no container engine."""

import json
import re
import stat
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from adwarm.cli.airflow import ALLOCATOR
from adwarm.settings import SqlSettings
from dev.environment import local_environment
from tests.support.compose_rules import interpolate
from tests.topology.compose_services import read_image_copies

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = sorted(name for name, service in SERVICES.items() if "build" in service)
SERVES = ["read-api", "read-api-2"]
WORKERS = {"airflow-worker-warming": "warming", "airflow-worker": "default"}
AIRFLOW = [name for name in OWN if name not in {"simulator", *SERVES}]
DEVELOPMENT: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.dev.yaml").read_text())["services"]
CODE = {"/opt/airflow/dags", "/opt/airflow/plugins", "/opt/airflow/include", "/opt/airflow/config"}
REQUIRED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):\?")
SUBSTITUTED = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|FERNET|TOKEN|AUTH$|_CONN$|BROKER_URL|RESULT_BACKEND|DATABASE_URL")


def _violations(document: Any) -> list[str]:
    vendored = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json")
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def _env_example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = (re.fullmatch(r"(?:# )?([A-Za-z_][A-Za-z0-9_]*)=(.*)", line) for line in lines)
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_the_file_obeys_the_compose_specification() -> None:
    """The published schema of the Compose Specification accepts the file as it stands."""
    assert _violations(COMPOSE) == []


def test_the_schema_check_can_fail() -> None:
    """A misspelled attribute is reported."""
    broken = {**COMPOSE, "services": {"redis": {"image": "redis", "helthcheck": {}}}}

    assert _violations(broken)


def test_every_service_of_the_airflow_topology_is_there() -> None:
    """The services of Airflow's own file are present; the others start only with their profile."""
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}

    assert profiles == {
        "postgres": None,
        "redis": None,
        "airflow-init": None,
        "airflow-apiserver": None,
        "airflow-scheduler": None,
        "airflow-dag-processor": None,
        "airflow-worker-warming": None,
        "airflow-worker": None,
        "airflow-triggerer": None,
        "read-api": None,
        "read-api-2": None,
        "airflow-cli": ["debug"],
        "flower": ["flower"],
        "simulator": ["simulator"],
        "otel-collector": ["observability"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }


def test_the_code_is_in_the_image() -> None:
    """Each service of our image names include/ and plugins/ on PYTHONPATH, and mounts no code over the image's."""
    for name in OWN:
        service = SERVICES[name]
        targets = {interpolate(volume, {}).split(":")[1] for volume in service.get("volumes", [])}
        assert service["environment"]["PYTHONPATH"] == "/opt/airflow/include:/opt/airflow/plugins", name
        assert targets & CODE == set(), name


def test_the_image_holds_every_file_of_the_code() -> None:
    """The last stage copies the DAGs, both folders of PYTHONPATH, and the script of `airflow-init`."""
    copies = read_image_copies()

    assert {"/opt/airflow/dags", "/opt/airflow/plugins", "/opt/airflow/include"} <= set(copies.values())
    assert SERVICES["airflow-init"]["command"][-1] in copies.values()
    assert all((ROOT / source).exists() for source in copies)


def test_the_development_file_mounts_the_code_everywhere() -> None:
    """It is valid Compose, changes nothing but mounts, and covers each service of our image."""
    mounts = {name: {volume.split(":")[1] for volume in service["volumes"]} for name, service in DEVELOPMENT.items()}

    assert _violations({"services": DEVELOPMENT}) == []
    assert mounts == dict.fromkeys(OWN, CODE)
    assert {field for service in DEVELOPMENT.values() for field in service} == {"volumes"}


def test_every_service_is_bounded() -> None:
    """Each service has limits of CPU, at most that of a machine with two, and memory."""
    for name in sorted(SERVICES):
        limits = SERVICES[name]["deploy"]["resources"]["limits"]
        assert float(interpolate(str(limits["cpus"]), {})) <= 2, name
        assert re.fullmatch(r"\d+[mg]", interpolate(limits["memory"], {})), name


def test_every_image_is_pinned() -> None:
    """Images of others, those of the Dockerfile too, name a whole release: three numbers, or two for PostgreSQL."""
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    images = [*bases, *(service["image"] for name, service in SERVICES.items() if name not in OWN)]

    assert len(images) == 7
    assert [image for image in images if not re.search(r":v?(16\.\d+|\d+\.\d+\.\d+)(-[a-z-]+)?$", image)] == []


def test_each_worker_has_a_queue_and_a_name() -> None:
    """The warming worker takes the queue that the DAGs send batches to; each is pinged under its own name."""
    for name in sorted(WORKERS):
        service = SERVICES[name]
        command = [interpolate(word, {}) for word in service["command"]]
        queue = interpolate(service["environment"]["ADWARM_WARMING_QUEUE"], {})
        assert queue == "warming", name
        assert (f"--queues={queue}" in command) == (name == "airflow-worker-warming"), name
        assert f"--celery-hostname={WORKERS[name]}@%h" in command, name
        assert service["healthcheck"]["test"][-1].endswith(f'"{WORKERS[name]}@$${{HOSTNAME}}"'), name


def test_airflow_services_share_folders_and_settings() -> None:
    """Each Airflow service has the three mounts, the examples off, and the settings that keep warms punctual."""
    for name in AIRFLOW:
        service = SERVICES[name]
        targets = {interpolate(volume, {}).split(":")[1].rsplit("/", 1)[-1] for volume in service["volumes"]}
        environment = service["environment"]
        assert targets == {"access-log", "logs", "data"}, name
        assert environment["AIRFLOW__CORE__LOAD_EXAMPLES"] == "false", name
        assert environment["AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER"] == "1", name
        assert int(environment["AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE"]) > 20, name
        assert environment["ADWARM_DATABASE_URL"].endswith("@postgres/adwarm}")


def test_free_memory_goes_back_to_the_system() -> None:
    """Services, image, `make demo` and a local Airflow start with the allocator settings of the package."""
    for name in (*AIRFLOW, *SERVES):
        image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert ALLOCATOR.items() <= SERVICES[name]["environment"].items(), name
        assert ALLOCATOR.items() <= local_environment(ROOT, "http://127.0.0.1:9", "log").items(), name
        assert all(f" {variable}={value}" in image for variable, value in ALLOCATOR.items()), name
        assert all(f"demo: export {variable} := {value}\n" in makefile for variable, value in ALLOCATOR.items()), name


def test_every_service_has_a_health_check() -> None:
    """Each service has a health check with an interval."""
    for name in sorted(SERVICES):
        check = SERVICES[name]["healthcheck"]
        assert {"test", "interval", "timeout", "retries"} <= set(check), name
        assert not check.get("disable", False), name


def test_no_service_runs_as_root() -> None:
    """Each service runs as a user other than root, drops every capability and cannot gain new ones."""
    for name in sorted(SERVICES):
        service = SERVICES[name]
        user = service["user"].replace("${AIRFLOW_UID:-50000}", "50000").split(":")[0]
        assert user not in {"", "0", "root"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged", False), name


def test_no_port_is_open_to_the_network_by_default() -> None:
    """Published ports listen on loopback unless `.env` says otherwise."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert all(":-127.0.0.1:" in port for port in ports)


def test_secrets_come_from_the_environment_only() -> None:
    """Every setting named like a secret requires a variable, and no secret has a default."""
    secrets = {
        f"{name}.{key}": str(value)
        for name, service in SERVICES.items()
        for key, value in service.get("environment", {}).items()
        if value not in {None, ""} and SECRET_NAME.search(key)
    }
    defaults = re.findall(r"\$\{([A-Za-z_]*(?:PASSWORD|SECRET|FERNET)[A-Za-z_]*):?-", TEXT)

    assert len(secrets) > len(AIRFLOW)
    assert [name for name, value in secrets.items() if not REQUIRED.search(value)] == []
    assert defaults == []


def test_urls_carry_no_literal_password() -> None:
    """The password in a URL is a substitution and nothing else."""
    passwords = re.findall(r"://[^:/@\s]*:(.+?)@", TEXT)

    assert passwords
    assert all(re.fullmatch(r"\$\{\w+:\?[^}]*\}", password) for password in passwords)


def test_the_example_names_every_variable() -> None:
    """`.env.example` holds each variable of the file; the required ones are empty and not commented out."""
    example = _env_example()
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    required = set(REQUIRED.findall(TEXT))

    assert set(SUBSTITUTED.findall(TEXT)) - set(example) == set()
    assert {name for name in required if f"\n{name}=\n" not in text} == set()


def test_each_read_api_has_its_own_home_and_serves_the_dashboard() -> None:
    """It is asked for its health without a token, and finds the dashboard where `.env.example` says."""
    for name in SERVES:
        service = SERVICES[name]
        folder = Path(_env_example()["ADWARM_SERVING__DASHBOARD"])
        mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
        assert mounts[f"{name}-home"] == "/opt/airflow/read-api", name
        assert "/healthz" in service["healthcheck"]["test"][-1], name
        assert mounts["./examples/dashboard"] == str(folder.parent), name
        assert folder.name == "dist", name
        assert service["restart"] == "unless-stopped", name
        assert service["depends_on"]["airflow-init"]["condition"] == "service_completed_successfully", name


def test_the_broker_survives_a_restart() -> None:
    """Redis writes its append-only file to a volume."""
    redis = SERVICES["redis"]

    assert "--appendonly yes" in " ".join(redis["command"])
    assert "redis-data:/data" in redis["volumes"]


def test_adwarms_connections_fit_the_server() -> None:
    """All processes with full connection pools use at most half of the connections of the file's server."""
    limit = re.search(r"max_connections=(\d+)", " ".join(SERVICES["postgres"]["command"]))
    workers = [SERVICES[name]["environment"]["AIRFLOW__CELERY__WORKER_CONCURRENCY"] for name in WORKERS]
    tasks = sum(int(interpolate(text, {})) for text in workers)
    others = ["airflow-triggerer", "airflow-apiserver", "airflow-cli", *SERVES]

    assert set(others) <= set(SERVICES)
    assert limit
    assert (tasks + len(others)) * SqlSettings().pool_size <= int(limit[1]) / 2


def test_both_databases_are_prepared_before_airflow_starts() -> None:
    """PostgreSQL creates adwarm's database at its first start; init upgrades both schemas before the rest starts."""
    script = ROOT / "config/postgres/10-adwarm-database.sh"
    init = (ROOT / "config/init.sh").read_text(encoding="utf-8")
    waiting = [name for name in AIRFLOW if name not in {"airflow-init", "airflow-cli"}]

    assert "CREATE DATABASE adwarm" in script.read_text(encoding="utf-8")
    assert script.stat().st_mode & stat.S_IXOTH
    assert "airflow db migrate\nadwarm db upgrade\n" in init
    assert {SERVICES[name]["depends_on"]["airflow-init"]["condition"] for name in waiting} == {
        "service_completed_successfully"
    }


def test_the_image_installs_the_lock_and_leaves_root() -> None:
    """The Dockerfile requires hashes, ends as user 50000, and copies only what .dockerignore lets through."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in dockerfile.splitlines()
        if line.startswith("COPY") and "--from" not in line
        for source in [word for word in line.split()[1:-1] if not word.startswith("--")]
    }

    assert "--require-hashes -r requirements/bootstrap.txt" in dockerfile
    assert "--require-hashes requirements.txt" in dockerfile
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE)[-1] == "50000:0"
    assert copied <= allowed
