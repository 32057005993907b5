"""The synthetic sales match the tutorial: same numbers, same split, same model."""

from __future__ import annotations

import numpy as np
import pytest

from housepredict.adapters.files.sales_file import SyntheticSales
from housepredict.domain.features import Kind
from housepredict.domain.sales import SalesTable
from housepredict.domain.schema_inference.roles import assign_roles
from housepredict.domain.training_options import TrainingOptions


@pytest.fixture(scope="module")
def table() -> SalesTable:
    return SyntheticSales().read()


def test_synthetic_sales_are_deterministic(table: SalesTable) -> None:
    assert SyntheticSales().location is None
    assert SyntheticSales().read() == table
    assert (len(table), table.rejected) == (1000, {})
    assert len(table.digest) == 64


def test_synthetic_sales_have_feature_types(table: SalesTable) -> None:
    types = {name: {type(cell) for cell in column} for name, column in table.columns.items()}
    assert types == {"size": {float}, "bedrooms": {int}, "age": {int}, "price": {float}}
    assert {type(flag) for flag in table.held_out or ()} == {bool}


def test_schema_ranges_come_from_training_rows_only(table: SalesTable) -> None:
    assert table.schema is not None
    assert [(each.name, each.kind, each.unit, each.minimum, each.maximum) for each in table.schema.features] == [
        ("size", Kind.NUMBER, "sq ft", 0, None),
        ("bedrooms", Kind.INTEGER, None, 0, None),
        ("age", Kind.NUMBER, "years", 0, None),
    ]
    assert table.held_out is not None
    for feature in table.schema.features:
        cells = [
            cell
            for cell, is_held_out in zip(table.columns[feature.name], table.held_out, strict=True)
            if not is_held_out
        ]
        assert feature.observed == (min(cells), max(cells))  # type: ignore[type-var]


@pytest.mark.slow
def test_linear_model_equals_tutorial_to_the_cent(table: SalesTable) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import train_test_split

    features = np.array([table.columns[name] for name in ("size", "bedrooms", "age")], dtype=float).T
    prices = np.array(table.columns["price"], dtype=float)
    train, test = train_test_split(np.arange(1000), test_size=0.2, random_state=42)
    assert [row for row, is_held_out in enumerate(table.held_out or ()) if is_held_out] == sorted(test)

    for rows in train, sorted(train):
        model = LinearRegression().fit(features[rows], prices[rows])
        errors = model.predict(features[test]) - prices[test]
        assert f"{np.mean(errors**2):.2f}" == "89841841.26"
        assert f"{model.predict([[2500, 3, 10]])[0]:.2f}" == "254206.02"


def test_schema_kinds_are_not_reported_as_requested(table: SalesTable) -> None:
    decisions = assign_roles(table, TrainingOptions()).decisions
    assert decisions[1].why == "by the schema; 1 to 5"
    assert not [each for each in decisions if "requested" in each.why]
