"""The dataset is reproducible, and its figures are consistent with each other."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_simulator.ads import AdKind, Metric
from graph_simulator.config import SimulatorConfig
from graph_simulator.dataset import AdTotals, Dataset, estimate_reach
from graph_simulator.date_ranges import DateRange
from graph_simulator.error_responses import UnknownAd

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TODAY = NOW.date()
accounts = st.integers(1, 10**17).map(lambda number: f"act_{number}")
windows = st.tuples(st.integers(0, 120), st.integers(0, 40)).map(
    lambda pair: DateRange(TODAY - timedelta(days=pair[0] + pair[1]), TODAY - timedelta(days=pair[0]))
)


def small_dataset(seed: int = 7, **changes: object) -> Dataset:
    """A dataset with few ads per account."""
    return Dataset(SimulatorConfig(**{"ads": 4, "seed": seed, **changes}))  # type: ignore[arg-type]


def daily(window: DateRange) -> list[DateRange]:
    """Each day of a range as a range of its own."""
    return [DateRange(day, day) for day in window.days()]


def figures(ad_totals: AdTotals) -> list[tuple[str, list[int], int]]:
    """Totals by window and ad, without ads that have no delivery."""
    return [
        (f"{window} {ad.truth.ad_id}", ad_totals.totals[:, w, a].tolist(), int(ad_totals.reach[w, a]))
        for w, window in enumerate(ad_totals.windows)
        for a, ad in enumerate(ad_totals.ads)
        if ad_totals.totals[Metric.IMPRESSIONS, w, a]
    ]


@settings(max_examples=25, deadline=None)
@given(accounts, st.lists(windows, min_size=1, max_size=4))
def test_windows_together_equal_windows_alone(account: str, query_params: list[DateRange]) -> None:
    """The totals of a range depend neither on other ranges of the same call nor on earlier calls."""
    together = figures(small_dataset().ad_totals(account, query_params, NOW))
    other = small_dataset()
    alone = [row for window in reversed(query_params) for row in figures(other.ad_totals(account, [window], NOW))]
    assert sorted(together) == sorted(alone)


@settings(max_examples=25, deadline=None)
@given(accounts, windows, st.integers(0, 3))
def test_figures_are_consistent(account: str, window: DateRange, seed: int) -> None:
    """Reach never exceeds impressions, link clicks never clicks, clicks never impressions."""
    ad_totals = small_dataset(seed).ad_totals(account, daily(window), NOW)
    shown = ad_totals.totals
    assert (ad_totals.reach <= shown[Metric.IMPRESSIONS]).all()
    assert ((ad_totals.reach > 0) == (shown[Metric.IMPRESSIONS] > 0)).all()
    assert (shown[Metric.CLICKS] <= shown[Metric.IMPRESSIONS]).all()
    assert (shown[Metric.LINK_CLICKS] <= shown[Metric.CLICKS]).all()
    assert (shown[Metric.PURCHASES] <= shown[Metric.CARTS]).all()
    assert (shown >= 0).all()


@settings(max_examples=25, deadline=None)
@given(accounts, windows)
def test_reach_of_a_range_is_not_the_sum_of_its_days(account: str, window: DateRange) -> None:
    """A range reaches at least as many people as its best day, and at most as many as all its days together."""
    source = small_dataset()
    span = source.ad_totals(account, [window], NOW)
    days = source.ad_totals(account, daily(window), NOW)
    assert (span.reach[0] <= days.reach.sum(axis=0)).all()
    assert (span.reach[0] >= days.reach.max(axis=0, initial=0)).all()
    assert (span.totals[:, 0] == days.totals.sum(axis=1)).all()


@settings(max_examples=25, deadline=None)
@given(accounts, st.integers(0, 60), st.integers(0, 72))
def test_restatement_only_adds(account: str, age: int, later_hours: int) -> None:
    """A day's figures only grow as it ages, and do not change once it is older than 28 days."""
    source = small_dataset()
    day = TODAY - timedelta(days=age)
    before = source.ad_totals(account, [DateRange(day, day)], NOW)
    after = source.ad_totals(account, [DateRange(day, day)], NOW + timedelta(hours=later_hours))
    assert (after.totals >= before.totals).all()
    if age >= 28:
        assert (after.totals == before.totals).all()


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_reach_is_concave(audience: int, one: int, other: int) -> None:
    """Two sets of impressions together never reach more people than the two apart."""
    shown = np.array([one, other, one + other], dtype=np.int64)
    first, second, both = estimate_reach(shown, np.full(3, float(audience))).tolist()
    assert max(first, second) <= both <= first + second


def test_future_days_have_no_delivery() -> None:
    """Future days are empty, and today has only the share of the day that has passed."""
    source = small_dataset()
    tomorrow = TODAY + timedelta(days=1)
    assert not source.ad_totals("act_1", [DateRange(tomorrow, tomorrow)], NOW).totals.any()
    morning = source.ad_totals("act_1", [DateRange(TODAY, TODAY)], NOW - timedelta(hours=6)).totals
    assert morning.sum() < source.ad_totals("act_1", [DateRange(TODAY, TODAY)], NOW).totals.sum()


def test_days_are_counted_in_the_accounts_zone() -> None:
    """Where the next day has begun, it has delivery."""
    source = small_dataset(zone={"act_1": "Pacific/Auckland"})
    late = NOW.replace(hour=23)
    assert source.today("act_1", late) == date(2026, 11, 26)
    assert source.ad_totals("act_1", [DateRange(date(2026, 11, 26), date(2026, 11, 26))], late).totals.any()


def planted(kind: AdKind) -> list[tuple[str, str]]:
    """Accounts and ads of a kind that ended before NOW."""
    source = small_dataset()
    names = [f"act_{number}" for number in range(1, 60)]
    return [
        (account, truth.ad_id)
        for account in names
        for truth in source.truths(account, TODAY - timedelta(days=150))
        if truth.kind is kind
    ]


def ctr_and_frequency(account: str, ad_id: str, since: date, days: int) -> tuple[float, float]:
    """Click rate and mean daily frequency of an ad over some days."""
    ad_totals = small_dataset().ad_totals(account, daily(DateRange(since, since + timedelta(days=days - 1))), NOW)
    index = [ad.truth.ad_id for ad in ad_totals.ads].index(ad_id)
    shown = ad_totals.totals[Metric.IMPRESSIONS, :, index].sum()
    return ad_totals.totals[Metric.CLICKS, :, index].sum() / shown, shown / ad_totals.reach[:, index].sum()


def test_planted_fatigue_shows() -> None:
    """Within two weeks of its onset, a fatigued ad's click rate falls by a fifth and its frequency rises."""
    source = small_dataset()
    falls, rises = [], []
    for account, ad_id in planted(AdKind.FATIGUED):
        truth = source.truth(account, ad_id)
        assert truth.onset is not None
        if (truth.onset - truth.started).days < 10 or (truth.ended - truth.onset).days < 14:
            continue
        before = ctr_and_frequency(account, ad_id, truth.onset - timedelta(days=10), 10)
        after = ctr_and_frequency(account, ad_id, truth.onset + timedelta(days=8), 6)
        falls.append(after[0] / before[0])
        rises.append(after[1] / before[1])
    assert len(falls) > 10
    assert np.median(falls) < 0.8
    assert np.median(rises) > 1.15


def test_other_ads_do_not_tire() -> None:
    """Healthy, low-volume and weekend-dip ads have no onset; healthy click rates hold."""
    source = small_dataset()
    for kind in (AdKind.HEALTHY, AdKind.LOW_VOLUME, AdKind.WEEKEND_DIP):
        assert all(source.truth(*names).onset is None for names in planted(kind))
    ratios = []
    for account, ad_id in planted(AdKind.HEALTHY)[:20]:
        truth = source.truth(account, ad_id)
        early = ctr_and_frequency(account, ad_id, truth.started, 10)
        late = ctr_and_frequency(account, ad_id, truth.ended - timedelta(days=9), 10)
        ratios.append(late[0] / early[0])
    assert 0.85 < np.median(ratios) < 1.15


def test_truth_of_an_unknown_ad() -> None:
    """The truth of another account's ad, or of an unknown one, is an error."""
    source = small_dataset()
    stranger = source.truths("act_2", TODAY)[0].ad_id
    for ad_id in (stranger, "1", "x" * 18):
        with pytest.raises(UnknownAd):
            source.truth("act_1", ad_id)


def test_seeds_change_the_rows() -> None:
    """Different seeds give different rows."""
    window = DateRange(TODAY - timedelta(days=40), TODAY - timedelta(days=35))
    assert figures(small_dataset(1).ad_totals("act_1", [window], NOW)) != figures(
        small_dataset(2).ad_totals("act_1", [window], NOW)
    )


def test_which_accounts_exist() -> None:
    """Accounts are a number of them, a list, or any that is requested."""
    counted, listed, any_of = small_dataset(accounts=3), small_dataset(accounts=("5", "act_6")), small_dataset()
    assert len(counted.account_ids()) == 3
    assert counted.exists(counted.account_ids()[0])
    assert not counted.exists("act_5")
    assert listed.account_ids() == ("act_5", "act_6")
    assert any_of.account_ids() == ()
    assert any_of.exists("act_9")
    assert any_of.account_ids() == ("act_9",)


def test_decoys_change_nothing_but_themselves() -> None:
    """Decoys replace healthy ads only; all other ads, and each decoy before its turn, keep their figures."""
    plain, decoyed = small_dataset(), small_dataset(decoys=0.5)
    window = DateRange(TODAY - timedelta(days=100), TODAY - timedelta(days=40))
    kinds = set()
    for account in (f"act_{number}" for number in range(1, 30)):
        before, after = plain.ad_totals(account, daily(window), NOW), decoyed.ad_totals(account, daily(window), NOW)
        for index, (old, new) in enumerate(zip(before.ads, after.ads, strict=True)):
            kinds.add(new.truth.kind)
            same = before.totals[:, :, index] == after.totals[:, :, index]
            if new.truth.turn is None:
                assert same.all()
                continue
            assert old.truth.kind is AdKind.HEALTHY
            assert same[:, : max(0, (new.truth.turn - window.since).days)].all()
    assert kinds == set(AdKind)


@pytest.mark.parametrize(("kind", "volume", "price"), [(AdKind.BUDGET_CUT, 0.35, 1.0), (AdKind.PRICE_SHOCK, 1.0, 1.6)])
def test_decoys_only_seem_to_tire(kind: AdKind, volume: float, price: float) -> None:
    """A budget cut lowers volume, a price rise raises the price; click rates hold in both."""
    plain, decoyed = small_dataset(), small_dataset(decoys=1.0)
    volumes, prices, rates = [], [], []
    for account in (f"act_{number}" for number in range(1, 30)):
        day = TODAY - timedelta(days=60)
        windows = [DateRange(day, day)]
        before, after = plain.ad_totals(account, windows, NOW), decoyed.ad_totals(account, windows, NOW)
        for index, ad in enumerate(after.ads):
            if ad.truth.kind is not kind or ad.truth.turn is None or not ad.truth.turn <= day <= ad.truth.ended:
                continue
            old, new = before.totals[:, 0, index], after.totals[:, 0, index]
            if new[Metric.IMPRESSIONS] < 300:
                continue
            share = new / np.maximum(old, 1)
            volumes.append(share[Metric.IMPRESSIONS])
            prices.append(share[Metric.SPEND_CENTS] / share[Metric.IMPRESSIONS])
            rates.append(share[Metric.CLICKS] / share[Metric.IMPRESSIONS])
    assert np.median(volumes) == pytest.approx(volume, rel=0.05)
    assert np.median(prices) == pytest.approx(price, rel=0.05)
    assert np.median(rates) == pytest.approx(1, rel=0.1)
