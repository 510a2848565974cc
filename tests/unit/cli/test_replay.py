"""The command `adwarm replay`, from a log to its files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pandas as pd
import pytest
from typer.testing import CliRunner

from adwarm.cli.app import app
from adwarm.cli.replay import parse_duration, parse_multiples
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import PolicyReview
from adwarm.runtime import Runtime
from adwarm.store import write_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.snapshots import save_review

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Six weeks in which two accounts are opened every working day."""
    rows = [
        (START + timedelta(days=day, hours=8 + number, minutes=(day * 7) % 50), f"act_{number + 1}", "today")
        for day in range(42)
        for number in range(2)
        if day % 7 < 5
    ]
    path = tmp_path / "opens.parquet"
    pd.DataFrame(rows, columns=["ts", "account_id", "date_range"]).to_parquet(path)
    return path


def _run(log: Path, *options: str) -> object:
    words = ["replay", str(log), "--train-weeks", "4", "--weeks", "1", "--min-opens", "5", *options]
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_it_writes_figures_and_warms(log: Path, tmp_path: Path) -> None:
    """JSON and Parquet contain the same replay; the warms have the documented columns."""
    found, warms = (tmp_path / "out" / name for name in ("f.json", "w.parquet"))
    done = _run(log, "--policy", "hour-of-week", "--out", str(found), "--out", str(warms))
    frame, document = pd.read_parquet(warms), orjson.loads(found.read_bytes())

    assert done.exit_code == 0  # type: ignore[attr-defined]
    assert list(frame.columns) == ["ts", "account_id", "date_range", "at", "confidence"]
    assert str(frame["ts"].dt.tz) == "UTC"
    assert document["rules"]["step_seconds"] == 900
    assert len(frame) == sum(row["warms"] for row in document["policies"][0]["targets"])


def test_several_policies_are_distinguished(log: Path, tmp_path: Path) -> None:
    """With several policies each warm names its policy."""
    _run(log, "--policy", "everything,popularity", "--at", "2,50", "--out", str(tmp_path / "w.parquet"))

    assert set(pd.read_parquet(tmp_path / "w.parquet")["policy"]) == {"everything", "popularity"}


def test_days_default_to_the_end_of_the_log(log: Path) -> None:
    """Without days, the last weeks of the log are scored; the log may be shorter than the training period."""
    done = CliRunner().invoke(app, ["replay", str(log), "--policy", "none", "--min-opens", "1"], catch_exceptions=False)

    assert done.exit_code == 0
    assert "none" in done.output


def test_durations_and_multiples_are_parsed() -> None:
    """Durations have units, a bare number uses the option's unit; the error on an invalid value shows an example."""
    assert [parse_duration(text, "m") for text in ("90s", "15m", "3h", "2d", "60", "0")] == [
        timedelta(seconds=90),
        timedelta(minutes=15),
        timedelta(hours=3),
        timedelta(days=2),
        timedelta(hours=1),
        timedelta(0),
    ]
    assert parse_multiples("2, 1.5,") == [1.5, 2.0]
    with pytest.raises(BadRequest, match="such as 30s"):
        parse_duration("soon", "m")
    with pytest.raises(BadRequest, match=r"1\.5,2,3"):
        parse_multiples("two")


def test_a_short_log_is_replayed_as_far_as_it_goes(log: Path) -> None:
    """Without windows the weeks that fit are replayed, and said; the headline names the multiple that was made."""
    options = ["replay", str(log), "--policy", "popularity", "--min-opens", "1"]
    done = CliRunner().invoke(app, options, catch_exceptions=False)
    assert done.exit_code == 0
    assert "the log holds 39 days" in done.stderr
    assert "replaying the last 7 days, learning from the 32 days before" in done.stderr
    assert "x the calls of no warming" in done.stdout
    assert "of first opens found a fresh report (no warming: " in done.stdout


def test_windows_that_do_not_fit_name_those_that_do(log: Path) -> None:
    """Weeks that the log does not hold are refused with weeks that it holds; too few opens are, too."""
    run = CliRunner().invoke
    with pytest.raises(BadRequest, match="need 70 days; the log holds 39 days: this fits: --train-weeks 4 --weeks 1"):
        run(app, ["replay", str(log), "--train-weeks", "6", "--weeks", "4"], catch_exceptions=False)
    with pytest.raises(BadRequest, match=r"the most is \d+: --min-opens \d+ keeps \d+ of 2 keys"):
        run(app, ["replay", str(log), "--min-opens", "500"], catch_exceptions=False)


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


def _run_review(*words: str) -> str:
    done = CliRunner().invoke(app, ["review", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_reviews_are_listed_and_shown(home: Path) -> None:
    """The newest comes first; each states what was achieved and why it ended so."""
    rows = orjson.loads(_run_review("--json"))
    assert [(row["run_id"], row["verdict"], row["headline"]) for row in rows] == [
        ("later", "too_little_log", None),
        (RUN, "kept", TEXT),
    ]
    assert len(orjson.loads(_run_review("--limit", "1", "--json"))) == 1
    assert orjson.loads(_run_review("newest", "--json"))["run_id"] == "later"
    shown = orjson.loads(_run_review(RUN, "--json"))
    assert (shown["headline"], shown["source"], shown["figures"]["why"]) == (
        TEXT,
        "it was trained again",
        "nothing is better",
    )
    assert "nothing is better" in _run_review(RUN)
    assert "1.52 x" in _run_review()


def test_the_page_is_written_to_a_file(home: Path, tmp_path: Path) -> None:
    """A review without a page says why; an unknown run names the command that lists them."""
    out = tmp_path / "new" / "page.html"
    assert str(out.name) in _run_review(RUN, "--page", str(out))
    assert out.read_bytes() == b"<p>the page</p>"
    for words, run in (("too short", "newest"), ("adwarm review shows", "nobody")):
        with pytest.raises(NotFound, match=words):
            _run_review(run, "--page", str(out))
    next((home / "data" / "reports").iterdir()).unlink()
    with pytest.raises(NotFound, match="is gone"):
        _run_review(RUN, "--page", str(out))


def test_without_a_review_the_dag_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store says how the first review comes about."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    assert "adwarm_policy_review" in _run_review()
    with pytest.raises(NotFound, match="adwarm_policy_review"):
        _run_review("newest")
