"""Notices follow the planted wear, and nothing else."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np

from graph_simulator.ads import Metric, planted_cost_ratio
from graph_simulator.config import SimulatorConfig
from graph_simulator.dataset import Dataset
from graph_simulator.fatigue_notices import LEVELS, THRESHOLDS, FatigueNotice, list_notices, webhook_body

CONFIG = SimulatorConfig(accounts=2, ads=20, decoys=0.5, zone="America/New_York")
FIRST = datetime(2026, 8, 1, tzinfo=UTC)
ACCOUNT, OTHER = CONFIG.account_ids()
LAST = datetime(2026, 11, 25, tzinfo=UTC)


def test_only_fatigued_ads_are_noticed() -> None:
    """Healthy ads and decoys have no notice; each fatigued ad reaches the levels in order, after its onset."""
    dataset = Dataset(CONFIG)
    notices = list_notices(dataset, ACCOUNT, FIRST, LAST)
    truths = {truth.ad_id: truth for truth in dataset.truths_between(ACCOUNT, date(2026, 7, 1), date(2026, 11, 25))}
    assert len(notices) > 20
    for notice in notices:
        onset = truths[notice.ad_id].onset
        assert onset is not None
        assert notice.at.date() > onset
    levels: dict[str, list[int]] = {}
    for notice in notices:
        levels.setdefault(notice.ad_id, []).append(LEVELS.index(notice.level))
    assert all(found == sorted(set(found)) for found in levels.values())
    assert {level for found in levels.values() for level in found} == {0, 1, 2}


def test_the_level_is_that_of_the_cost() -> None:
    """The planted cost on the day before a notice is at its level, the day before that it was below."""
    dataset = Dataset(CONFIG)
    ads = {ad.truth.ad_id: ad for ad in dataset.ads_between(ACCOUNT, date(2026, 7, 1), date(2026, 11, 25))}
    for notice in list_notices(dataset, ACCOUNT, FIRST, LAST):
        ad = ads[notice.ad_id]
        ratio = planted_cost_ratio(ad)
        day = (notice.at.date() - ad.truth.started).days - 1
        limit = THRESHOLDS[LEVELS.index(notice.level)]
        assert ratio[day] >= limit > ratio[day - 1]


def test_the_planted_cost_shows_in_the_figures() -> None:
    """Over all fatigued ads, the cost of a click late in life is about as many times its start as the planted ratio."""
    dataset = Dataset(SimulatorConfig(accounts=1, ads=400))
    shares = []
    for ad in dataset.ads_between(dataset.account_ids()[0], date(2026, 8, 1), date(2026, 11, 25)):
        if ad.truth.onset is None:
            assert (planted_cost_ratio(ad) == 1).all()
            continue
        clicks, cents = ad.daily[Metric.CLICKS], ad.daily[Metric.SPEND_CENTS]
        onset = (ad.truth.onset - ad.truth.started).days
        before, after = slice(0, onset), slice(-5, None)
        if min(clicks[before].sum(), clicks[after].sum()) < 60:
            continue
        cost = cents[after].sum() / clicks[after].sum() / (cents[before].sum() / clicks[before].sum())
        shares.append(cost / planted_cost_ratio(ad)[after].mean())
    assert len(shares) > 40
    assert 0.95 < float(np.median(shares)) < 1.05


def test_spans_join_without_gap_or_overlap() -> None:
    """Days listed one by one, or split at any hour, give the same notices as one span."""
    dataset = Dataset(CONFIG)
    whole = list_notices(dataset, ACCOUNT, FIRST, LAST)
    cuts = [FIRST + timedelta(hours=17) * number for number in range(200)]
    parts: list[FatigueNotice] = []
    for after, until in pairwise(min(cut, LAST) for cut in cuts):
        parts += list_notices(dataset, ACCOUNT, after, until)
    assert cuts[-1] > LAST
    assert parts == whole
    assert {notice.at.hour for notice in whole} == {13, 14}  # nine in New York, in summer and in winter
    assert list_notices(dataset, OTHER, FIRST, LAST) != whole


def test_the_body_of_a_webhook() -> None:
    """The body has the documented form: ids without `act_`, time in seconds, level and message."""
    (notice, *_) = list_notices(Dataset(CONFIG), ACCOUNT, FIRST, LAST)
    document = json.loads(webhook_body([notice]))
    (entry,) = document["entry"]
    (change,) = entry["changes"]
    assert (document["object"], entry["id"], entry["time"]) == ("ad_account", ACCOUNT[4:], notice.at.timestamp())
    assert change["field"] == "creative_fatigue"
    assert change["value"]["adgroup_id"] == notice.ad_id
    assert change["value"]["creative_fatigue_level"] in LEVELS
    assert set(change["value"]) == {
        "ad_account_id",
        "adgroup_id",
        "creative_fatigue_level",
        "creative_fatigue_message",
    }
