"""A scikit-learn estimator that fits housepredict's models, for use in pipelines and cross-validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.loader import SERVING_FILE, unpack, valuation
from housepredict.adapters.training.candidates import Candidate, candidates
from housepredict.adapters.training.search import FOLDS
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.estimates import MAX_LOG_FACTOR, Calibration
from housepredict.domain.features import FeatureSchema, House, Kind
from housepredict.domain.ports import Valuation, no_progress
from housepredict.domain.sales import Cell, Sale, create_house_key
from housepredict.domain.schema_inference.columns import Column, Way, cell_reader, count_present, is_missing
from housepredict.domain.schema_inference.inference import schema_of
from housepredict.domain.schema_inference.roles import read
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from housepredict.domain.validation import did_you_mean, plain

Cells = Mapping[str, Sequence[Cell]]


def _is_frame(table: object) -> bool:
    """Return whether `table` is a data frame, with named and typed columns."""
    return hasattr(table, "columns") and hasattr(table, "dtypes")


def _default_names(count: int) -> list[str]:
    """Return the names that scikit-learn gives to unnamed columns."""
    return [f"x{position}" for position in range(count)]


def _cells_of_frame(frame: Any) -> Cells:
    """Return the cells of each column by name. If any name isn't text, all columns get default names."""
    columns = list(frame.columns)
    names = columns if all(isinstance(name, str) for name in columns) else _default_names(len(columns))
    return {
        name: [_cell(name, cell) for cell in frame[column].to_list()]
        for name, column in zip(names, columns, strict=True)
    }


def _cells_of_array(matrix: Any, names: Sequence[str]) -> Cells:
    columns = ([plain(cell) for cell in column] for column in matrix.T.tolist())
    return dict(zip(names, columns, strict=True))  # type: ignore[arg-type]  # floats, or None for NaN


def _houses_of(cells: Cells, ways: Mapping[str, Way]) -> Sequence[House]:
    """Convert each row to a house.

    Args:
        cells: the cells of each column, by name.
        ways: the functions that convert cells to values, by feature name. A function returns None for a cell that isn't
            written like those in the training data. Such a cell counts as missing.
    """
    columns = []
    for name, way in ways.items():
        readings = {cell: way(cell) for cell in set(cells[name]) if not is_missing(cell)}
        columns.append([readings.get(cell) for cell in cells[name]])
    rows = zip(*columns, strict=True)
    names = list(ways)
    return [House({name: value for name, value in zip(names, row, strict=True) if value is not None}) for row in rows]


_CATEGORIES = ("category", "categorical", "enum")


def _cell(name: str, value: Any) -> Cell:
    cell: Any = plain(value)
    if isinstance(cell, float) and math.isinf(cell):
        raise ValueError(f"Column {name!r} of X contains infinity or a value too large for a number")
    return cell.date() if isinstance(cell, datetime) else cell


_MIN_COMPARED = 250
"""Minimum number of sales for comparing candidates.

With fewer sales, each fold has fewer than 50, which isn't enough to tell which candidate is better.
"""


class HousePriceRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no annotations
    """A scikit-learn regressor that estimates house prices, with prediction intervals.

    It fits the same models as `housepredict train`, but uses all non-constant columns as features and stores nothing.

    Args:
        algorithm: `"linear"`, `"ridge"`, `"boosting"`, or `"auto"` to pick the best by cross-validation.
        effort: how many candidates the search compares: `"low"`, `"normal"` or `"high"`.
        sale_date: the name of the data frame column that contains the date of sale. Houses without a date are estimated
            as of the latest date in the training data.
        time_limit: the time limit for the search, in seconds. With a time limit, results may not be reproducible.
        random_state: the random seed: an integer or a `numpy.random.RandomState`.
        n_jobs: the number of processes that compare candidates, as in scikit-learn (None: one, -1: one per core).

    Attributes:
        schema_: the inferred schema (a FeatureSchema).
        algorithm_: the chosen algorithm.
        calibration_: the calibration of the intervals, or None if there were too few sales.
        n_features_in_: the number of columns of X.
        feature_names_in_: the column names of X, of shape (n_features_in_,). Defined only if X was a data frame whose
            column names are all text.
    """

    def __init__(
        self,
        *,
        algorithm: str = "auto",
        effort: str = "normal",
        sale_date: str | None = None,
        time_limit: float | None = None,
        random_state: Any = 42,
        n_jobs: int | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.effort = effort
        self.sale_date = sale_date
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803  # scikit-learn's name
        """Fit the model to houses and their sale prices.

        Args:
            X: the houses, of shape (houses, features): an array of numbers, or a data frame that may also contain
                columns of categories, text, booleans and dates. Values may be missing.
            y: the sale prices, of shape (houses,), finite and above zero.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: if X or y is invalid, or has fewer than five rows.
            InvalidOptions: with every violation, if parameters are invalid.
            UnusableSales: if no model can be trained on these sales.
        """
        options = TrainingOptions(
            algorithm=self.algorithm,
            effort=self.effort,
            seed=self._seed(),
            time_limit=self.time_limit,
        )
        cells, kinds, prices = self._validate(X, y)
        columns = {name: read(name, column, kinds.get(name)) for name, column in cells.items()}
        self.schema_ = self._infer_schema(columns)
        # predict reads cells like the training data, so that a price doesn't depend on the other houses in a call
        self._ways = {
            feature.name: cell_reader(feature.kind, count_present(cells[feature.name]))
            for feature in self.schema_.features
        }
        # the key of a house contains no dates, as for files without identifiers
        undated = [feature.name for feature in self.schema_.features if feature.kind is not Kind.DATE]
        sales = [
            Sale(house, price, create_house_key({name: house.values[name] for name in undated if name in house.values}))
            for house, price in zip(_houses_of(cells, self._ways), prices, strict=True)
        ]
        trainer = SklearnTrainer(_worth_comparing, jobs=effective_n_jobs(self.n_jobs))
        fitted = trainer.fit(self.schema_, sales, options, no_progress)
        self.algorithm_ = str(fitted.algorithm)
        self.calibration_ = fitted.calibration
        self._serving = fitted.artifact[SERVING_FILE]
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Estimate prices.

        Args:
            X: the houses, of shape (houses, features), with the columns of the training data.

        Returns:
            The unrounded prices in the currency of the training data, of shape (houses,).

        Raises:
            NotFittedError: if the estimator isn't fitted.
            ValueError: if X is invalid.
        """
        return np.array(self._valuation(X).prices, dtype=np.float64)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[np.float64]:  # noqa: N803
        """Estimate intervals that contain the sale price with a given probability.

        Args:
            X: the houses, of shape (houses, features), with the columns of the training data.
            coverage: the probability: 0.1, 0.2, … or 0.9.

        Returns:
            The lower and upper bounds in the currency of the training data, of shape (houses, 2).

        Raises:
            NotFittedError: if the estimator isn't fitted.
            ValueError: if X or `coverage` is invalid, or if the training data was too small for this coverage. At least
                ten training sales must lie outside the intervals, so a coverage of 0.9 requires 100 sales.
        """
        check_is_fitted(self)
        within = _half_width(self.calibration_, coverage)
        valuation = self._valuation(X)
        factors = np.exp(np.minimum(within * np.array(valuation.spreads, dtype=np.float64), MAX_LOG_FACTOR))
        prices = np.array(valuation.prices, dtype=np.float64)
        return np.column_stack([prices / factors, prices * factors])

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags, which declare that prices are positive and that values may be missing."""
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        tags.input_tags.allow_nan = True
        return tags

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _validate(self, houses: Any, targets: Any) -> tuple[Cells, Mapping[str, Kind], Sequence[float]]:
        """Validate X and y. Returns the cells of each column, the kinds that the column types imply, and the prices."""
        if _is_frame(houses):
            validate_data(self, houses, skip_check_array=True)
            types = {name: str(houses[name].dtype).lower() for name in houses.columns}
            cells = _cells_of_frame(houses)
            kinds = {name: Kind.CATEGORY for name, kind in types.items() if kind.startswith(_CATEGORIES)}
            check_consistent_length(houses, targets)
            if len(houses) < FOLDS:
                raise ValueError(f"Found {len(houses)} sample(s), but at least {FOLDS} are required")
            if self.sale_date is not None:
                if self.sale_date not in cells:
                    hint = did_you_mean(self.sale_date, cells)
                    raise ValueError(f"sale_date: X has no column {self.sale_date!r}{hint}")
                kinds[self.sale_date] = Kind.DATE
            targets = column_or_1d(targets, warn=True)
        else:
            if self.sale_date is not None:
                raise ValueError("sale_date: an array has no column names; pass a data frame as X")
            matrix, targets = validate_data(
                self,
                houses,
                targets,
                dtype=np.float64,
                ensure_all_finite="allow-nan",
                ensure_min_samples=FOLDS,
                y_numeric=True,
            )
            names = _default_names(matrix.shape[1])
            cells, kinds = _cells_of_array(matrix, names), dict.fromkeys(names, Kind.NUMBER)
        prices = np.asarray(targets, dtype=np.float64)
        if not (np.isfinite(prices) & (prices > 0)).all():
            raise ValueError("y must contain only prices above zero, not NaN or infinity")
        return cells, kinds, prices.tolist()

    def _infer_schema(self, columns: Mapping[str, Column]) -> FeatureSchema:
        # ignore constant columns unless there are no other columns
        varying = [column for column in columns.values() if len(column.distinct) > 1] or list(columns.values())
        rows = range(len(varying[0].values))
        sale_date = columns[self.sale_date] if self.sale_date is not None else None
        if sale_date is not None and None in sale_date.values:
            raise ValueError(f"sale_date: column {self.sale_date!r} must have a valid date in every row")
        return schema_of(varying, rows, sale_date)

    def _valuation(self, houses: Any) -> Valuation:
        check_is_fitted(self)
        if _is_frame(houses):
            validate_data(self, houses, skip_check_array=True, reset=False)
            cells = _cells_of_frame(houses)
            if not hasattr(self, "feature_names_in_"):
                cells = dict(zip(_default_names(len(cells)), cells.values(), strict=True))
        else:
            matrix = validate_data(self, houses, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
            cells = _cells_of_array(matrix, getattr(self, "feature_names_in_", _default_names(matrix.shape[1])))
        form = unpack(self._serving, Algorithm(self.algorithm_))
        return valuation(form, Encoder(self.schema_)(_houses_of(cells, self._ways)))


def _worth_comparing(algorithm: Algorithm, effort: Effort, sales: int) -> Sequence[Candidate]:
    """Return the candidates to compare, or just the simplest one if there are too few sales for a comparison."""
    return candidates(algorithm, effort, sales)[: None if sales >= _MIN_COMPARED else 1]


def _half_width(calibration: Calibration | None, coverage: float) -> float:
    """Return the calibrated half-width of intervals with this coverage, in units of the spread."""
    tenth = round(coverage * 10)
    if not 1 <= tenth <= 9 or abs(coverage * 10 - tenth) > 1e-9:
        raise ValueError(f"coverage: must be 0.1, 0.2, … or 0.9, not {coverage}")
    if calibration is None or tenth > len(calibration.within_tenths):
        raise ValueError(f"coverage: the training data has too few sales for {coverage:.0%} intervals")
    within = calibration.within_tenths[tenth - 1]
    if not np.isfinite(within):
        raise ValueError(f"coverage: too many estimates are zero or less for {coverage:.0%} intervals")
    return within
