"""Target encoding of categories too numerous for a column each."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import TargetEncoder

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.training.candidates import Candidate, TrainingTable
from housepredict.adapters.training.refit import table_of
from housepredict.adapters.training.search import FOLDS, search
from housepredict.adapters.training.target_encoding import with_target_encoding
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import TrainingOptions
from tests.factories import a_house

STREETS = tuple(f"street {number}" for number in range(500))
STREET = FeatureSchema((Feature("street", Kind.CATEGORY, categories=STREETS),))
HOUSE = FeatureSchema((Feature("size", Kind.NUMBER), *STREET.features))
LINE, TREES = Candidate(on_a_line=True), Candidate(on_a_line=False, leaves=8, iterations=120)
NOISE = 0.05


def a_table(schema: FeatureSchema, sales: list[Sale]) -> TrainingTable:
    return table_of(
        schema, Encoder(schema)([sale.house for sale in sales]), np.array([each.price for each in sales]), 0
    )


def worth(street: int) -> float:
    return Random(street).gauss(0, 0.4)


def sample_sales(count: int = 3000, seed: int = 1) -> list[Sale]:
    random = Random(seed)
    sales = []
    for number in range(count):
        street, size = random.randrange(len(STREETS)), random.uniform(500, 4000)
        price = 100 * size * np.exp(worth(street) + random.gauss(0, NOISE))
        sales.append(Sale(a_house(size=size, street=STREETS[street]), float(price), str(number)))
    return sales


def level_column(table: TrainingTable) -> np.ndarray:
    return table.values[:, table.columns.for_levels]


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_target_encoding_matches_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 400, 2000)
    left = random.normal(0, 1, 500)[codes] + random.normal(12, 1, 2000)
    sales = [Sale(a_house(street=STREETS[code]), float(np.exp(y)), "") for code, y in zip(codes, left, strict=True)]
    table = a_table(STREET, sales)
    levels = with_target_encoding(table, np.arange(2000) % FOLDS).columns.levels
    assert levels is not None
    groups = [left[codes == code] for code in np.unique(codes)]
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / (2000 - len(groups))
    encoder = TargetEncoder(smooth=within / (left.var() - within), target_type="continuous")
    encoder.fit(codes[:, np.newaxis], left)
    assert levels[0][np.unique(codes)] == pytest.approx(encoder.encodings_[0] - left.mean(), abs=1e-9)
    assert not np.delete(levels[0], np.unique(codes)).any()


def test_target_encoding_excludes_prices_of_own_fold() -> None:
    sales = sample_sales()
    folds = np.arange(len(sales)) % FOLDS
    dearer = [Sale(sale.house, sale.price * 1000 ** (fold == 2), "") for sale, fold in zip(sales, folds, strict=True)]
    before, after = (level_column(with_target_encoding(a_table(STREET, each), folds)) for each in (sales, dearer))
    assert before[folds == 2].tolist() == after[folds == 2].tolist()
    assert not np.isclose(before[folds != 2], after[folds != 2]).all()


def test_target_encoding_is_zero_for_single_sale_categories() -> None:
    sales = [
        Sale(a_house(street=street), sale.price, "") for street, sale in zip(STREETS, sample_sales(), strict=False)
    ]
    assert not level_column(with_target_encoding(a_table(STREET, sales), np.arange(len(sales)) % FOLDS)).any()


def test_target_encoding_of_missing_or_unseen_category_is_mean() -> None:
    table = with_target_encoding(a_table(HOUSE, sample_sales()), np.arange(3000) % FOLDS)
    columns = table.columns(Encoder(HOUSE)([a_house(size=1e3), a_house(size=1e3, street="new")]))
    assert columns[:, table.columns.for_levels].tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("candidate", [LINE, TREES], ids=["line", "trees"])
def test_target_encoding_nearly_matches_known_category_effects(candidate: Candidate) -> None:
    sales = sample_sales()
    folds = np.arange(len(sales)) % FOLDS
    known = FeatureSchema((Feature("size", Kind.NUMBER), Feature("worth", Kind.NUMBER)))
    sales_with_worth = [
        Sale(
            a_house(size=sale.house.values["size"], worth=worth(STREETS.index(str(sale.house.values["street"])))),
            sale.price,
            "",
        )
        for sale in sales
    ]
    encoded, best = (
        search([candidate], a_table(schema, each), folds, 1, lambda _done, _total: None)
        for schema, each in ((HOUSE, sales), (known, sales_with_worth))
    )
    assert encoded.score < 1.5 * best.score


def test_target_encoding_is_skipped_for_few_categories() -> None:
    few = FeatureSchema((Feature("street", Kind.CATEGORY, categories=STREETS[:255]),))
    table = a_table(few, sample_sales())
    assert with_target_encoding(table, np.arange(len(table)) % FOLDS) is table


def test_serving_form_includes_target_encoding() -> None:
    fitted = SklearnTrainer(lambda *_: [LINE]).fit(HOUSE, sample_sales(), TrainingOptions(), lambda _done, _total: None)
    ranked = sorted(range(len(STREETS)), key=worth)
    cheap, dear = fitted.predict([a_house(size=1e3, street=STREETS[ranked[place]]) for place in (25, -25)]).prices
    assert np.log(dear / cheap) == pytest.approx(worth(ranked[-25]) - worth(ranked[25]), rel=0.3)
