"""The services of docker-compose.yaml, as `docker compose` would start them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.compose_rules import interpolate, parse_env_file, service_environment

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_GRACE_SECONDS = 10.0
"""How long an engine waits between SIGTERM and SIGKILL where the file says nothing."""
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True)
class Service:
    """A service with every variable resolved.

    Attributes:
        command: program and arguments.
        environment: variables of its containers, those of the image included.
        health_command: program and arguments that end with 0 once it is healthy.
        depends_on: condition by service, such as `service_healthy`.
        volumes: path in the container by source, a folder of the machine or a volume.
        is_ours: whether its image is the one of the Dockerfile.
        restarts: whether it is started again when it ends.
        grace_seconds: from SIGTERM to SIGKILL.
        memory_bytes: its limit.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health_command: tuple[str, ...]
    depends_on: Mapping[str, str]
    volumes: Mapping[str, str]
    is_ours: bool
    restarts: bool
    grace_seconds: float
    memory_bytes: int


def load_services(env_text: str, profiles: Collection[str] = ()) -> dict[str, Service]:
    """Return the services that start with some profiles.

    Args:
        env_text: text of the file `.env`.
        profiles: those that `--profile` names.
    """
    document = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
    image = read_image_environment()
    services = {}
    for name, service in document["services"].items():
        wanted = service.get("profiles", [])
        if not wanted or set(wanted) & set(profiles):
            services[name] = _resolve(name, service, env_text, image)
    return services


def _resolve(name: str, service: Mapping[str, Any], env_text: str, image: Mapping[str, str]) -> Service:
    variables = parse_env_file(env_text, {})

    def expand(value: Any) -> str:
        return interpolate(str(value), variables)

    is_ours = "build" in service
    kind, *test = (expand(part) for part in service["healthcheck"]["test"])
    depends = service.get("depends_on", {})
    return Service(
        name,
        tuple(expand(part) for part in service["command"]),
        {**(image if is_ours else {}), **service_environment(service, {".env": env_text}, {})},
        ("sh", "-c", *test) if kind == "CMD-SHELL" else tuple(test),
        {other: rule["condition"] for other, rule in depends.items()},
        dict(_split_volume(expand(volume)) for volume in service.get("volumes", [])),
        is_ours,
        service.get("restart") == "unless-stopped",
        _seconds(service.get("stop_grace_period")),
        _bytes(expand(service["deploy"]["resources"]["limits"]["memory"])),
    )


def read_image_environment() -> dict[str, str]:
    """Return the variables that the last stage of the Dockerfile sets."""
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", _last_stage(), re.MULTILINE)
    assert block
    return dict(re.findall(r"(\w+)=(\S+)", block[1]))


def read_image_copies() -> dict[str, str]:
    """Return what the last stage of the Dockerfile copies from the repository: path in the image by path here."""
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )*(\S+) (\S+)$", _last_stage(), re.MULTILINE)
    return dict(lines)


def _last_stage() -> str:
    return re.split(r"^FROM .*$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)[-1]


def _split_volume(text: str) -> tuple[str, str]:
    source, target = text.split(":")[:2]
    return source, target


def _seconds(text: str | None) -> float:
    if text is None:
        return DEFAULT_GRACE_SECONDS
    minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text).groups(default="0")  # type: ignore[union-attr]
    return 60.0 * int(minutes) + int(seconds)


def _bytes(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]
