"""Tests of the sizing model: it follows accounts, ads and settings, and every unit cost that it needs is recorded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.settings import Settings
from adwarm.settings.recovery_sections import RetentionSettings
from dev.sizing import Installation, describe, estimate, load_facts, main

_counts = st.integers(1, 200_000)


@given(_counts, _counts, st.integers(1, 50), st.integers(1, 500))
def test_more_accounts_need_no_less(one: int, other: int, keys: int, ads: int) -> None:
    """Every figure grows with the accounts, and the calls are proportional to them."""
    few, many = (estimate(Installation(accounts, keys, ads)) for accounts in sorted((one, other)))

    assert few.calls * max(one, other) == pytest.approx(many.calls * min(one, other))
    assert few.database <= many.database
    assert few.objects <= many.objects
    assert (few.call_slots, few.processes) <= (many.call_slots, many.processes)
    assert (few.commits, few.journal, few.plan_seconds) <= (many.commits, many.journal, many.plan_seconds)


def test_settings_change_the_sizes() -> None:
    """Half the days of scores are half their rows, and the cache's limit bounds the payloads."""
    large = Installation(50_000, keys=10, ads=100)
    usual = estimate(large)
    shorter = estimate(large, Settings(retention=RetentionSettings(score_days=200)))

    assert shorter.tables["fatigue_score"] == pytest.approx(usual.tables["fatigue_score"] / 2)
    assert usual.tables["payload"] == Settings().cache.max_bytes
    assert usual.tables["entry"] < estimate(large, Settings(cache={"max_bytes": 2**50})).tables["entry"]


def test_the_recorded_costs_are_measured_ones() -> None:
    """No unit cost is missing, negative or absurd: a score has hundreds of bytes, a call takes milliseconds."""
    unit = load_facts()["unit_costs"]

    assert all(value > 0 for value in unit.values())
    assert 100 < unit["row_fatigue_score"] < 2_000
    assert 0.001 < unit["cpu_base"] + 30 * unit["cpu_ad"] < 1.0


def test_the_command_prints_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """`make sizing ACCOUNTS=5000` names the settings to change and what is largest."""
    assert main(["--accounts", "5000", "--ads", "80"]) == 0
    out = capsys.readouterr().out
    assert "5,000 accounts of 4 keys and 80 ads" in out
    assert all(what.replace("`", "")[:20] in out for what in describe(estimate(Installation(1))))
    assert "fatigue_score" in out


@pytest.mark.parametrize("word", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A count that is not a number above 0 ends with the reason."""
    with pytest.raises(SystemExit) as error:
        main([f"--accounts={word}"])
    assert error.value.code == 2
    assert "is not a number above 0" in capsys.readouterr().err
