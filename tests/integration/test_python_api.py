"""The Python API controls which version serves, like the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import housepredict
from housepredict import Prices, UnknownModel

HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}


@pytest.fixture
def prices(tmp_path: Path) -> Iterator[Prices]:
    with housepredict.open(tmp_path, database_url="memory:", environment={}) as opened:
        yield opened


def test_train_reports_whether_version_is_promoted(prices: Prices) -> None:
    first = prices.train(None)
    assert first.verdict.promoted
    assert prices.predict(HOUSE).price == 254206.02
    again = prices.train(None)
    assert not again.verdict.promoted
    assert "Identical" in again.verdict.reasons[0]
    assert prices.model == first.version
    always = prices.train(None, promote="always")
    assert prices.model == always.version


def test_trainings_lists_succeeded_and_failed_jobs(prices: Prices) -> None:
    with pytest.raises(housepredict.UnusableSales):
        prices.train("nosuch.csv")
    made = prices.train(None)
    newest, failed = prices.trainings()
    assert newest.outcome
    assert (newest.state, newest.outcome.version) == ("succeeded", made.version.name)
    assert failed.outcome
    assert (failed.state, "nosuch.csv" in str(failed.outcome.error)) == ("failed", True)
    assert list(prices.trainings(limit=1)) == [newest]


def test_promote_takes_effect_at_once_and_rolls_back(prices: Prices) -> None:
    first = prices.train(None).version
    second = prices.train(None, promote="never").version
    assert prices.model == first
    assert prices.promote(second.name) == prices.model == second
    assert prices.rollback() == prices.model == first
    with pytest.raises(UnknownModel, match="no other version was promoted before"):
        prices.rollback()
    with pytest.raises(UnknownModel):
        prices.promote("nosuch")
    assert prices.model == first


def test_predict_explains_on_request(prices: Prices) -> None:
    prices.train(None)
    explained = prices.predict(HOUSE, explain=True)
    (also,) = prices.predict_many([HOUSE], explain=True)
    assert explained.explanation == also.explanation
    total = explained.explanation.base + sum(each.amount for each in explained.explanation.contributions)
    assert total == pytest.approx(explained.price, abs=0.005)
    assert not hasattr(prices.predict(HOUSE), "explanation")
    assert [each.id for each in prices.predictions(3)][1:] == [also.id, explained.id]


def test_invalid_promote_policy_is_rejected_before_training(prices: Prices) -> None:
    with pytest.raises(ValueError, match="perhaps"):
        prices.train(None, promote="perhaps")
    assert list(prices.models()) == []
