"""Settings in `.env` reach the containers that need them, and secrets reach no others."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from adwarm.settings import NAMES, load_settings
from tests.support.compose_rules import MissingVariable, interpolate, parse_env_file, service_environment

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
AIRFLOW = sorted(name for name, service in SERVICES.items() if name.startswith("airflow") or name == "flower")
EXAMPLE = (ROOT / ".env.example").read_text()
SECRETS = {
    "POSTGRES_PASSWORD": "s1",
    "ADWARM_POSTGRES_PASSWORD": "s2",
    "REDIS_PASSWORD": "s3",
    "AIRFLOW__API_AUTH__JWT_SECRET": "s4",
    "AIRFLOW__API__SECRET_KEY": "s5",
    "FERNET_KEY": "s6",
    "ADMIN_PASSWORD": "s7",
}
FILLED = "".join(f"{name}={value}\n" for name, value in SECRETS.items())
ENTRIES = ("ADWARM_CONNECTIONS__EU__ACCESS_TOKEN", "ADWARM_REPORTS__CAMP__LEVEL", "ADWARM_CONFIG")
SETTINGS = sorted({*NAMES, *ENTRIES})


def _environment(name: str, text: str = FILLED, **shell: str) -> dict[str, str]:
    return service_environment(SERVICES[name], {".env": text}, shell)


def test_every_documented_setting_reaches_the_container() -> None:
    """Each setting has the value of `.env` in each service of the product, also one with JSON, quotes and dollars."""
    for name in (*AIRFLOW, "read-api", "read-api-2"):
        values = {setting: f'{number} {{"a": "$X # ${{Y}}"}}' for number, setting in enumerate(SETTINGS)}
        found = _environment(name, FILLED + "".join(f"{setting}='{value}'\n" for setting, value in values.items()))
        assert {setting: found.get(setting) for setting in values} == values, name


def test_variables_of_airflow_reach_the_container() -> None:
    """Connections and Airflow's own options may stand in the file as well."""
    for name in AIRFLOW:
        found = _environment(
            name, FILLED + 'AIRFLOW_CONN_OTHER=\'{"conn_type": "http"}\'\nAIRFLOW__CORE__PARALLELISM=9\n'
        )
        assert found["AIRFLOW_CONN_OTHER"] == '{"conn_type": "http"}', name
        assert found["AIRFLOW__CORE__PARALLELISM"] == "9", name


def test_the_limits_of_the_example_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example with every line in use gives valid settings in the worker, and no name is refused."""
    lines = [line.removeprefix("# ") for line in _commented(EXAMPLE)]
    for name, value in _environment("airflow-worker", FILLED + "\n".join(lines)).items():
        monkeypatch.setenv(name, value)
    found = load_settings()

    assert found.backpressure.account_calls_per_window == 200
    assert found.fatigue.weights == (0.4, 0.35, 0.25)
    assert found.database == "postgresql://adwarm:secret@db.internal/adwarm"
    assert found.source.graph_url == "http://simulator:8900"


def _commented(text: str) -> list[str]:
    """Return the lines of the example that are a setting behind a comment sign."""
    return [line for line in text.splitlines() if line.startswith("# ") and line[2:].split("=")[0].isupper()]


def test_without_settings_the_defaults_are_the_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Database and object store are those of the topology, and every other setting has its default."""
    for name, value in _environment("airflow-worker").items():
        monkeypatch.setenv(name, value)
    found = load_settings()

    assert (found.database, found.data) == ("postgresql://adwarm:s2@postgres/adwarm", "/opt/airflow/data")
    assert found.warming_queue == "warming"
    assert found.model_fields_set == {"database_url", "data_url", "warming_queue"}


def test_a_secret_reaches_only_who_needs_it() -> None:
    """Raw passwords are in no Airflow container, except the administrator's in init; the simulator has no secret."""
    for name in sorted(SERVICES):
        found = _environment(name)
        raw = {
            secret
            for secret, value in SECRETS.items()
            if not secret.startswith("AIRFLOW_") and found.get(secret) == value
        }
        needed = {"airflow-init": {"ADMIN_PASSWORD"}, "postgres": {"POSTGRES_PASSWORD", "ADWARM_POSTGRES_PASSWORD"}}
        assert raw == needed.get(name, set()), name
        assert name not in {"simulator", "read-api", "read-api-2"} or not set(SECRETS.values()) & set(found.values()), (
            name
        )


@pytest.mark.parametrize("name", sorted(set(SECRETS) - {"ADMIN_PASSWORD"}))
def test_a_missing_secret_stops_the_start(name: str) -> None:
    """The message names the variable; an empty one is missing too."""
    text = "".join(f"{secret}={'' if secret == name else value}\n" for secret, value in SECRETS.items())
    with pytest.raises(MissingVariable, match=f"^{name}: write it to .env"):
        [_environment(service, text) for service in SERVICES]


def test_secrets_from_the_shell_need_no_file() -> None:
    """Without `.env` the shell's secrets are enough."""
    found = service_environment(SERVICES["airflow-worker"], {}, SECRETS)
    assert found["ADWARM_DATABASE_URL"] == "postgresql://adwarm:s2@postgres/adwarm"


def test_another_file_is_named_in_one_variable() -> None:
    """ENV_FILE_PATH in the file that `--env-file` names lets its settings reach the containers."""
    files = {".env": FILLED + "ENV_FILE_PATH=prod.env\n", "prod.env": FILLED + "ADWARM_WORKERS=3\n"}
    assert service_environment(SERVICES["airflow-worker"], files, {})["ADWARM_WORKERS"] == "3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB=$A-${A}", {"A": "1", "B": "1-1"}),
        ("A='$B'", {"A": "$B"}),
        ('A="x $B y"', {"A": "x  y"}),
        ("A=b # note", {"A": "b"}),
        ("A='b#c' # note", {"A": "b#c"}),
        ("export A=2\n# B=3", {"A": "2"}),
        ("A=", {"A": ""}),
        ('A={"x": 1}', {"A": '{"x": 1}'}),
    ],
)
def test_env_files_are_read_as_compose_reads_them(text: str, expected: dict[str, str]) -> None:
    """Quotes, comments and expansion, as the published cases of Compose's own parser have them."""
    assert parse_env_file(text, {}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A:-x}", "x"),
        ("${B-x}", ""),
        ("${B:-x}", "x"),
        ("${C:-x}", "3"),
        ("${A:-${C:?gone}}", "3"),
        ("${C:+y}${A:+y}", "y"),
        ("$$C $C", "$C 3"),
    ],
)
def test_interpolation_follows_the_specification(text: str, expected: str) -> None:
    """Defaults, nested ones too, alternatives and escaped dollar signs."""
    assert interpolate(text, {"B": "", "C": "3"}) == expected
