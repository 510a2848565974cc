"""What differs between the containers of docker-compose.yaml and the processes of this test. Nothing else does.

- `Places.replacements` maps names and paths of the containers to addresses and folders of this machine.
- `EXTRA` and `Places.ports_of` add variables; `Places.extra_arguments` adds arguments.
- The image is a copy of what the Dockerfile copies; its Python packages are those of this interpreter.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.topology.compose_services import ROOT, Service, read_image_copies

EXTRA = {
    # A killed worker is noticed within half a minute instead of five minutes; nothing else depends on these.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    # Containers listen for each other; these processes for themselves.
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
    "HOSTNAME": socket.gethostname(),
    "NO_PROXY": "127.0.0.1,localhost",
}
"""Variables that the processes of our image have beyond those of the file."""
EXTRA_ARGUMENTS = {"simulator": ("--faults", str(Path(__file__).with_name("slow_platform.toml")))}
"""A platform that takes its time, so that a kill finds tasks at work."""
SECOND_SCHEDULER = "airflow-scheduler-2"
"""What `docker compose up --scale airflow-scheduler=2` adds."""
_CONTAINER_PORTS = {
    "postgres": "5432",
    "redis": "6379",
    "airflow-apiserver": "8080",
    "airflow-scheduler": "8974",
    SECOND_SCHEDULER: "8974",
    "read-api": "8950",
    "read-api-2": "8950",
    "simulator": "8900",
}
_LOG_PORTS = {
    "airflow-worker": "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT",
    "airflow-worker-warming": "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT",
    "airflow-triggerer": "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT",
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where the containers' folders and ports are on this machine.

    Attributes:
        home: an empty folder; the image is in `image`, and volumes beside it.
        ports: a free port by service; those in `_LOG_PORTS` are the ports of their log servers.
        programs: folder of PostgreSQL's programs.
    """

    home: Path
    ports: dict[str, int]
    programs: Path

    def replacements(self, service: Service) -> list[tuple[str, str]]:
        """Return what is replaced in commands, health checks and variables of a service, longer texts first."""
        image = self.home / "image"
        own = {path: str(self.volume(source)) for source, path in service.volumes.items()}
        return [
            ("http://airflow-apiserver:8080", f"http://127.0.0.1:{self.ports['airflow-apiserver']}"),
            ("http://simulator:8900", f"http://127.0.0.1:{self.ports['simulator']}"),
            ("@postgres/", f"@127.0.0.1:{self.ports['postgres']}/"),
            ("@redis:6379/", f"@127.0.0.1:{self.ports['redis']}/"),
            ("redis-server ", f"redis-server --bind 127.0.0.1 --port {self.ports['redis']} --dir {own.get('/data')} "),
            ("redis-cli ", f"redis-cli -p {self.ports['redis']} "),
            ("--host=127.0.0.1", f"--host=127.0.0.1 --port={self.ports['postgres']}"),
            ("0.0.0.0", "127.0.0.1"),
            *sorted(own.items(), key=lambda item: -len(item[0])),
            ("/opt/airflow", str(image)),
            ("/opt/venv/bin:$PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])),
        ]

    def volume(self, source: str) -> Path:
        """Return the folder of a volume, or the folder of this repository that is mounted."""
        return (ROOT / source).resolve() if source.startswith((".", "/")) else self.home / source

    def place(self, service: Service) -> Service:
        """Return a service as it runs here."""
        rules = self.replacements(service)
        port = _CONTAINER_PORTS.get(service.name)
        # Not in variables: a secret may contain these four digits.
        port_rules = [(port, str(self.ports[service.name]))] if port else []

        def swap(text: str, rules: list[tuple[str, str]] = rules) -> str:
            for before, after in rules:
                text = text.replace(before, after)
            return text

        def swap_words(words: Sequence[str]) -> tuple[str, ...]:
            # An argument that became two of them, as `--host=127.0.0.1 --port=5432`, is split again.
            found: list[str] = []
            for word in words:
                text = swap(word, [*port_rules, *rules])
                found += [text] if " " in word else text.split(" ")
            return tuple(found)

        environment = {name: swap(value) for name, value in service.environment.items()}
        if service.is_ours:
            environment |= EXTRA | self.ports_of(service.name)
        else:
            environment |= {"PGDATA": str(self.volume("postgres-data"))} if service.name == "postgres" else {}
            environment["PATH"] = os.pathsep.join([str(self.programs), os.environ["PATH"]])
        return replace(
            service,
            command=(*swap_words(service.command), *self.extra_arguments(service.name)),
            environment=environment,
            health_command=swap_words(service.health_command),
        )

    def extra_arguments(self, name: str) -> tuple[str, ...]:
        """Return the arguments that a service has beyond those of the file."""
        if name != "postgres":
            return EXTRA_ARGUMENTS.get(name, ())
        folder = self.volume("postgres-data")
        options = {"port": self.ports[name], "listen_addresses": "127.0.0.1", "unix_socket_directories": folder}
        return tuple(word for option, value in options.items() for word in ("-c", f"{option}={value}"))

    def ports_of(self, name: str) -> dict[str, str]:
        """Return the variables for the ports of a service of Airflow, which containers do not share."""
        known = {
            "AIRFLOW__API__PORT": "airflow-apiserver",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": (
                name if name == SECOND_SCHEDULER else "airflow-scheduler"
            ),
            **({_LOG_PORTS[name]: name} if name in _LOG_PORTS else {}),
        }
        return {variable: str(self.ports[service]) for variable, service in known.items()}

    def build_image(self) -> None:
        """Copy what the Dockerfile copies, and compile it; a file that it forgets is missing here, too.

        The packages of this interpreter are compiled by whoever imports them first: compiling all takes minutes.
        """
        for source, target in read_image_copies().items():
            here, there = ROOT / source, Path(target.replace("/opt/airflow", str(self.home / "image")))
            if here.is_dir():
                shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(here, there)
        packages = [self.home / "image/include", self.home / "image/plugins"]
        subprocess.run([sys.executable, "-m", "compileall", "-qq", *map(str, packages)], check=False)


def find_places(home: Path, programs: Path) -> Places:
    """Choose a free port for each service that listens."""
    names = sorted({*_CONTAINER_PORTS, *_LOG_PORTS})
    sockets = [socket.socket() for _ in names]
    try:
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return Places(
            home, {name: probe.getsockname()[1] for name, probe in zip(names, sockets, strict=True)}, programs
        )
    finally:
        for probe in sockets:
            probe.close()


def list_used_ports(places: Places) -> list[str]:
    """Return the services whose port is still served."""
    used = []
    for name, port in places.ports.items():
        with socket.socket() as probe:  # not by binding it: another program's connection may go out from this port
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                used.append(name)
    return used
