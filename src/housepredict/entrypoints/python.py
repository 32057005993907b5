"""The Python API, for programs that use housepredict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, overload
from uuid import UUID

from attrs import define, evolve

from housepredict.domain.errors import InvalidHouses, MissingExtra
from housepredict.domain.estimates import ExplainedPrediction, Prediction
from housepredict.domain.evaluation.drift import Drift
from housepredict.domain.evaluation.measures import Evaluation
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import FeatureSchema
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import Progress, no_progress
from housepredict.domain.sales import RealizedSale
from housepredict.domain.training_options import TrainingOptions, choice, option, require_valid
from housepredict.domain.training_status import TrainingStatus
from housepredict.domain.usecases.estimate_table import EstimatedTable
from housepredict.domain.usecases.manage_records import Removed
from housepredict.domain.usecases.predict import Explain, Predict
from housepredict.domain.usecases.review import AccuracyReview
from housepredict.domain.usecases.train import Training
from housepredict.domain.validation import Rule, Violation, did_you_mean, plain, plain_values, pointer_to
from housepredict.entrypoints.composition import (
    NUMBERS,
    PRICE_COLUMNS,
    Application,
    cells_of,
    houses_at,
    open_price_output,
)
from housepredict.entrypoints.settings import read_settings

COLUMNS = PRICE_COLUMNS[:-1]
"""The columns of a data frame with predictions: PRICE_COLUMNS without `error`, because errors are raised."""


class DataFrame(Protocol):
    """A data frame from pandas, Polars, PyArrow or another library that narwhals supports."""

    @property
    def columns(self) -> Any:
        """The columns or their names, depending on the library."""

    def __len__(self) -> int:
        """Return the number of rows."""


FrameT = TypeVar("FrameT", bound=DataFrame)


def houses_of(frame: DataFrame, schema: FeatureSchema) -> Sequence[Mapping[str, object]]:
    """Convert each row of a data frame to a house. Missing optional values are left out.

    Args:
        frame: the data frame. Columns that aren't features are ignored.
        schema: the schema that defines the features. Columns are matched to features by name.

    Raises:
        InvalidHouses: with every violation, if the column of a required feature is missing, or if several columns match
            the same feature.
        TypeError: if `frame` isn't a data frame.
        MissingExtra: if narwhals isn't installed.
    """
    wrapped = _wrap(frame)
    features = [(feature, column) for column in wrapped.columns if (feature := schema.named(column))]
    counts = Counter(feature.name for feature, _ in features)
    if repeated := [name for name, count in counts.items() if count > 1]:
        message = "several columns have this name"
        raise InvalidHouses([Violation(pointer_to(name), Rule.DUPLICATE, message) for name in repeated])
    columns = [(feature, list(map(plain, wrapped[column].to_list()))) for feature, column in features]
    houses = [
        {feature.name: values[row] for feature, values in columns if feature.required or values[row] is not None}
        for row in range(len(wrapped))
    ]
    missing = [feature.name for feature in schema.features if feature.required and feature.name not in counts]
    if missing:
        others = [column for column in wrapped.columns if schema.named(column) is None]
        violations = [
            Violation(pointer_to(name), Rule.MISSING, f"required column is missing{did_you_mean(name, others)}")
            for name in missing
        ]
        present = evolve(schema, features=tuple(other for other in schema.features if other.name not in missing))
        violations += [violation for row, house in enumerate(houses) for violation in present.violations(house, row)]
        raise InvalidHouses(violations)
    return houses


def frame_of(predictions: Sequence[Prediction], like: FrameT) -> FrameT:
    """Convert predictions to a data frame from the same library as `like`. The index of `like`, if any, is kept."""
    import narwhals as nw

    wrapped = _wrap(like)
    cells = zip(*(cells_of(prediction)[:-1] for prediction in predictions), strict=True)
    types = [nw.Float64()] * NUMBERS + [nw.String()] * (len(COLUMNS) - NUMBERS)
    columns = {name: list(column) for name, column in zip(COLUMNS, cells, strict=True)}
    predicted = nw.from_dict(columns, dict(zip(COLUMNS, types, strict=True)), backend=wrapped.implementation)
    native: Any = predicted.to_native()
    if (index := nw.maybe_get_index(wrapped)) is not None:
        native.index = index
    return native  # type: ignore[no-any-return]  # a data frame from the same library as `like`


def _wrap(frame: DataFrame) -> Any:
    try:
        import narwhals as nw
    except ImportError as error:
        raise MissingExtra.named("dataframes", "Estimating data frames") from error
    try:
        return nw.from_native(frame, eager_only=True)
    except TypeError as error:
        expected = "predict takes a mapping or a data frame, and predict_many a list of mappings or a data frame"
        raise TypeError(f"{expected}, not {type(frame).__name__}") from error


def open(  # noqa: A001  # used as housepredict.open, which doesn't hide the built-in
    data_dir: str | PathLike[str] | None = None,
    *,
    database_url: str | None = None,
    demo: bool | None = None,
    max_batch: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Prices:
    """Open the same models and predictions that the command line and the service on this machine use.

    Close the returned object when you are done, or use it as a context manager.

    Args:
        data_dir: the directory for models, predictions and sales. By default, this is `.housepredict` in the working
            directory if it exists, otherwise the user's data directory.
        database_url: a PostgreSQL URL to store models, predictions and sales in PostgreSQL, or `memory:` to store
            predictions and sales in memory only.
        demo: whether to serve the demonstration model while no model is promoted.
        max_batch: the maximum number of houses or sales per call.
        environment: the environment variables to read other settings from. By default, these are the variables of the
            process.

    Raises:
        InvalidSettings: with every problem, if any setting is invalid.
    """
    settings = read_settings(
        environment,
        data_dir=None if data_dir is None else Path(data_dir),
        database_url=database_url,
        demo=demo,
        max_batch=max_batch,
    )
    return Prices(Application(settings))


@define
class Prices:
    """Estimates house prices, and manages models, predictions and sales. Thread-safe. Create it with `open`."""

    _application: Application

    @overload
    def predict(self, house: Mapping[str, object], *, explain: Literal[True]) -> ExplainedPrediction: ...
    @overload
    def predict(self, house: Mapping[str, object], *, explain: bool = False) -> Prediction: ...
    @overload
    def predict(self, house: FrameT, *, explain: Literal[False] = False) -> FrameT: ...
    def predict(self, house: Mapping[str, object] | DataFrame, *, explain: bool = False) -> Prediction | DataFrame:
        """Estimate one house, or every house in a data frame, and store the predictions.

        Args:
            house: a house, such as `{"size": 2500, "bedrooms": 3, "age": 10}`, or a data frame (pandas, Polars or
                PyArrow) with one house per row. Columns that aren't features are ignored. If any row is invalid,
                nothing is estimated.
            explain: whether to explain the estimate by the contribution of each feature (not for data frames).

        Returns:
            The prediction for a single house, with an `explanation` if requested. For a data frame, the result is a
            data frame from the same library, with the same index. Its columns are the price, the interval bounds, the
            id and the warnings.

        Raises:
            InvalidHouses: with every violation. For a data frame, pointers start with the row, as in `/3/size`.
            NoModel: if no model is in service.
            RefusedModel: if the promoted model failed a check.
            NoExplanation: if the model can't explain its estimates.
            RepositoryUnavailable: if the prediction can't be stored.
            TypeError: if `house` is neither a mapping nor a data frame, or if `explain` is set for a data frame.
            MissingExtra: if `house` is a data frame and narwhals isn't installed.
        """
        if isinstance(house, Mapping):
            return self._use_case(explain).one(plain_values(house))
        if explain:
            raise TypeError("predict does not explain data frames: use predict_many with explain=True")
        predictions = self._application.predict.any_number(houses_of(house, self.schema))
        return frame_of(predictions, house)

    @overload
    def predict_many(
        self, houses: Sequence[Mapping[str, object]] | DataFrame, *, explain: Literal[True]
    ) -> Sequence[ExplainedPrediction]: ...
    @overload
    def predict_many(
        self, houses: Sequence[Mapping[str, object]] | DataFrame, *, explain: bool = False
    ) -> Sequence[Prediction]: ...
    def predict_many(
        self, houses: Sequence[Mapping[str, object]] | DataFrame, *, explain: bool = False
    ) -> Sequence[Prediction]:
        """Estimate several houses (all or nothing), and store the predictions.

        Args:
            houses: the houses, as mappings of feature names to values, or as rows of a data frame.
            explain: whether to explain each estimate by the contribution of each feature.

        Returns:
            The predictions, in the order of the houses.

        Raises:
            InvalidHouses: with every violation. Pointers start with the position of the house, as in `/3/size`.
            NoModel: if no model is in service.
            RefusedModel: if the promoted model failed a check.
            NoExplanation: if the model can't explain its estimates.
            RepositoryUnavailable: if the predictions can't be stored.
        """
        if isinstance(houses, Sequence):
            return self._use_case(explain)([plain_values(house) for house in houses])
        return self._use_case(explain)(houses_of(houses, self.schema))

    def predict_file(
        self,
        houses: str | PathLike[str],
        prices: str | PathLike[str],
        *,
        encoding: str | None = None,
        progress: Progress | None = None,
    ) -> EstimatedTable:
        """Estimate every row of a CSV or Parquet file, and write the rows with their prices to another file.

        Invalid rows are written with an `error` message instead of a price.

        Args:
            houses: the file to read houses from.
            prices: the file to write. Its name must end with .csv, .csv.gz or .parquet.
            encoding: the encoding of a CSV file, by its Python name, or None to detect it.
            progress: called with the number of completed rows and the total number of rows.

        Returns:
            The number of estimated rows, the number of rejected (invalid) rows, and the first rejected rows.

        Raises:
            InvalidHouses: if the column of a required feature is missing.
            UnreadableFile: if a file can't be read or written.
            InvalidSettings: if the name of `prices` has none of the endings above.
            NoModel: if no model is in service.
            RefusedModel: if the promoted model failed a check.
            RepositoryUnavailable: if predictions can't be stored.
            MissingExtra: if a file is Parquet and pyarrow isn't installed.
        """
        with open_price_output(Path(prices)) as table:
            return self._application.estimate_table(houses_at(Path(houses), encoding), table, progress or no_progress)

    def _use_case(self, explain: bool) -> Predict | Explain:
        return self._application.explain if explain else self._application.predict

    def train(
        self,
        sales: str | PathLike[str] | None,
        options: TrainingOptions | None = None,
        *,
        with_recorded: bool = False,
        promote: PromotionPolicy | str = PromotionPolicy.IF_BETTER,
        progress: Progress | None = None,
    ) -> Training:
        """Train a model version, store it, and by default promote it if it is better than the promoted version.

        Args:
            sales: a CSV or Parquet file of sales. None selects the synthetic sales, unless `with_recorded` is set.
            options: the training options. By default, they are the defaults of TrainingOptions.
            with_recorded: whether to add the recorded sales. If `sales` is None, they are added to the promoted
                version's sales file, and that version's options are used unless you pass `options`. If the promoted
                version has no sales file, the recorded sales are used alone.
            promote: when to promote the version: `"if-better"`, `"always"` or `"never"`.
            progress: called with the number of completed fits and the total number of fits.

        Returns:
            The version, the sales as they were read, and the `verdict` (whether the version was promoted, and why).

        Raises:
            UnusableSales: if no model can be trained on the sales.
            InvalidOptions: with every violation, if `options` or `promote` is invalid.
            TrainingInProgress: if another training run is active.
            TrainingCancelled: if this training run was cancelled.
            RefusedModel: if the version failed a check.
            ModelStoreUnavailable: if the version can't be stored.
            MissingExtra: if scikit-learn isn't installed.
        """
        policy = option(choice(PromotionPolicy), promote)
        require_valid({"promote": policy})
        options = options or TrainingOptions()
        location = None if sales is None else _path(sales)
        source, options = self._application.sales_to_train_on(location, options, with_recorded=with_recorded)
        training = self._application.train(source, options, progress or no_progress, policy)
        self._application.live_model.look()
        return training

    def promote(self, name: str) -> ModelVersion:
        """Load and test a stored version, then promote it.

        Raises:
            UnknownModel: if there is no such version.
            RefusedModel: if the version failed a check.
            ModelStoreUnavailable: if the model store can't be read or written.
        """
        version = self._application.promote(name)
        self._application.live_model.look()
        return version

    def rollback(self) -> ModelVersion:
        """Roll back to the previously promoted version. Each further call goes back one more version.

        Raises:
            UnknownModel: if there is no previous version.
            RefusedModel: if the version failed a check.
            ModelStoreUnavailable: if the model store can't be read or written.
        """
        version = self._application.promote.rollback()
        self._application.live_model.look()
        return version

    @property
    def model(self) -> ModelVersion:
        """The model version in service.

        Raises:
            NoModel: if no model is in service.
            RefusedModel: if the promoted model failed a check.
        """
        return self._application.live_model.current().version

    @property
    def schema(self) -> FeatureSchema:
        """The feature schema of the model version in service.

        Raises:
            NoModel: if no model is in service.
            RefusedModel: if the promoted model failed a check.
        """
        return self.model.schema

    @property
    def evaluation(self) -> Evaluation:
        """The accuracy of the model version in service on held-out sales.

        Raises:
            NoModel: if no model is in service.
            RefusedModel: if the promoted model failed a check.
        """
        return self.model.evaluation

    def models(self) -> Sequence[ModelVersion]:
        """Return all stored model versions, oldest first.

        Raises:
            ModelStoreUnavailable: if the model store can't be read.
        """
        return self._application.models.versions()

    def trainings(self, limit: int = 10) -> Sequence[TrainingStatus]:
        """Return the status of the most recent training jobs (at most `limit`), newest first.

        Training jobs in other processes are included.
        """
        return self._application.trainings.recent(limit)

    def predictions(self, limit: int = 10, before: UUID | None = None) -> Sequence[Prediction]:
        """Return stored predictions, newest first.

        Args:
            limit: the maximum number of predictions.
            before: the id of a prediction. Only older predictions are returned.

        Raises:
            RepositoryUnavailable: if predictions can't be read.
        """
        return self._application.records.recent(limit, before)

    def prediction(self, id: UUID | str | int) -> Prediction:  # noqa: A002  # the name in JSON and SQL
        """Return a prediction by its id, or by its number in the tutorial's table.

        Raises:
            UnknownPrediction: if there is no such prediction.
            RepositoryUnavailable: if predictions can't be read.
        """
        return self._application.records.one(id)

    def erase(self, *ids: UUID | str | int) -> Removed:
        """Erase predictions and the sales recorded for them.

        Later attempts to store predictions with these ids have no effect, even if no such prediction is stored now.

        Args:
            *ids: ids of predictions, or their numbers in the tutorial's table.

        Returns:
            The number of erased predictions and the number of erased sales.

        Raises:
            UnknownPrediction: if an id is invalid, or if a number is unknown.
            RepositoryUnavailable: if predictions can't be erased.
        """
        return self._application.records.erase(ids)

    def prune(self, keep: timedelta) -> Removed:
        """Delete predictions older than `keep` and the sales recorded for them.

        Returns:
            The number of deleted predictions and the number of deleted sales.

        Raises:
            RepositoryUnavailable: if predictions can't be deleted.
        """
        return self._application.records.prune(keep)

    def export(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Prediction]:
        """Iterate over stored predictions, oldest first. Predictions are read in pages as the iteration proceeds.

        Args:
            since: a time with a time zone. Earlier predictions are skipped.
            until: a time with a time zone. Predictions made at or after this time are skipped.

        Raises:
            RepositoryUnavailable: if predictions can't be read. This may also happen during the iteration.
        """
        return self._application.records.between(since, until)

    def drift(self) -> Drift:
        """Measure how far recent houses and estimates have drifted from the training data of the version in service.

        Raises:
            NoModel: if no model is in service.
            NoSnapshot: if the version has no training snapshot, because an older release trained it.
            RefusedModel: if the version failed a check.
            RepositoryUnavailable: if predictions can't be read.
        """
        return self._application.review_drift()

    def record_sale(
        self, prediction: UUID | str, price: float, sold_on: date | str, *, key: str | None = None
    ) -> RealizedSale:
        """Record the price that an estimated house sold for. Recording a sale again corrects it.

        Args:
            prediction: the id of the prediction.
            price: the sale price.
            sold_on: the date of sale, as a date or as text in ISO format.
            key: an idempotency key. Retrying with the same key has no effect.

        Returns:
            The recorded sale, including the `prediction` (if it is known) and the `ratio` of estimate to price.

        Raises:
            InvalidSales: with every violation.
            RepeatedKey: if the key was already used for a different sale.
            ErasedSales: if the prediction was erased or pruned.
            RepositoryUnavailable: if the sale can't be stored.
        """
        return self._application.record_sales.one(
            plain_values({"prediction": prediction, "price": price, "date": sold_on}), key
        )

    def record_sales(self, sales: Sequence[Mapping[str, object]], *, key: str | None = None) -> Sequence[RealizedSale]:
        """Record several sales (all or nothing). See `record_sale`.

        Args:
            sales: mappings such as `{"prediction": id, "price": 450_000, "date": "2015-05-27"}`.
            key: an idempotency key. Retrying with the same key has no effect.

        Returns:
            The recorded sales, as returned by `record_sale`.

        Raises:
            InvalidSales: with every violation. Pointers start with the position of the sale, as in `/3/price`.
            RepeatedKey: if the key was already used for different sales.
            ErasedSales: if all of the predictions were erased or pruned.
            RepositoryUnavailable: if the sales can't be stored.
        """
        return self._application.record_sales([plain_values(sale) for sale in sales], key)

    def accuracy(self, since: date | None = None, until: date | None = None) -> AccuracyReview:
        """Measure the accuracy of estimates against realized sales, overall and per model version.

        Args:
            since: the earliest date of sale to include.
            until: the latest date of sale to include.

        Raises:
            RepositoryUnavailable: if sales or predictions can't be read.
        """
        return self._application.review_accuracy(since, until)

    def close(self) -> None:
        """Close all databases and files."""
        self._application.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _path(sales: object) -> str:
    if not isinstance(sales, str | PathLike):
        raise TypeError(
            f"sales must be the path of a CSV or Parquet file, or None, not {type(sales).__name__}; write a data frame "
            'to a file first, as in frame.to_csv("sales.csv", index=False)'
        )
    return fspath(sales)
