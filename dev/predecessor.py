"""`make test-predecessor`: the newest release's tests of the store, by its own code, on the schema of this code.

Its code runs the migrations of this working tree, so its tests see the tables that its workers meet during an upgrade.
"""

import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from adwarm.store.migration_scripts import FOLDER, list_migrations
from dev.locked import ROOT

_RELEASE = re.compile(r"v\d+\.\d+\.\d+")
_OF_SCHEMAS = ("test_schema.py", "test_upgrades.py", "test_migration_rules.py", "test_fatigue_migration.py")
"""Tests about the release's own migrations."""
_PLUGIN = """from pathlib import Path
from adwarm.store import migration_scripts
migration_scripts.FOLDER = Path({folder!r})
"""


def find_newest_release() -> str | None:
    """Return the newest tag of the form vX.Y.Z; None without one."""
    command = ["git", "tag", "--list", "--sort=-version:refname"]
    tags = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603 -- fixed
    return next((tag for tag in tags if _RELEASE.fullmatch(tag)), None)


def must_stop(release_head: int) -> str | None:
    """Return the first later revision on which the release's code does not run; None when it runs on all."""
    later = [migration for migration in list_migrations() if int(migration.revision) > release_head]
    return next((migration.revision for migration in later if int(migration.compatible_from) > release_head), None)


def main(tag: str | None) -> int:
    """Run the tests of `tag`, or of the newest release; returns pytest's exit code."""
    tag = tag or find_newest_release()
    if tag is None:
        print("there is no release yet, so there is nothing that runs on the schema of its successor")
        return 0
    with tempfile.TemporaryDirectory(prefix="adwarm-predecessor-") as name:
        folder = Path(name)
        command = ["git", "archive", "--end-of-options", tag]
        archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S603 -- a tag
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        versions = (folder / "include/adwarm/store/migrations/versions").glob("[0-9]*.py")
        head = max(int(path.name[:4]) for path in versions)
        if (revision := must_stop(head)) is not None:
            print(f"schema {revision} says that the code of {tag} (schema {head}) must stop; its tests are not run")
            return 0
        return _run(folder, tag)


def _run(folder: Path, tag: str) -> int:
    (folder / "migrations_of_the_successor.py").write_text(_PLUGIN.format(folder=str(FOLDER)), encoding="utf-8")
    ignored = [f"--ignore=tests/unit/store/{name}" for name in _OF_SCHEMAS]
    paths = [str(folder / "include"), str(folder / "plugins"), str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    print(f"the store's tests of {tag} on schema {list_migrations()[-1].revision}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "migrations_of_the_successor"]
    command += [*ignored, "tests/unit/store"]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode  # noqa: S603 -- own tests


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
