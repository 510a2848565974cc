"""`adwarm review`: the list, one review, and its page."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from adwarm.cli.app import app
from adwarm.foundation.errors import NotFound
from adwarm.model import PolicyReview
from adwarm.runtime import Runtime
from adwarm.store import write_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.snapshots import save_review

RUN = "adwarm_policy_review/manual__2026-03-02T03:00:00+00:00"
TEXT = "With 1.52 x the calls of no warming, 95.6 % of first opens found a fresh report (no warming: 12.3 %)"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a review that has a page, and a newer one that has none."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    runtime = Runtime()
    page = PageFolder(runtime.settings.data).write("review-20260302t030000z.html", b"<p>the page</p>")
    at = datetime(2026, 3, 2, 3, tzinfo=UTC)
    figures = {"why": "nothing is better", "headline": {"text": TEXT}, "source": "it was trained again"}
    short = {"why": "the log is too short"}
    with write_transaction(runtime.engine) as connection:
        save_review(connection, PolicyReview(RUN, at, "kept", "hour_of_week", None, None, page, figures))
        later = at.replace(day=9)
        save_review(connection, PolicyReview("later", later, "too_little_log", "hour_of_week", None, None, None, short))
    return tmp_path


def _run(*words: str) -> str:
    done = CliRunner().invoke(app, ["review", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_reviews_are_listed_and_shown(home: Path) -> None:
    """The newest comes first; each states what was achieved and why it ended so."""
    rows = orjson.loads(_run("--json"))
    assert [(row["run_id"], row["verdict"], row["headline"]) for row in rows] == [
        ("later", "too_little_log", None),
        (RUN, "kept", TEXT),
    ]
    assert len(orjson.loads(_run("--limit", "1", "--json"))) == 1
    assert orjson.loads(_run("newest", "--json"))["run_id"] == "later"
    shown = orjson.loads(_run(RUN, "--json"))
    assert (shown["headline"], shown["source"], shown["figures"]["why"]) == (
        TEXT,
        "it was trained again",
        "nothing is better",
    )
    assert "nothing is better" in _run(RUN)
    assert "1.52 x" in _run()


def test_the_page_is_written_to_a_file(home: Path, tmp_path: Path) -> None:
    """A review without a page says why; an unknown run names the command that lists them."""
    out = tmp_path / "new" / "page.html"
    assert str(out.name) in _run(RUN, "--page", str(out))
    assert out.read_bytes() == b"<p>the page</p>"
    for words, run in (("too short", "newest"), ("adwarm review shows", "nobody")):
        with pytest.raises(NotFound, match=words):
            _run(run, "--page", str(out))
    next((home / "data" / "reports").iterdir()).unlink()
    with pytest.raises(NotFound, match="is gone"):
        _run(RUN, "--page", str(out))


def test_without_a_review_the_dag_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store says how the first review comes about."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    assert "adwarm_policy_review" in _run()
    with pytest.raises(NotFound, match="adwarm_policy_review"):
        _run("newest")
