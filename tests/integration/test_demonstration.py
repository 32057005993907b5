"""The demonstration model equals a model trained on synthetic sales, and gives the tutorial's prices to the cent."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import asdict, evolve

from housepredict.adapters.serving.demonstration import load_demonstration, load_demonstration_explainer
from housepredict.adapters.serving.loader import SERVING_FILE, load_explainer, load_predictor
from housepredict.domain.estimates import round_to_cents
from housepredict.domain.features import House
from housepredict.domain.training_options import TrainingOptions
from housepredict.entrypoints.composition import Application, sales_at
from housepredict.entrypoints.settings import read_settings


def test_demonstration_matches_fresh_training(tmp_path: Path) -> None:
    with Application(read_settings({}, data_dir=tmp_path)) as application:
        training = application.train(sales_at(None), TrainingOptions(), lambda _done, _total: None)
        trained, artifact = application.models.get(training.version.name)
    shipped = load_demonstration().version
    source = evolve(trained.source, read_on=None)  # the day of training
    assert (trained.schema, trained.options, source) == (shipped.schema, shipped.options, shipped.source)
    # the last bit of a sum depends on the processor
    assert asdict(trained.evaluation.accuracy) == pytest.approx(asdict(shipped.evaluation.accuracy))
    houses = [House({"size": float(size), "bedrooms": size % 5 + 1, "age": size % 50}) for size in range(400, 4000, 7)]
    ours = [round_to_cents(price) for price in load_predictor(trained, artifact).predict(houses).prices]
    assert ours == [round_to_cents(price) for price in load_demonstration().predict(houses).prices]
    assert SERVING_FILE in artifact
    trained_explanations, shipped_explanations = (
        load_explainer(trained, artifact).explain(houses),
        load_demonstration_explainer().explain(houses),
    )
    for explanation, expected in zip(shipped_explanations, trained_explanations, strict=True):
        assert explanation.base == pytest.approx(expected.base)
        assert [each.amount for each in explanation.contributions] == pytest.approx(
            [each.amount for each in expected.contributions], abs=1e-6
        )


def test_demonstration_mse_matches_tutorial() -> None:
    assert load_demonstration().version.evaluation.accuracy.mse == pytest.approx(89841841.26, abs=0.005)


@pytest.mark.parametrize(
    ("size", "bedrooms", "age", "price"), [(2500, 3, 10, 254206.02), (1800, 2, 5, 184364.58), (3000, 4, 15, 304136.71)]
)
def test_demonstration_prices_match_tutorial(size: int, bedrooms: int, age: int, price: float) -> None:
    (estimate,) = load_demonstration().predict([House({"size": size, "bedrooms": bedrooms, "age": age})]).prices
    assert round_to_cents(estimate) == price


def test_demonstration_contributions_add_up_to_tutorial_price() -> None:
    (explanation,) = load_demonstration_explainer().explain([House({"size": 2500, "bedrooms": 3, "age": 10})])
    assert [each.features for each in explanation.contributions] == [("size",), ("bedrooms",), ("age",)]
    total = explanation.base + sum(each.amount for each in explanation.contributions)
    assert round_to_cents(total) == 254206.02
