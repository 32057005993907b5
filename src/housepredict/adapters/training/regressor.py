"""A scikit-learn estimator of housepredict's models, for pipelines, searches and cross-validation."""

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
from housepredict.domain.sales import Cell, Sale, key_of
from housepredict.domain.schema_inference.columns import Column, Way, is_missing, present_in, way_to_read
from housepredict.domain.schema_inference.inference import schema_of
from housepredict.domain.schema_inference.roles import read
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from housepredict.domain.validation import plain

Cells = Mapping[str, Sequence[Cell]]


def _is_frame(table: object) -> bool:
    """Whether it has columns with names and types, like a pandas data frame."""
    return hasattr(table, "columns") and hasattr(table, "dtypes")


def _default_names(count: int) -> list[str]:
    """scikit-learn's names of columns without names."""
    return [f"x{position}" for position in range(count)]


def _cells_of_frame(frame: Any) -> Cells:
    """The cells of each column. If any name is not text, the columns get default names. Raises ValueError."""
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
    """The houses of the rows; a cell that isn't written like its column was in the training counts as missing."""
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
        raise ValueError(f"the column {name!r} contains infinity or a value too large for a number")
    return cell.date() if isinstance(cell, datetime) else cell


_MIN_COMPARED = 250
"""Fewer sales than this, folds of under fifty, don't tell which candidate is better, and comparing takes seconds."""


class HousePriceRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no annotations
    """Fits the models of `housepredict train` to X and to y, prices above zero.

    X is an array of numbers, or a data frame that may also have categories, text, booleans and dates. Either may have
    missing values. All columns are features; the kinds of a frame's columns are inferred like those of a file.

    algorithm, effort, time_limit: as in TrainingOptions.
    sale_date: the column of a frame that says when a house was sold; without it, a house is estimated for the latest of
        those dates.
    random_state: the seed, a number or a RandomState.
    n_jobs: how many processes compare candidates, as scikit-learn has it; -1 for all cores.

    Fitted, it has `schema_` (a FeatureSchema), `algorithm_`, `calibration_`, `n_features_in_` and, of a frame,
    `feature_names_in_`.
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
        """Fit the model to houses and their prices.

        Raises:
            ValueError: for an X or y that cannot be read.
            InvalidOptions: for parameters that cannot be read, each with "did you mean".
            UnusableSales: if no model can be trained on these sales.
        """
        options = TrainingOptions(
            algorithm=self.algorithm,
            effort=self.effort,
            seed=self._seed(),
            time_limit=self.time_limit,
        )
        cells, kinds, prices = self._checked(X, y)
        columns = {name: read(name, column, kinds.get(name)) for name, column in cells.items()}
        self.schema_ = self._schema(columns)
        # kept, so that a price doesn't depend on the other houses of a call, which may be written in another way
        self._ways = {each.name: way_to_read(each.kind, present_in(cells[each.name])) for each in self.schema_.features}
        # the key of a house leaves out dates, as in a file without identifiers
        undated = [feature.name for feature in self.schema_.features if feature.kind is not Kind.DATE]
        sales = [
            Sale(house, price, key_of({name: house.values[name] for name in undated if name in house.values}))
            for house, price in zip(_houses_of(cells, self._ways), prices, strict=True)
        ]
        trainer = SklearnTrainer(_worth_comparing, jobs=effective_n_jobs(self.n_jobs))
        fitted = trainer.fit(self.schema_, sales, options, no_progress)
        self.algorithm_ = str(fitted.algorithm)
        self.calibration_ = fitted.calibration
        self._serving = fitted.artifact[SERVING_FILE]
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Prices, one for each house, not rounded."""
        return np.array(self._valued(X).prices, dtype=np.float64)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[np.float64]:  # noqa: N803
        """Intervals that hold the sale price with a probability of `coverage`, of shape (houses, 2).

        Raises:
            ValueError: unless `coverage` is 0.1, 0.2, … or 0.9, and the training sales were enough to tell: ten of them
                have to lie outside, so 0.9 takes 100.
        """
        check_is_fitted(self)
        within = _within(self.calibration_, coverage)
        valuation = self._valued(X)
        factors = np.exp(np.minimum(within * np.array(valuation.spreads, dtype=np.float64), MAX_LOG_FACTOR))
        prices = np.array(valuation.prices, dtype=np.float64)
        return np.column_stack([prices / factors, prices * factors])

    def __sklearn_tags__(self) -> Any:  # scikit-learn's own
        """Prices are above zero, values may be missing."""
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        tags.input_tags.allow_nan = True
        return tags

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _checked(self, given: Any, targets: Any) -> tuple[Cells, Mapping[str, Kind], Sequence[float]]:
        """The columns, the kinds that are known of them, and the prices."""
        if _is_frame(given):
            validate_data(self, given, skip_check_array=True)
            types = {name: str(given[name].dtype).lower() for name in given.columns}
            cells = _cells_of_frame(given)
            kinds = {name: Kind.CATEGORY for name, kind in types.items() if kind.startswith(_CATEGORIES)}
            check_consistent_length(given, targets)
            if len(given) < FOLDS:
                raise ValueError(f"Found {len(given)} sample(s), and at least {FOLDS} are needed")
            if self.sale_date is not None:
                if self.sale_date not in cells:
                    raise ValueError(f"there is no column {self.sale_date!r} to be the date of sale")
                kinds[self.sale_date] = Kind.DATE
            targets = column_or_1d(targets, warn=True)
        else:
            if self.sale_date is not None:
                raise ValueError("an array has no column with the name of `sale_date`: give a data frame")
            matrix, targets = validate_data(
                self,
                given,
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
            raise ValueError("y has prices, which are finite and above zero; this one has others, or NaN or infinity")
        return cells, kinds, prices.tolist()

    def _schema(self, columns: Mapping[str, Column]) -> FeatureSchema:
        # a column with one value tells no houses apart; if there are no others, any model is as good
        telling = [each for each in columns.values() if len(each.distinct) > 1] or list(columns.values())
        rows = range(len(telling[0].values))
        sale_date = columns[self.sale_date] if self.sale_date is not None else None
        if sale_date is not None and None in sale_date.values:
            raise ValueError(f"the column {self.sale_date!r} has to have a date in each row")
        return schema_of(telling, rows, sale_date)

    def _valued(self, given: Any) -> Valuation:
        check_is_fitted(self)
        if _is_frame(given):
            validate_data(self, given, skip_check_array=True, reset=False)
            cells = _cells_of_frame(given)
            if not hasattr(self, "feature_names_in_"):
                cells = dict(zip(_default_names(len(cells)), cells.values(), strict=True))
        else:
            matrix = validate_data(self, given, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
            cells = _cells_of_array(matrix, getattr(self, "feature_names_in_", _default_names(matrix.shape[1])))
        form = unpack(self._serving, Algorithm(self.algorithm_))
        return valuation(form, Encoder(self.schema_)(_houses_of(cells, self._ways)))


def _worth_comparing(algorithm: Algorithm, effort: Effort, sales: int) -> Sequence[Candidate]:
    """The candidates for a number of sales: only the simplest for few."""
    return candidates(algorithm, effort, sales)[: None if sales >= _MIN_COMPARED else 1]


def _within(calibration: Calibration | None, coverage: float) -> float:
    tenth = round(coverage * 10)
    if not 1 <= tenth <= 9 or abs(coverage * 10 - tenth) > 1e-9:
        raise ValueError(f"coverage is 0.1, 0.2, … or 0.9, and not {coverage}")
    if calibration is None or tenth > len(calibration.within_tenths):
        raise ValueError(f"the model has learned from too few sales to tell an interval of {coverage}")
    within = calibration.within_tenths[tenth - 1]
    if not np.isfinite(within):
        raise ValueError(f"coverage: too many estimates are zero or less for an interval of {coverage}")
    return within
