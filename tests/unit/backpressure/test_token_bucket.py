"""Tests of the token bucket that the classes share."""

import msgspec
import pytest

from adwarm.backpressure.shares import ClassDemand
from adwarm.backpressure.token_bucket import BucketRules, TokenBucket
from adwarm.model import Priority

RULES = BucketRules(rate=5.0, burst=8.0)
SHARES = (0.4, 0.3, 0.2, 0.1)
CRITICAL, HIGH, NORMAL, LOW = Priority
NOW = 100.0


def _bucket(tokens: float, *credits_: float) -> TokenBucket:
    return TokenBucket(tokens, NOW, [*credits_, 0.0, 0.0, 0.0, 0.0][:4])


def _waiting(*classes: Priority, at: float = 100.0) -> ClassDemand:
    demand = ClassDemand()
    for priority in classes:
        demand.record_wait(priority, at)
    return demand


def _wait(bucket: TokenBucket, priority: Priority, cost: float, demand: ClassDemand | None) -> float:
    return bucket.wait_seconds(RULES, SHARES, priority, cost, demand, NOW)


def test_time_earns_tokens_and_credits_up_to_their_caps() -> None:
    """Tokens grow to the burst, a credit to four seconds of its share of the rate or its share of the burst."""
    bucket = TokenBucket(0.0, NOW)
    bucket.refill(RULES, SHARES, NOW + 1)
    assert (bucket.tokens, bucket.refilled_at, bucket.credits) == (5.0, NOW + 1, pytest.approx([3.0, 2.5, 2.0, 1.5]))
    bucket.refill(RULES, SHARES, NOW + 1)
    assert bucket.tokens == 5.0
    bucket.refill(RULES, SHARES, NOW + 100)
    assert (bucket.tokens, bucket.credits) == (8.0, pytest.approx([8.0, 6.0, 4.0, 2.0]))
    bucket.refill(BucketRules(1.0, 4.0), (0.85, 0.05, 0.05, 0.05), NOW + 100)
    assert (bucket.tokens, bucket.credits) == (4.0, pytest.approx([3.4, 2.0, 2.0, 2.0]))
    bucket.refill(BucketRules(1.0, 100.0), SHARES, NOW + 300)
    assert (bucket.tokens, bucket.credits) == (100.0, pytest.approx([40.0, 30.0, 20.0, 10.0]))


def test_half_the_burst_is_reserved_for_critical_while_it_makes_requests() -> None:
    """Four of eight tokens, fewer when a large call would else wait for a full bucket; none for critical itself."""
    demand = _waiting(CRITICAL)
    assert _wait(_bucket(4.9), LOW, 1.0, demand) == pytest.approx(0.1 / 5)
    assert _wait(_bucket(6.9), LOW, 4.0, demand) == pytest.approx(0.1 / 5)
    assert _wait(_bucket(7.4), LOW, 7.5, demand) == pytest.approx(0.1 / 5)
    assert _wait(_bucket(4.9, 0, 0, 0, 1), LOW, 1.0, _waiting(CRITICAL, at=97.9)) == 0
    assert _wait(_bucket(0.9), CRITICAL, 1.0, demand) == pytest.approx(0.1 / 5)
    assert _wait(_bucket(1.0 - 5e-5), CRITICAL, 1.0, demand) == 0
    assert _wait(_bucket(1.0 - 2e-4), CRITICAL, 1.0, demand) == pytest.approx(4e-5)


def test_a_class_may_take_what_the_others_are_not_owed() -> None:
    """The credits of the other waiting classes are owed, but those of critical are not; a debt adds nothing."""
    assert _wait(_bucket(8.0, 0, 7), LOW, 1.0, _waiting(HIGH)) == 0
    assert _wait(_bucket(8.0, 0, 7.1), LOW, 1.0, _waiting(HIGH)) > 0
    assert _wait(_bucket(8.0, 0, 7.1), LOW, 1.0, _waiting(NORMAL)) == 0
    assert _wait(_bucket(8.0, 0, 4, 3.1), LOW, 1.0, _waiting(HIGH, NORMAL)) > 0
    assert _wait(_bucket(8.0, 0, 7.1, -5), LOW, 1.0, _waiting(HIGH, NORMAL)) > 0
    assert _wait(_bucket(8.0, 9, 0, 0, 0), LOW, 1.0, _waiting(CRITICAL, LOW)) == 0
    assert _wait(_bucket(6.0, 0, 0, 0, 9), LOW, 1.0, _waiting(CRITICAL, LOW)) == 0
    assert _wait(_bucket(5.5, 0, 1, 0, 0), LOW, 1.0, _waiting(CRITICAL, HIGH)) > 0


def test_a_class_with_credit_goes_unless_another_is_further_behind() -> None:
    """A token stays for each waiting class that has more credit for its share, and at least a call's."""
    everyone = _waiting(HIGH, NORMAL, LOW)
    assert _wait(_bucket(1.0, 0, 0, 1 - 5e-5, 9), NORMAL, 1.0, _waiting(LOW, at=97.0)) == 0
    assert _wait(_bucket(1.5, 0, 2.9, 2.0, 1.0), NORMAL, 1.0, everyone) == 0
    assert _wait(_bucket(1.5, 0, 3.1, 2.0, 1.0), NORMAL, 1.0, everyone) > 0
    assert _wait(_bucket(2.0, 0, 3.1, 2.0, 1.0), NORMAL, 1.0, everyone) == 0
    assert _wait(_bucket(2.5, 0, 3.1, 2.0, 1.1), NORMAL, 1.0, everyone) > 0
    assert _wait(_bucket(1.5, 0, 0.0, 1.5, 1.0), NORMAL, 1.0, everyone) > 0
    assert _wait(_bucket(1.5, 0, 0.0, 1.5, 0.9), NORMAL, 1.0, everyone) == 0
    assert _wait(_bucket(2.0, 0, 9.0, 1 - 2e-4, 0), NORMAL, 1.0, everyone) > 0


def test_critical_may_take_eight_seconds_of_its_share_ahead() -> None:
    """Sixteen tokens at this rate."""
    assert _wait(_bucket(1.0, -15, 9), CRITICAL, 1.0, _waiting(HIGH)) == 0
    assert _wait(_bucket(1.0, -15.1, 9), CRITICAL, 1.0, _waiting(HIGH)) > 0
    assert _wait(_bucket(1.0, 0, 9, -15), NORMAL, 1.0, _waiting(HIGH)) > 0


def test_a_class_without_a_claim_checks_again_when_its_credit_suffices() -> None:
    """Not before the next token, and within a second; a class without a share earns a hundredth of the rate."""
    demand, full = _waiting(HIGH), (8.0, 0, 8)
    assert _wait(_bucket(*full, 0, 0.8), LOW, 1.0, demand) == pytest.approx(0.4)
    assert _wait(_bucket(*full, 0, 0.95), LOW, 1.0, demand) == pytest.approx(0.2)
    assert _wait(_bucket(*full, 0, 0), LOW, 1.0, demand) == 1.0
    no_share = (0.5, 0.3, 0.2, 0.0)
    assert _bucket(*full, 0, 0.96).wait_seconds(RULES, no_share, LOW, 1.0, demand, NOW) == pytest.approx(0.8)


def test_a_class_pays_with_its_credit_unless_the_tokens_were_left_over() -> None:
    """Left-over tokens cost no credit; tokens owed to others, or reserved, cost credit that is yet to be earned."""

    def credit_after(bucket: TokenBucket, priority: Priority, demand: ClassDemand | None) -> float:
        before = bucket.tokens
        bucket.take(RULES, priority, 2.0, demand, NOW)
        assert bucket.tokens == before - 2.0
        return bucket.credits[priority]

    assert credit_after(_bucket(8.0, 0, 0, 0, 2.0), LOW, ClassDemand()) == 0.0
    assert credit_after(_bucket(8.0, 0, 0, 0, 3.0), LOW, ClassDemand()) == 1.0
    assert credit_after(_bucket(8.0, 0, 0, 0, 1.9), LOW, ClassDemand()) == 1.9
    assert credit_after(_bucket(8.0, 0, 6.0, 0, 1.0), LOW, _waiting(HIGH)) == 1.0
    assert credit_after(_bucket(8.0, 0, 6.1, 0, 1.0), LOW, _waiting(HIGH)) == -1.0
    assert credit_after(_bucket(6.0, 0, 0, 0, 1.0), LOW, _waiting(CRITICAL)) == 1.0
    assert credit_after(_bucket(5.9, 0, 0, 0, 1.0), LOW, _waiting(CRITICAL)) == -1.0
    assert credit_after(_bucket(1.9, 0, 0, 0, 1.0), LOW, None) == -1.0
    assert credit_after(_bucket(2.0, 0, 0, 0, 1.0), LOW, None) == 1.0


def test_a_stored_bucket_is_the_same() -> None:
    """What is stored is all of it; a new bucket has one token for each class."""
    bucket = _bucket(3.0, 0.1234567, 2, -1, 0.5)
    assert msgspec.json.decode(msgspec.json.encode(bucket), type=TokenBucket) == bucket
    assert TokenBucket(3.0, NOW).credits == [1.0] * 4


def alone(tokens: float, cost: float, now: float = 0.0) -> float:
    """Return the wait of a call with that cost at an undivided bucket."""
    bucket = TokenBucket(tokens, 0.0)
    bucket.refill(RULES, SHARES, now)
    return bucket.wait_seconds(RULES, SHARES, NORMAL, cost, None, now)


def test_the_wait_is_exact() -> None:
    """Neither too short nor too long."""
    assert pytest.approx(0.2) == alone(0.0, 1)
    assert alone(0.0, 1, now=0.2) == 0


def test_a_cost_above_the_burst_goes_when_full_and_leaves_a_debt() -> None:
    """A large call is not refused forever, and later calls wait for its debt."""
    assert alone(8.0, 20) == 0
    assert pytest.approx(13 / 5) == alone(-12.0, 1)


def test_a_clock_that_steps_back_refills_nothing() -> None:
    """No token is made or lost when the clock is set back."""
    bucket = TokenBucket(0.0, 100.0)
    bucket.refill(RULES, SHARES, 90.0)

    assert (bucket.tokens, bucket.refilled_at) == (0.0, 100.0)


def served(offered: dict[Priority, float], seconds: float = 300.0, rate: float = 6.0) -> dict[Priority, float]:
    """Return the calls per second of each class, when it retries every 50 ms until its backlog is served."""
    rules, demand = BucketRules(rate, 4.0), ClassDemand()
    bucket = TokenBucket(4.0, 0.0)
    backlog, got = dict.fromkeys(offered, 0.0), dict.fromkeys(offered, 0)
    step = 0.05
    for turn in range(1, int(seconds / step)):
        now = turn * step
        order = list(offered)[turn % len(offered) :] + list(offered)[: turn % len(offered)]
        for priority in order:
            backlog[priority] += offered[priority] * step
            if backlog[priority] < 1:
                continue
            bucket.refill(rules, SHARES, now)
            if bucket.wait_seconds(rules, SHARES, priority, 1.0, demand, now) > 0:
                demand.record_wait(priority, now)
                continue
            bucket.take(rules, priority, 1.0, demand, now)
            demand.record_grant(priority, now)
            backlog[priority] -= 1
            got[priority] += 1
    return {priority: count / seconds for priority, count in got.items()}


def test_an_overload_divides_the_rate_by_shares() -> None:
    """Every class requests more than there is: 0.4, 0.3, 0.2 and 0.1 of the rate, and nothing is wasted."""
    got = served(dict.fromkeys(Priority, 9.0))

    assert [got[priority] / 6 for priority in Priority] == pytest.approx([0.4, 0.3, 0.2, 0.1], rel=0.1)
    assert sum(got.values()) == pytest.approx(6, rel=0.03)


def test_what_a_class_leaves_over_is_lent() -> None:
    """Critical uses less than its share, normal nothing: high and low take the rest, and nothing is wasted."""
    got = served({CRITICAL: 1.2, HIGH: 9.0, LOW: 9.0})

    assert got[CRITICAL] == pytest.approx(1.2, rel=0.05)
    assert got[LOW] >= 0.6
    assert sum(got.values()) == pytest.approx(6, rel=0.03)


def test_the_lowest_class_alone_has_the_whole_rate() -> None:
    """No higher class waits, so nothing is reserved."""
    assert served({LOW: 9.0})[LOW] == pytest.approx(6, rel=0.03)
