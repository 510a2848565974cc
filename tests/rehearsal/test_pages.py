"""Rehearses each incident, and compares what the commands print with the page: `make rehearse`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.rehearsal.incidents import INCIDENTS, CannotRehearse
from tests.rehearsal.stage import open_stage
from tests.rehearsal.transcripts import RUNBOOK, normalize, read_steps

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("name", INCIDENTS)
def test_the_page_shows_what_the_commands_print(name: str) -> None:
    """Each recorded block of the page is what the command prints now, but for times, numbers and ids."""
    # the folder's name is short, because a table breaks a long one
    with TemporaryDirectory() as folder, open_stage(Path(folder)) as stage:
        try:
            INCIDENTS[name](stage)
        except CannotRehearse as error:
            pytest.skip(str(error))
    recorded = read_steps(RUNBOOK / f"{name}.md")

    assert [item.step for item in stage.shown if item.step not in recorded] == []
    for item in stage.shown:
        assert normalize(item.text) == normalize(recorded[item.step]), f"{name}: {item.step}"
