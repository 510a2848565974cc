"""Judging keys block by block gives what judging them together gives."""

import numpy as np
import pytest

from adwarm.forecast.batch_predict import predict_in_batches
from adwarm.forecast.features.grid import SLOT_MICROS, OpenGrid
from adwarm.forecast.models.boosted_model import Horizons, train
from adwarm.patterns.opens import opens_from_frame
from tests.unit.forecast.models.test_boosted_model import log, micros


@pytest.mark.parametrize("keys_at_once", [1, 4, 100])
def test_blocks_change_nothing(keys_at_once: int) -> None:
    """However many keys are judged at once, worth and chance are the same."""
    opens, at = log(), micros(45, 8)
    model = train(opens, micros(10), Horizons(4, 12))
    grid = OpenGrid.from_opens(opens.before(at), at)
    keys = opens.before(at).key_count
    together = model.predict(grid, np.arange(keys), np.full(keys, at // SLOT_MICROS - grid.origin))

    worth, chance = predict_in_batches(model, opens, at, keys_at_once=keys_at_once)

    assert np.allclose(worth, together[0])
    assert np.allclose(chance, together[1])
    assert chance.max() > 0


def test_accounts_of_no_asked_key_are_left_out() -> None:
    """An account is judged whole when any of its keys is asked about, as if all were; the others have no answer."""
    opens, at = log(), micros(45, 8)
    model = train(opens, micros(10), Horizons(4, 12))
    whole, known = predict_in_batches(model, opens, at)[1], opens.before(at)
    asked = np.arange(known.key_count) == 3
    chance = predict_in_batches(model, opens, at, selected=asked)[1]
    same = known.account == known.account[3]
    assert np.allclose(chance[same], whole[same])
    assert np.isnan(chance[~same]).all()


def test_nothing_known_gives_nothing() -> None:
    """An empty log has no keys to judge."""
    empty = opens_from_frame(log().to_frame()).before(0)
    worth, _ = predict_in_batches(train(empty, micros(0), Horizons()), empty, micros(0))
    assert len(worth) == 0
