"""The file that a shell sources to work on a local run."""

import stat
import subprocess
from pathlib import Path

from dev.environment import local_environment, write_shell_environment


def test_a_shell_takes_over_the_run(tmp_path: Path) -> None:
    """The file holds home, log and connection, quoted, and further variables; only its owner can read it."""
    path, log = tmp_path / "env", tmp_path / "a log's file.parquet"
    environment = local_environment(tmp_path, "http://127.0.0.1:9", str(log)) | {"SECRET_OF_THE_SHELL": "x"}
    write_shell_environment(path, environment, DEMO_TIME="2013-03-30T16:00:00+00:00")
    script = f'source {path}; printf "%s\\n" "$ADWARM_HOME" "$ADWARM_ACCESS_LOG__URL" "$DEMO_TIME"; which adwarm'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )

    assert done.stdout.splitlines()[:3] == [str(tmp_path), str(log), "2013-03-30T16:00:00+00:00"]
    assert done.stdout.rstrip().endswith("/bin/adwarm")
    assert "SECRET_OF_THE_SHELL" not in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
