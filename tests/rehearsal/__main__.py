"""Writes what the commands print into the pages of the runbook: `python -m tests.rehearsal [PAGE ...]`."""

import sys
import tempfile
from pathlib import Path

from tests.rehearsal.incidents import INCIDENTS, CannotRehearse
from tests.rehearsal.stage import open_stage
from tests.rehearsal.transcripts import RUNBOOK, write_steps


def main(names: list[str]) -> None:
    """Rehearse the pages, all by default, and write what was shown."""
    for name in names or INCIDENTS:
        with tempfile.TemporaryDirectory(prefix="adwarm-rehearsal-") as folder, open_stage(Path(folder)) as stage:
            try:
                INCIDENTS[name](stage)
            except CannotRehearse as error:
                print(f"{name}: skipped, {error}")
                continue
        page = RUNBOOK / f"{name}.md"
        if page.exists():
            write_steps(page, stage.shown)
        else:
            print("\n".join(f"[{item.step}]\n{item.text}" for item in stage.shown))
        print(f"{name}: {len(stage.shown)} commands")


if __name__ == "__main__":
    main(sys.argv[1:])
