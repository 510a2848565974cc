"""The generated reference: compared here because its pages of operators and DAGs need Airflow, which loads slowly."""

import sys
from pathlib import Path

import pytest

from .conftest import ROOT


@pytest.mark.slow
def test_the_generated_pages_are_up_to_date(
    airflow_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The generated pages are what the code says, nothing public is undocumented; the message says what to do."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    from make_reference import main

    code = main(["--check"])

    assert code == 0, capsys.readouterr().err
