"""A review of the live policy over a small office: report, proposal, approval, rejection, fallback."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest
from sqlalchemy import Engine

from adwarm.forecast.snapshot import get_live_forecast, get_live_snapshot, promote_snapshot
from adwarm.forecast.training.train import train_and_promote, train_candidates
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import DeployedPolicy, PolicyReview
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.opens import opens_from_frame
from adwarm.replay.promotion import REVIEW_ACTOR, promote, reject
from adwarm.replay.review import choose_split, review_policies, sample_accounts
from adwarm.settings import ReviewSettings, Settings
from adwarm.store import Context, ObjectStore, read_transaction
from adwarm.store.reviews import find_newest_review
from adwarm.store.snapshots import find_policy

from .conftest import MONDAY

NOW = MONDAY + timedelta(weeks=6)
PLAIN = ("hour-of-week", "population-profile")


@dataclass
class House:
    """A home whose log has been read."""

    engine: Engine
    objects: ObjectStore
    settings: Settings

    def train(self, kind: str) -> str:
        """Make a forecast of the kind live; return its id."""
        only = self.settings.model_copy(update={"forecast": self.settings.forecast.model_copy(update={"model": kind})})
        found = train_candidates(self.engine, self.objects, only, NOW, NOW).snapshots[kind].id
        promote_snapshot(self.engine, found, NOW)
        return found

    def review(self, run_id: str = "review/1", **more: Any) -> PolicyReview:
        return review_policies(self.engine, self.objects, self.settings, NOW, run_id, **more)

    def policy(self) -> DeployedPolicy:
        with read_transaction(self.engine) as connection:
            found = find_policy(connection)
        assert found is not None
        return found


def built(root: Path, engine: Engine, frame: pd.DataFrame, now: datetime = NOW, **review: Any) -> House:
    """A house whose log is `frame`."""
    rows = frame.sort_values("ts").assign(ts=lambda x: [at.isoformat() for at in x["ts"]]).to_dict("records")
    log = root / "log.jsonl"
    log.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    settings = Settings.model_validate({
        "home": root / "home",
        "access_log_url": str(log),
        "review": {"policies": PLAIN, "scored_weeks": 2, "min_cases": 100, **review},
    })
    objects = ObjectStore(settings.data)
    ingest(Context(engine, objects, settings), now)
    return House(engine, objects, settings)


@pytest.fixture
def house(tmp_path: Path, sqlite_engine: Engine, office: pd.DataFrame) -> House:
    """A house on SQLite, over the office that goes on as ever."""
    return built(tmp_path, sqlite_engine, office)


def test_a_better_kind_is_proposed_and_promoted_after_approval(
    tmp_path: Path, engine: Engine, office: pd.DataFrame
) -> None:
    """It is trained but not live, and goes live by a person's word, who is written down; training keeps it."""
    house = built(tmp_path, engine, office)
    plain = house.train("population")
    row = house.review()
    assert (row.result, row.live_kind, row.proposed_kind) == ("proposed", "population", "hour_of_week")
    assert get_live_snapshot(house.engine).id == plain

    done = promote(house.engine, "review/1", by="somebody", at=NOW + timedelta(hours=5))
    assert (done.result, done.decided_by) == ("promoted", "somebody")
    assert get_live_snapshot(house.engine).id == row.proposed_snapshot
    assert get_live_forecast(house.engine, house.objects).kind == "hour_of_week"
    policy = house.policy()
    assert (policy.chosen_kind, policy.chosen_by) == ("hour_of_week", "somebody")
    assert policy.chosen_at == NOW + timedelta(hours=5)
    assert "first opens more" in policy.chosen_why
    assert promote(house.engine, "review/1", by="another", at=NOW).decided_by == "somebody"

    train_and_promote(house.engine, house.objects, house.settings, NOW, NOW)
    assert get_live_snapshot(house.engine).kind == "hour_of_week"
    assert house.policy().chosen_by == "somebody"


def test_a_rejected_proposal_changes_nothing(house: House) -> None:
    """The live forecast stays, the answer is written down, and cannot be turned around afterwards."""
    plain = house.train("population")
    house.review()
    assert reject(house.engine, "review/1", by="nobody in time", at=NOW).result == "rejected"
    assert get_live_snapshot(house.engine).id == plain
    assert house.policy().chosen_kind is None
    with pytest.raises(BadRequest, match="rejected"):
        promote(house.engine, "review/1", by="somebody", at=NOW)


def test_a_proposal_against_a_kind_that_is_gone_is_refused(house: House) -> None:
    """What was compared with another live kind than today's is not promoted."""
    house.train("population")
    house.review()
    house.train("hour_of_week")
    with pytest.raises(BadRequest, match="wait for the next review"):
        promote(house.engine, "review/1", by="somebody", at=NOW)
    with pytest.raises(NotFound, match="no review"):
        reject(house.engine, "review/2", by="somebody", at=NOW)


def test_the_report_is_where_a_person_finds_it(house: House) -> None:
    """A page and JSON in the data folder; the row names the page, and a second call makes no second review."""
    house.train("population")
    row = house.review()
    page = Path(str(row.page))
    document = orjson.loads(page.with_suffix(".json").read_bytes())
    assert page.parent == Path(house.settings.data) / "reports"
    assert "What this review comes to" in page.read_text(encoding="utf-8")
    assert document["review"]["proposed_kind"] == "hour_of_week"
    assert set(row.figures["policies"]) == {"population-profile", "hour-of-week"}
    assert house.review().at == row.at
    assert len(list(page.parent.iterdir())) == 2


def test_broken_calibration_falls_back_at_once(tmp_path: Path, sqlite_engine: Engine, office: pd.DataFrame) -> None:
    """When people stop coming, the population profile goes live without asking, and training keeps it."""
    last = office["ts"].max()
    gone = office["ts"].between(last - pd.Timedelta(days=7), last - pd.Timedelta(hours=3))
    house = built(tmp_path, sqlite_engine, office[~gone], scored_weeks=1)
    house.train("hour_of_week")
    row = house.review()
    assert row.result == "fell_back", row.figures["policies"]
    assert get_live_forecast(house.engine, house.objects).kind == "population"
    policy = house.policy()
    assert (policy.chosen_kind, policy.chosen_by) == ("population", REVIEW_ACTOR)
    assert "promise" in policy.chosen_why
    assert house.review().result == "fell_back"
    train_and_promote(house.engine, house.objects, house.settings, NOW, NOW)
    assert get_live_snapshot(house.engine).kind == "population"


def test_a_review_that_only_reports_changes_nothing(house: House) -> None:
    """Without leave to act nothing is trained, proposed or made live, and there is a report."""
    plain = house.train("population")
    row = house.review(apply_result=False)
    assert (row.result, row.proposed_snapshot) == ("reported", None)
    assert "surely" in row.figures["why"] or "first opens more" in row.figures["why"]
    assert row.page
    assert get_live_snapshot(house.engine).id == plain
    with pytest.raises(BadRequest, match="nothing to promote"):
        promote(house.engine, "review/1", by="somebody", at=NOW)


def test_too_short_a_log_is_said(tmp_path: Path, sqlite_engine: Engine, office: pd.DataFrame) -> None:
    """A review of less than three weeks says how much is needed; without a live forecast there is nothing to review."""
    house = built(tmp_path, sqlite_engine, office[office["ts"] >= pd.Timestamp(NOW - timedelta(days=20))])
    assert house.review("review/0").result == "nothing_live"
    house.train("hour_of_week")
    row = house.review()
    assert (row.result, row.page) == ("too_little_log", None)
    assert "needs 21" in row.figures["why"]
    with read_transaction(house.engine) as connection:
        assert find_newest_review(connection) == row


def test_the_split_takes_what_the_log_has() -> None:
    """A long log gives the weeks that are set, a short one fewer scored weeks, and always two weeks to learn from."""
    rules = ReviewSettings(training_weeks=8, scored_weeks=4)
    long = choose_split(NOW - timedelta(weeks=30), NOW, rules)
    assert (long.test_from, long.train_from) == (NOW - timedelta(weeks=4), NOW - timedelta(weeks=12))
    short = choose_split(NOW - timedelta(days=25), NOW, rules)
    assert (short.test_from, short.train_from) == (NOW - timedelta(weeks=1), NOW - timedelta(days=25))


def test_a_sample_holds_whole_accounts(office: pd.DataFrame) -> None:
    """At most so many keys, or one account; the same ones at each call."""
    opens = opens_from_frame(office)
    some = sample_accounts(opens, 9)
    assert (some.key_count, len(set(some.account_id))) == (8, 2)
    assert set(sample_accounts(opens, 1).account_id) < set(some.account_id)
    assert sample_accounts(opens, 99) is opens
    assert (some.first_ts[1:] >= some.first_ts[:-1]).all()
