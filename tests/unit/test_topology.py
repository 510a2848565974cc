"""What `make topology-test` makes of the compose file: the same services at other addresses."""

from pathlib import Path

import pytest

from tests.topology.compose_services import Service, load_services
from tests.topology.loopback import EXTRA, Places

SECRETS = ("POSTGRES_PASSWORD", "ADWARM_POSTGRES_PASSWORD", "REDIS_PASSWORD", "AIRFLOW__API_AUTH__JWT_SECRET")
ENV = "".join(f"{name}=s3cret\n" for name in (*SECRETS, "AIRFLOW__API__SECRET_KEY", "FERNET_KEY", "ADMIN_PASSWORD"))
SERVICES = load_services(ENV + "ADWARM_SOURCE__GRAPH_URL=http://simulator:8900\n", ["simulator"])
LISTENING = ("airflow-apiserver", "airflow-scheduler", "airflow-triggerer", "airflow-worker", "airflow-worker-warming")
PORTS = {name: 20_000 + number for number, name in enumerate(sorted({*SERVICES, *LISTENING}))}
IN_CONTAINERS = (
    "/opt/",
    "@postgres",
    "@redis",
    "//simulator",
    "//airflow-apiserver",
    ":8080",
    ":8974",
    "8950",
    "0.0.0.0",
)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Free ports and a folder."""
    return Places(tmp_path, PORTS, Path("/pg/bin"))


def _texts(service: Service) -> list[str]:
    return [*service.command, *service.health_command, *service.environment.values()]


def test_no_name_of_a_container_is_left(places: Places) -> None:
    """Commands, health checks and variables name loopback addresses and folders of this machine only."""
    for name in sorted(SERVICES):
        texts = _texts(places.place(SERVICES[name]))
        assert [text for text in texts if any(word in text for word in IN_CONTAINERS)] == [], name


def test_only_listed_variables_are_added(places: Places) -> None:
    """A service has the variables of the file and the image, and beyond them those of the list and its ports."""
    for name in sorted(SERVICES):
        service = SERVICES[name]
        added = set(places.place(service).environment) - set(service.environment)
        listed = {*EXTRA, *places.ports_of(name)} if service.is_ours else {"PGDATA", "PATH"}
        assert set(service.environment) <= set(places.place(service).environment), name
        assert added <= listed, name


def test_values_without_an_address_stay_as_they_are(places: Places) -> None:
    """A setting, a secret, the queue of a worker and the grace of a service are those of the file."""
    service, placed = SERVICES["airflow-worker-warming"], places.place(SERVICES["airflow-worker-warming"])
    same = ("AIRFLOW__CORE__EXECUTOR", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CELERY__WORKER_CONCURRENCY")

    assert {name: placed.environment[name] for name in same} == {name: service.environment[name] for name in same}
    assert placed.command == service.command
    assert placed.grace_seconds == service.grace_seconds == 120


def test_two_read_apis_get_two_ports_and_homes(places: Places) -> None:
    """The same port and folder in two containers are two here; the data folder is one."""
    first, second = (places.place(SERVICES[name]) for name in ("read-api", "read-api-2"))

    assert (first.command[-1], second.command[-1]) == (str(PORTS["read-api"]), str(PORTS["read-api-2"]))
    assert first.environment["ADWARM_HOME"] != second.environment["ADWARM_HOME"]
    assert first.environment["ADWARM_DATA_URL"] == second.environment["ADWARM_DATA_URL"]


def test_services_start_after_what_they_need() -> None:
    """Conditions, restart rules and limits come from the file."""
    worker, init = SERVICES["airflow-worker"], SERVICES["airflow-init"]

    assert worker.depends_on["airflow-init"] == "service_completed_successfully"
    assert worker.depends_on["airflow-apiserver"] == "service_healthy"
    assert (worker.restarts, init.restarts) == (True, False)
    assert SERVICES["redis"].memory_bytes == 512 << 20
