"""Linear models do not depend on a column's unit or origin, and large numbers are served exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.serving.loader import pack, unpack
from housepredict.adapters.training.linear_models import check_linear_parity, least_squares, linear_form, ridge
from housepredict.adapters.training.refit import table_of
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from tests.factories import a_linear_form

CATEGORIES = [0, 5, 0, 0]
"""Categories per column: a size, a town, bedrooms, and a lot that is sometimes missing."""
NAMES = ["size", "town", "bedrooms", "lot"]
NUMBERS = [0, 2, 3]
LINES = pytest.mark.parametrize("fit", [least_squares, ridge])
Fit = Callable[[Sequence[int], NDArray[np.float64], NDArray[np.float64]], Any]


def houses(seed: int, rows: int = 200) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    draw = np.random.default_rng(seed)
    matrix = np.column_stack(
        [draw.normal(2000, 500, rows), draw.integers(0, 5, rows), draw.integers(1, 6, rows), draw.lognormal(0, 2, rows)]
    )
    targets = 12 + matrix[:, 0] / 4000 + matrix[:, 1] / 10 + matrix[:, 2] / 20 + draw.normal(0, 0.05, rows)
    matrix[draw.random(rows) < 0.1, 3] = np.nan
    return matrix, targets


def served(fit: Fit, matrix: NDArray[np.float64], targets: NDArray[np.float64]) -> Linear:
    """Return the serving form as read back from its file, after the parity check."""
    pipeline = fit(CATEGORIES, matrix, targets)
    form = unpack(pack(linear_form(CATEGORIES, pipeline)), Algorithm.LINEAR)
    assert isinstance(form, Linear)
    check_linear_parity(pipeline, form, matrix, NAMES)
    return form


@LINES
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    column=st.sampled_from(NUMBERS),
    unit=st.sampled_from([1e-9, 0.0929, 1.0, 43_560.0, 1e9, -1.0]),
    origin=st.sampled_from([0.0, 1e3, -1e6, 1e9, -1e9]),
)
def test_estimates_do_not_depend_on_unit_or_origin(
    fit: Fit, seed: int, column: int, unit: float, origin: float
) -> None:
    matrix, targets = houses(seed)
    expected = served(fit, matrix, targets).prices(matrix)
    changed = matrix.copy()
    spread = np.nanstd(matrix[:, column]) * abs(unit)
    # the origin is far from zero, but near enough that rounding doesn't lose the values
    changed[:, column] = matrix[:, column] * unit + origin * spread
    assert served(fit, changed, targets).prices(changed) == pytest.approx(expected, abs=1e-5)


@LINES
@pytest.mark.parametrize("start", [1_111_027_370_000, 1_400_000_000_000, 999_999_999_999_000, -1_111_027_370_000])
def test_large_offset_changes_no_estimate(fit: Fit, start: int) -> None:
    matrix, targets = houses(1)
    matrix[:, 0] = np.arange(len(matrix)) * 7 % 1000
    expected = served(fit, matrix, targets).prices(matrix)
    matrix[:, 0] += start
    assert served(fit, matrix, targets).prices(matrix) == pytest.approx(expected, rel=1e-9)


@LINES
@pytest.mark.parametrize("value", [0.0, 0.1, 1e15, -1e12, np.nan])
def test_constant_column_changes_no_estimate(fit: Fit, value: float) -> None:
    matrix, targets = houses(2)
    matrix[:, 0] = 0.0
    expected = served(fit, matrix, targets).prices(matrix)
    matrix[:, 0] = value
    assert served(fit, matrix, targets).prices(matrix) == pytest.approx(expected, rel=1e-9)


@LINES
@pytest.mark.parametrize("unit", [1.0, 43_560.0, -1e-9])
def test_collinear_columns_are_fitted(fit: Fit, unit: float) -> None:
    matrix, targets = houses(3)
    alone = matrix.copy()
    alone[:, 3] = 0.0
    matrix[:, 3] = unit * matrix[:, 0] + 7
    if fit is least_squares:
        expected = served(fit, alone, targets).prices(alone)
        assert served(fit, matrix, targets).prices(matrix) == pytest.approx(expected, rel=1e-9)
    else:
        assert np.abs(served(fit, matrix, targets).prices(matrix) - targets).mean() < 0.06


def test_form_without_centers_gives_bit_equal_prices() -> None:
    form = a_linear_form()
    assert b"centers" not in pack(form)
    read = unpack(pack(form), Algorithm.LINEAR)
    assert isinstance(read, Linear)
    matrix = np.array([[2500.3, 3, 10.1], [np.nan, 2, 1e15]])
    old = (np.where(np.isnan(matrix), form.means, matrix) * form.coefficients).cumsum(axis=1)[:, -1] + form.intercept
    assert read.prices(matrix).tolist() == old.tolist()


def test_form_with_too_few_centers_is_rejected() -> None:
    with pytest.raises(ValueError, match="center"):
        evolve(a_linear_form(), centers=np.zeros(2))


@LINES
@pytest.mark.parametrize("column", NUMBERS)
def test_parity_check_names_responsible_column(fit: Fit, column: int) -> None:
    matrix, targets = houses(4)
    pipeline = fit(CATEGORIES, matrix, targets)
    form = linear_form(CATEGORIES, pipeline)
    coefficients = form.coefficients.copy()
    coefficients[column] *= 1 + 1e-6
    with pytest.raises(RefusedModel, match=f"exclude the column responsible: {NAMES[column]}$"):
        check_linear_parity(pipeline, evolve(form, coefficients=coefficients), matrix, NAMES)


def test_parity_check_reports_no_single_responsible_column() -> None:
    matrix, targets = houses(4)
    pipeline = least_squares(CATEGORIES, matrix, targets)
    form = linear_form(CATEGORIES, pipeline)
    with pytest.raises(RefusedModel, match=r"for 200 of 200 houses.*no single column is responsible"):
        check_linear_parity(pipeline, evolve(form, intercept=form.intercept + 1), matrix, NAMES)


SCHEMA = FeatureSchema((Feature("size", Kind.NUMBER), Feature("beds", Kind.INTEGER), Feature("code", Kind.NUMBER)))


def coded_sales(start: float, unit: float = 1.0, rows: int = 150) -> list[Sale]:
    draw = np.random.default_rng(5)
    sales = []
    for row in range(rows):
        size, beds, code = draw.normal(2000, 400), int(draw.integers(1, 6)), int(draw.integers(0, 300))
        price = (100 * size + 20_000 * beds + 300 * code) * draw.lognormal(0, 0.05)
        sales.append(Sale(House({"size": size, "beds": beds, "code": start + unit * code}), price, str(row)))
    return sales


@pytest.mark.parametrize("algorithm", [Algorithm.LINEAR, Algorithm.RIDGE, Algorithm.BOOSTING])
@pytest.mark.parametrize(
    ("start", "unit"),
    [(1_111_027_370_000, 1), (999_999_999_999_000, 1), (1_500_000_000_000, 86_400_000), (-1_111_027_370_000, 1)],
    ids=["13 digits", "15 digits", "epoch milliseconds", "negative"],
)
def test_large_numbers_train_an_accurate_model(algorithm: Algorithm, start: float, unit: float) -> None:
    options = TrainingOptions(algorithm=algorithm, effort=Effort.LOW)
    sales = coded_sales(start, unit)
    fitted = SklearnTrainer(jobs=1).fit(SCHEMA, sales, options, lambda _done, _total: None)
    predicted = np.array(fitted.predict([sale.house for sale in sales]).prices)
    assert np.median(np.abs(predicted / [sale.price for sale in sales] - 1)) < 0.06


@pytest.mark.parametrize(("start", "unit", "logged"), [(1_111_027_370_000, 1, [0, 1]), (0, 1, [0, 1, 2])])
def test_narrow_range_columns_get_no_logarithm(start: float, unit: float, logged: list[int]) -> None:
    matrix = Encoder(SCHEMA)([sale.house for sale in coded_sales(start, unit)])
    table = table_of(SCHEMA, matrix, np.full(len(matrix), 1e5), 0.0)
    assert table.columns.logged.tolist() == logged
    assert table.names == [*(["size", "beds", "code"][column] for column in logged), "size", "beds", "code"]
