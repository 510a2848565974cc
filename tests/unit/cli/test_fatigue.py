"""`adwarm fatigue`: an account, an ad, what changed, files, and clear errors."""

import csv
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from adwarm.model import Account
from adwarm.runtime import Runtime
from adwarm.store import accounts
from adwarm.store.database import write_transaction
from adwarm.store.fatigue_days import table as fatigue_day
from tests.support import fatigue_scores
from tests.unit.fatigue.stored_ads import ACCOUNT, DAYS, EVIL, LAST_DAY, NOW, make_score, store_account

from .conftest import Adwarm


@pytest.fixture
def stored(adwarm: Adwarm) -> Adwarm:
    """The command line over a home with a scored account, and one without scores."""
    runtime = Runtime()
    store_account(runtime.context)
    accounts.save(runtime.engine, [Account("act_2")], NOW)
    return adwarm


def test_an_account(stored: Adwarm) -> None:
    """Alarms come first, columns are in words, and the last line sums the account up."""
    text = stored("fatigue", "1").stdout
    assert f"Harbor <Coffee> on {LAST_DAY}" in text
    assert text.index("=1+1") < text.index("ad 2") < text.index("ad 3")
    assert "alarm since 2026-11-18" in " ".join(text.split())
    assert "3 creatives (1 critical, 0 warning, 1 healthy, 1 pending); 1 alarm; score 29 weighted by spend; 25%" in text

    document = stored("fatigue", ACCOUNT, "--json").json
    assert (document["account"], document["as_of"]) == (ACCOUNT, str(LAST_DAY))
    assert [score["ad_id"] for score in document["scores"]] == ["1", "2", "3"]
    assert document["summary"]["fatigued_share"] == 0.25
    assert document["scores"][0]["recommendation"].startswith("Pause and replace")


def _store_creative() -> None:
    """Store a creative with two ads, one of which loses less than the other."""
    scores = [
        make_score("creative-9", account_id="act_2", ad_name="Sale", loss=0.3, recent_spend=900.0, alarm="alarm"),
        make_score("a", account_id="act_2", loss=0.2, recent_spend=500.0, part_of="creative-9"),
        make_score("b", account_id="act_2", loss=0.5, recent_spend=400.0, part_of="creative-9"),
        make_score("c", account_id="act_2", recent_spend=5.0),
    ]
    fatigue_scores.publish(Runtime().engine, scores, 1, True, NOW)


def test_a_creative_with_its_ads_beneath(stored: Adwarm) -> None:
    """A creative is followed by its ads; each has a page of its own, and the file holds all of them."""
    _store_creative()
    text = stored("fatigue", "act_2").stdout
    assert text.index("creative-9") < text.index("└ b") < text.index("└ a") < text.index("ad c")
    assert "2 creatives (0 critical" in text
    listed = stored("fatigue", "act_2", "--json").json["scores"]
    assert [(item["ad_id"], [ad["ad_id"] for ad in item["ads"]]) for item in listed] == [
        ("creative-9", ["b", "a"]), ("c", []),
    ]  # fmt: skip
    assert stored("fatigue", "act_2", "--ad", "b", "--json").json["part_of"] == "creative-9"
    assert "ad b (b); ad a (a)" in " ".join(stored("fatigue", "act_2", "--ad", "creative-9").stdout.split())
    stored("fatigue", "act_2", "--csv", "scores.csv")
    with Path("scores.csv").open(encoding="utf-8", newline="") as file:
        assert [row["ad_id"] for row in csv.DictReader(file)] == ["creative-9", "b", "a", "c"]
    Path("scores.csv").unlink()


def test_what_needs_action_in_all_accounts(stored: Adwarm) -> None:
    """Without an account, the creatives of all accounts that need action, as on the page; other options need it."""
    _store_creative()
    text = stored("fatigue").stdout
    assert "2 of 5 creatives need action" in text
    assert text.index("creative-9") < text.index("└ b") < text.index("=1+1")
    assert [item["ad_id"] for item in stored("fatigue", "--json").json["scores"]] == ["creative-9", "1"]
    refused = stored("fatigue", "--changes")
    assert (refused.exit_code, "name an account" in refused.stderr) == (1, True)


def test_old_scores_are_not_called_fine(stored: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """When even the newest scores are too old to act on, the command says so, as page and digest do."""
    after = LAST_DAY + timedelta(days=1)
    monkeypatch.setattr("adwarm.queries.fatigue_ads.get_first_fresh_day", lambda now: after)
    text = " ".join(stored("fatigue").stdout.split())
    assert f"the newest scores are of {LAST_DAY}, too old to act on" in text
    assert "nothing needs action" not in text


def test_an_earlier_day_and_a_status(stored: Adwarm) -> None:
    """`--as-of` shows the newest scores up to a day, `--status` one band; the summary counts every ad."""
    document = stored("fatigue", ACCOUNT, "--as-of", "2026-11-10", "--status", "healthy,pending", "--json").json
    assert document["as_of"] == "2026-11-10"
    assert [score["ad_id"] for score in document["scores"]] == ["2", "1", "3"]
    document = stored("fatigue", ACCOUNT, "--status", "critical", "--json").json
    assert [score["ad_id"] for score in document["scores"]] == ["1"]
    assert document["summary"]["creatives"] == 3
    assert "none in this band" in stored("fatigue", ACCOUNT, "--status", "warning").stdout


def test_one_ad(stored: Adwarm) -> None:
    """An ad in detail has what to do, the figures behind it, and every other figure of the score."""
    text = " ".join(stored("fatigue", ACCOUNT, "--ad", "1").stdout.split())
    assert "Pause and replace the creative" in text
    assert "15 of 17 such alarms held" in text
    assert "click-through rate 0.90%, 10% below its good weeks" in text
    assert "alarm since" in text
    assert "baseline" not in text
    assert stored("fatigue", ACCOUNT, "--ad", "1", "--json").json["onset"] == "2026-11-15"


def test_own_outcomes_stand_in_the_document(stored: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reasons of one ad and of all say how alarms of this installation turned out."""
    own = "of 30 such alarms here 28 still had a lower rate"
    monkeypatch.setattr("adwarm.fatigue.report.find_outcomes", lambda engine: own)
    one = stored("fatigue", ACCOUNT, "--ad", "1", "--json").json
    (listed,) = stored("fatigue", ACCOUNT, "--status", "critical", "--json").json["scores"]
    assert one["reasons"][-1] == listed["reasons"][-1] == own


@pytest.mark.slow
def test_changes(stored: Adwarm) -> None:
    """The change log compares with the scored day before; a first day has none."""
    document = stored("fatigue", ACCOUNT, "--changes", "--as-of", "2026-11-18", "--json").json
    assert (document["since"], document["as_of"]) == ("2026-11-17", "2026-11-18")
    assert [(item["kind"], item["ad_id"]) for item in document["changes"]] == [("alarm", "1")]
    document = stored("fatigue", ACCOUNT, "--changes", "--as-of", "2026-11-19", "--json").json
    assert [(item["kind"], item["text"]) for item in document["changes"]] == [
        ("worse", "healthy (5% lost) → critical (62% lost)")
    ]
    assert "changed from 2026-11-23 to 2026-11-24: nothing" in stored("fatigue", ACCOUNT, "--changes").stdout
    chosen = ("fatigue", ACCOUNT, "--changes", "--as-of", "2026-11-19", "--status")
    assert [item["ad_id"] for item in stored(*chosen, "critical", "--json").json["changes"]] == ["1"]
    assert stored(*chosen, "healthy", "--json").json["changes"] == []
    first = stored("fatigue", ACCOUNT, "--changes", "--as-of", "2026-11-05")
    assert (first.exit_code, "to compare with" in first.stderr) == (1, True)


def test_changes_after_a_backfill(stored: Adwarm) -> None:
    """When the earlier day was calculated with or after the later one, the last line says so, once."""
    late = "were calculated again or later; that day may have shown others"
    assert late not in stored("fatigue", ACCOUNT, "--changes", "--as-of", "2026-11-19").stdout
    with write_transaction(Runtime().engine) as connection:
        connection.execute(update(fatigue_day).values(calculated_at=NOW))
    assert stored("fatigue", ACCOUNT, "--changes", "--as-of", "2026-11-19").stdout.count(late) == 1


def test_files(stored: Adwarm, tmp_path: Path) -> None:
    """A CSV file is written, replaces what is there, and is named; that of an ad holds its history."""
    table = tmp_path / "new" / "scores.csv"
    result = stored("fatigue", ACCOUNT, "--csv", str(table))
    assert f"wrote {table}" in result.stderr
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ad_name"] for row in rows] == [f"'{EVIL}", "ad 2", "ad 3"]

    document = stored("fatigue", ACCOUNT, "--ad", "1", "--csv", str(table), "--json").json
    assert document["files"] == {"csv": str(table)}
    with table.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == DAYS


def test_mistakes_say_what_to_do(stored: Adwarm, subtests: pytest.Subtests) -> None:
    """What is wrong is named, with exit code 1 and no traceback."""
    for words, message in [
        (("act_9",), "the account act_9 is not known"),
        (("act_2",), "the DAG adwarm_daily_insights makes them"),
        (("x y",), "account"),
        ((ACCOUNT, "--as-of", "2025-01-01"), "no scores up to 2025-01-01; its newest ones are of 2026-11-24"),
        ((ACCOUNT, "--as-of", "yesterday"), "is not a day"),
        ((ACCOUNT, "--ad", "77"), "has no ad '77'"),
        ((ACCOUNT, "--ad", "1", "--status", "healthy"), "another status"),
        ((ACCOUNT, "--status", "sick"), "write one of healthy, warning, critical, pending"),
        ((ACCOUNT, "--csv", "/proc/none/x.csv"), "--csv /proc/none/x.csv cannot be written"),
    ]:
        with subtests.test(words=words, message=message):
            result = stored("fatigue", *words)
            assert result.exit_code == 1
            assert message in result.stderr
