"""Reviews of the live policy over a small log: page, proposal, approval, rejection, fallback."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest
from sqlalchemy import Engine

from adwarm.forecast.snapshot import get_live_forecast, get_live_snapshot, promote_snapshot
from adwarm.forecast.training.train import TRAINERS, train_and_promote, train_candidates
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import DeployedPolicy, PolicyReview
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.opens import opens_from_frame
from adwarm.replay import review
from adwarm.replay.review import (
    REVIEW_ACTOR,
    ReviewScope,
    choose_split,
    promote,
    reject,
    review_policies,
    sample_accounts,
)
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, read_transaction
from adwarm.store.snapshots import find_newest_review, find_policy
from tests.support.remembered_replays import ReviewedLog, remember_replays

from .conftest import MONDAY, simulated_opens

NOW = MONDAY + timedelta(weeks=6)
POLICIES = ("forecast-hour-of-week", "forecast-population")
SCOPE = ReviewScope(policies=POLICIES)


@pytest.fixture(scope="module")
def office() -> pd.DataFrame:
    """Six weeks of opens of enough accounts to tell forecasts apart."""
    return simulated_opens(accounts=10)


@pytest.fixture(scope="module")
def replays() -> Callable[..., ReviewedLog]:
    """Replays that the tests of this module share."""
    return remember_replays()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, replays: Callable[..., ReviewedLog]) -> None:
    """Replay equal logs once, and train the plainest kind in place of the slowest, which no test here deploys.

    The small log has some hundred cases for calibration.
    """
    monkeypatch.setattr("adwarm.replay.review_rules.MIN_CASES", 100)
    monkeypatch.setattr(review, "review_log", replays)
    monkeypatch.setitem(TRAINERS, "adwarm", TRAINERS["population"])


@dataclass
class _Deployment:
    """A store whose log has been ingested."""

    context: Context

    @property
    def engine(self) -> Engine:
        return self.context.engine

    @property
    def settings(self) -> Settings:
        return self.context.settings

    def train(self, kind: str, until: datetime = NOW - timedelta(weeks=3)) -> str:
        """Promote a forecast of the kind that has seen the log until then; return its id."""
        only = self.settings.model_copy(update={"forecast": self.settings.forecast.model_copy(update={"model": kind})})
        found = train_candidates(replace(self.context, settings=only), until, NOW).snapshots[kind].id
        promote_snapshot(self.engine, found, NOW)
        return found

    def review(self, run_id: str = "review/1", **more: Any) -> PolicyReview:
        return review_policies(self.context, NOW, run_id, **{"scope": SCOPE, **more})

    def policy(self) -> DeployedPolicy:
        with read_transaction(self.engine) as connection:
            found = find_policy(connection)
        assert found is not None
        return found


def deploy(root: Path, engine: Engine, frame: pd.DataFrame, now: datetime = NOW) -> _Deployment:
    """Return a store with `frame` as its log."""
    rows = frame.sort_values("ts").assign(ts=lambda x: [at.isoformat() for at in x["ts"]]).to_dict("records")
    log = root / "log.jsonl"
    log.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    settings = Settings.model_validate({
        "home": root / "home",
        "access_log": {"url": str(log)},
        "planning": {"step_minutes": 480},
    })
    objects = ObjectStore(settings.data)
    context = Context(engine, objects, settings)
    ingest(context, now)
    return _Deployment(context)


@pytest.fixture
def deployment(tmp_path: Path, sqlite_engine: Engine, office: pd.DataFrame) -> _Deployment:
    """A store on SQLite with the small log."""
    return deploy(tmp_path, sqlite_engine, office)


@pytest.mark.slow
def test_a_better_kind_is_proposed_and_promoted_after_approval(deployment: _Deployment) -> None:
    """It is trained but not live; approval promotes it, records who approved, and training keeps it."""
    plain = deployment.train("population")
    row = deployment.review()
    assert (row.result, row.live_kind, row.proposed_kind) == ("proposed", "population", "hour_of_week")
    assert get_live_snapshot(deployment.engine).id == plain

    done = promote(deployment.engine, "review/1", by="somebody", at=NOW + timedelta(hours=5))
    assert (done.result, done.decided_by) == ("promoted", "somebody")
    assert get_live_snapshot(deployment.engine).id == row.proposed_snapshot
    assert get_live_forecast(deployment.context).kind == "hour_of_week"
    policy = deployment.policy()
    assert (policy.chosen_kind, policy.chosen_by) == ("hour_of_week", "somebody")
    assert policy.chosen_at == NOW + timedelta(hours=5)
    assert "first opens more" in policy.chosen_why
    assert promote(deployment.engine, "review/1", by="another", at=NOW).decided_by == "somebody"

    train_and_promote(deployment.context, NOW, NOW)
    assert get_live_snapshot(deployment.engine).kind == "hour_of_week"
    assert deployment.policy().chosen_by == "somebody"


@pytest.mark.slow
def test_a_rejected_proposal_changes_nothing(deployment: _Deployment) -> None:
    """The live forecast stays, the decision is recorded, and cannot be reversed."""
    plain = deployment.train("population")
    deployment.review()
    assert reject(deployment.engine, "review/1", by="nobody in time", at=NOW).result == "rejected"
    assert get_live_snapshot(deployment.engine).id == plain
    assert deployment.policy().chosen_kind is None
    with pytest.raises(BadRequest, match="rejected"):
        promote(deployment.engine, "review/1", by="somebody", at=NOW)


@pytest.mark.slow
def test_a_proposal_against_a_replaced_kind_is_rejected(deployment: _Deployment) -> None:
    """A proposal that was compared with another live kind than today's is not promoted."""
    deployment.train("population")
    deployment.review()
    deployment.train("hour_of_week")
    with pytest.raises(BadRequest, match="wait for the next review"):
        promote(deployment.engine, "review/1", by="somebody", at=NOW)
    with pytest.raises(NotFound, match="no review"):
        reject(deployment.engine, "review/2", by="somebody", at=NOW)


@pytest.mark.slow
def test_the_pages_are_written_once(deployment: _Deployment) -> None:
    """HTML and JSON are in the data folder, the review names the page, and a second call makes no second review."""
    deployment.train("population")
    row = deployment.review()
    page = Path(str(row.page))
    document = orjson.loads(page.with_suffix(".json").read_bytes())
    assert page.parent == Path(deployment.settings.data) / "reports"
    text = page.read_text(encoding="utf-8")
    assert "The result of this review" in text
    headline = row.figures["headline"]["text"]
    assert headline.startswith("With ")
    assert headline in text
    assert document["headline"]["text"] == headline
    assert row.figures["source"].startswith("1 snapshot of population as stored, trained until 2026-")
    assert "left out" not in row.figures["source"]
    assert row.figures["source"] in text
    assert document["review"]["proposed_kind"] == "hour_of_week"
    assert set(row.figures["policies"]) == set(POLICIES)
    assert deployment.review().at == row.at
    assert len(list(page.parent.iterdir())) == 2


@pytest.mark.slow
def test_broken_calibration_falls_back_at_once(tmp_path: Path, sqlite_engine: Engine, office: pd.DataFrame) -> None:
    """When opens stop, the population profile goes live without approval, and training keeps it."""
    last = office["ts"].max()
    gone = office["ts"].between(last - pd.Timedelta(days=7), last - pd.Timedelta(hours=3))
    deployment = deploy(tmp_path, sqlite_engine, office[~gone])
    deployment.train("hour_of_week")
    row = deployment.review(scope=replace(SCOPE, scored_weeks=1))
    assert row.result == "fell_back", row.figures["policies"]
    assert get_live_forecast(deployment.context).kind == "population"
    policy = deployment.policy()
    assert (policy.chosen_kind, policy.chosen_by) == ("population", REVIEW_ACTOR)
    assert "promise" in policy.chosen_why
    assert deployment.review().result == "fell_back"
    train_and_promote(deployment.context, NOW, NOW)
    assert get_live_snapshot(deployment.engine).kind == "population"


@pytest.mark.slow
def test_a_review_that_only_reports_changes_nothing(deployment: _Deployment) -> None:
    """With `apply_result=False` nothing is trained, proposed or promoted, and the page is written."""
    plain = deployment.train("population")
    row = deployment.review(apply_result=False)
    assert (row.result, row.proposed_snapshot) == ("reported", None)
    assert "surely" in row.figures["why"] or "first opens more" in row.figures["why"]
    assert row.page
    assert get_live_snapshot(deployment.engine).id == plain
    with pytest.raises(BadRequest, match="nothing to promote"):
        promote(deployment.engine, "review/1", by="somebody", at=NOW)


def test_a_log_that_is_too_short_is_reported(tmp_path: Path, sqlite_engine: Engine, office: pd.DataFrame) -> None:
    """With less than three weeks of log the review states what it needs; without a live forecast there is none."""
    deployment = deploy(tmp_path, sqlite_engine, office[office["ts"] >= pd.Timestamp(NOW - timedelta(days=20))])
    assert deployment.review("review/0").result == "nothing_live"
    deployment.train("hour_of_week", NOW)
    row = deployment.review()
    assert (row.result, row.page) == ("too_little_log", None)
    assert "needs 21" in row.figures["why"]
    with read_transaction(deployment.engine) as connection:
        assert find_newest_review(connection) == row


@pytest.mark.slow
def test_a_forecast_is_scored_on_what_it_has_not_seen(deployment: _Deployment) -> None:
    """Days that each stored snapshot has seen are left out and named; with less than a day left there is no score."""
    last = NOW - timedelta(days=4, hours=6)
    deployment.train("hour_of_week", NOW)
    row = deployment.review("review/0")
    assert (row.result, row.page) == ("too_little_log", None)
    assert "have seen the log until 2026-" in row.figures["why"]
    deployment.train("population", last)
    deployment.train("population", last + timedelta(days=2))
    row = deployment.review()
    first = datetime.fromisoformat(row.figures["log"]["test_from"])
    assert timedelta(0) < first - last <= timedelta(hours=2)
    source = row.figures["source"]
    assert source.startswith("2 snapshots of population as stored")
    assert "10 days before" in source
    assert "were left out, because each stored snapshot has seen them" in source


def test_the_split_follows_the_length_of_the_log() -> None:
    """A long log gives the configured weeks, a short one fewer test weeks, always with two weeks of training."""
    rules = ReviewScope(training_weeks=8, scored_weeks=4)
    long = choose_split(NOW - timedelta(weeks=30), NOW, rules)
    assert (long.test_from, long.train_from) == (NOW - timedelta(weeks=4), NOW - timedelta(weeks=12))
    short = choose_split(NOW - timedelta(days=25), NOW, rules)
    assert (short.test_from, short.train_from) == (NOW - timedelta(weeks=1), NOW - timedelta(days=25))


def test_a_sample_holds_whole_accounts() -> None:
    """At most the given number of keys, or one account; the same ones in each call."""
    opens = opens_from_frame(simulated_opens())
    some = sample_accounts(opens, 9)
    assert (some.key_count, len(set(some.account_id))) == (8, 2)
    assert set(sample_accounts(opens, 1).account_id) < set(some.account_id)
    assert sample_accounts(opens, 99) is opens
    assert (some.first_ts[1:] >= some.first_ts[:-1]).all()
