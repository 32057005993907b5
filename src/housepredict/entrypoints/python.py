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
"""The columns of a data frame of predictions: PRICE_COLUMNS without `error`, since errors are raised."""


class DataFrame(Protocol):
    """A data frame of pandas, Polars, PyArrow or another library that narwhals supports."""

    @property
    def columns(self) -> Any:
        """The columns or their names."""

    def __len__(self) -> int:
        """Return the number of rows."""


FrameT = TypeVar("FrameT", bound=DataFrame)


def houses_of(frame: DataFrame, schema: FeatureSchema) -> Sequence[Mapping[str, object]]:
    """Convert the rows of a data frame to houses, without missing optional values. Other columns are ignored.

    Args:
        frame: the data frame.
        schema: the schema, whose feature names are looked up among the columns.

    Raises:
        InvalidHouses: with every violation, if columns of required features are missing, or several columns have the
            name of one feature.
        TypeError: if `frame` isn't a data frame.
        MissingExtra: without narwhals.
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
    """Convert predictions to a data frame of the same library as `like`, with the same index if it has one."""
    import narwhals as nw

    wrapped = _wrap(like)
    cells = zip(*(cells_of(prediction)[:-1] for prediction in predictions), strict=True)
    types = [nw.Float64()] * NUMBERS + [nw.String()] * (len(COLUMNS) - NUMBERS)
    columns = {name: list(column) for name, column in zip(COLUMNS, cells, strict=True)}
    predicted = nw.from_dict(columns, dict(zip(COLUMNS, types, strict=True)), backend=wrapped.implementation)
    native: Any = predicted.to_native()
    if (index := nw.maybe_get_index(wrapped)) is not None:
        native.index = index
    return native  # type: ignore[no-any-return]  # of the same library as `like`


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
    """Open the models and predictions that the command line and the service on this machine use, too.

    Close the result when done, or use it as a context manager.

    Args:
        data_dir: the folder for models, predictions and sales; by default `.housepredict` in the working folder if that
            exists, else the user's data folder.
        database_url: a PostgreSQL URL to store models, predictions and sales there, or `memory:` to store predictions
            and sales in memory only.
        demo: whether the demonstration model serves while no model is promoted.
        max_batch: the maximum number of houses or sales per call.
        environment: the variables to read other settings from; by default those of the process.

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
    """Estimates house prices, and manages models, predictions and sales. Thread-safe. Created by `open`."""

    _application: Application

    @overload
    def predict(self, house: Mapping[str, object], *, explain: Literal[True]) -> ExplainedPrediction: ...
    @overload
    def predict(self, house: Mapping[str, object], *, explain: bool = False) -> Prediction: ...
    @overload
    def predict(self, house: FrameT, *, explain: Literal[False] = False) -> FrameT: ...
    def predict(self, house: Mapping[str, object] | DataFrame, *, explain: bool = False) -> Prediction | DataFrame:
        """Estimate a house or the houses in a data frame, and store the predictions.

        Args:
            house: a house, such as `{"size": 2500, "bedrooms": 3, "age": 10}`; or a data frame of pandas, Polars or
                PyArrow with a house in each row, whose other columns are ignored. All of its houses are estimated, or
                none.
            explain: whether to explain the estimate by contributions of the features; for a mapping only.

        Returns:
            The prediction of the house, with an `explanation` if requested. For a data frame, a data frame of the same
            library with the same index, and columns for price, bounds of the intervals, id and warnings.

        Raises:
            InvalidHouses: with every violation. Pointers into a data frame start with the row, as in `/3/size`.
            NoModel: if no model is in service.
            RefusedModel: if the promoted model failed a check.
            NoExplanation: if the model can't explain its estimates.
            RepositoryUnavailable: if the prediction can't be stored.
            TypeError: if `house` is something else, or `explain` is set for a data frame.
            MissingExtra: for a data frame without narwhals.
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
        """Estimate several houses, all or none, and store the predictions.

        Args:
            houses: the houses, as mappings of feature names to values, or as rows of a data frame.
            explain: whether to explain the estimates by contributions of the features.

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

        Invalid rows are written with an `error` and without a price.

        Args:
            houses: the file with the houses.
            prices: the file to write; its name ends with .csv, .csv.gz or .parquet.
            encoding: Python's name of the encoding of a CSV file; None to detect it.
            progress: called with the numbers of completed and of all rows.

        Returns:
            The numbers of estimated and of refused (invalid) rows, and the first refused rows.

        Raises:
            InvalidHouses: if the column of a required feature is missing.
            UnreadableFile: if a file can't be read or written.
            InvalidSettings: if the name of `prices` has another ending.
            NoModel: if no model is in service.
            RefusedModel: if the promoted model failed a check.
            RepositoryUnavailable: if predictions can't be stored.
            MissingExtra: for Parquet without pyarrow.
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
        """Train a model version, store it, and promote it if it is better than the promoted version.

        Args:
            sales: a CSV or Parquet file of sales; None for the synthetic sales, or see `with_recorded`.
            options: the training options; by default everything is inferred.
            with_recorded: whether to add the recorded sales. Then without `sales`, they are added to the file of the
                promoted version (with its options, if `options` are the defaults), or used alone if it has none.
            promote: `"if-better"`, `"always"` or `"never"`.
            progress: called with the numbers of completed and of all fits.

        Returns:
            The version, the sales as they were read, and the `verdict`: whether the version was promoted, and why.

        Raises:
            UnusableSales: if no model can be trained on the sales.
            InvalidOptions: if `options` or `promote` are invalid; with every violation.
            TrainingInProgress: if another training is running.
            TrainingCancelled: if the training was cancelled.
            RefusedModel: if the version failed a check.
            ModelStoreUnavailable: if the version can't be stored.
            MissingExtra: without scikit-learn.
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
        """Promote a stored version, after loading and testing it.

        Raises:
            UnknownModel: if there is no such version.
            RefusedModel: if the version failed a check.
            ModelStoreUnavailable: if the model store can't be read or written.
        """
        version = self._application.promote(name)
        self._application.live_model.look()
        return version

    def rollback(self) -> ModelVersion:
        """Roll back to the previously promoted version; each call goes back by one more.

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
        """The version in service. Raises NoModel or RefusedModel."""
        return self._application.live_model.current().version

    @property
    def schema(self) -> FeatureSchema:
        """The features of the version in service. Raises NoModel or RefusedModel."""
        return self.model.schema

    @property
    def evaluation(self) -> Evaluation:
        """The accuracy of the version in service on held-out sales. Raises NoModel or RefusedModel."""
        return self.model.evaluation

    def models(self) -> Sequence[ModelVersion]:
        """Return all stored versions, oldest first. Raises ModelStoreUnavailable."""
        return self._application.models.versions()

    def trainings(self, limit: int = 10) -> Sequence[TrainingStatus]:
        """Return up to `limit` trainings, newest first, of this and of other processes."""
        return self._application.trainings.recent(limit)

    def predictions(self, limit: int = 10, before: UUID | None = None) -> Sequence[Prediction]:
        """Return stored predictions, newest first.

        Args:
            limit: the maximum number of predictions.
            before: return only predictions older than the one with this id.

        Raises:
            RepositoryUnavailable: if predictions can't be read.
        """
        return self._application.records.recent(limit, before)

    def prediction(self, id: UUID | str | int) -> Prediction:  # noqa: A002  # the name in JSON and SQL
        """Return the prediction with an id, or with a number from the tutorial's table.

        Raises:
            UnknownPrediction: if there is no such prediction.
            RepositoryUnavailable: if predictions can't be read.
        """
        return self._application.records.one(id)

    def erase(self, *ids: UUID | str | int) -> Removed:
        """Erase predictions and the sales recorded for them. Erased ids are never stored again, even unknown ones.

        Args:
            *ids: ids of predictions, or numbers from the tutorial's table.

        Returns:
            The numbers of erased predictions and sales.

        Raises:
            UnknownPrediction: if an id is invalid, or a number is unknown.
            RepositoryUnavailable: if predictions can't be erased.
        """
        return self._application.records.erase(ids)

    def prune(self, keep: timedelta) -> Removed:
        """Delete predictions older than `keep` and the sales recorded for them.

        Returns:
            The numbers of deleted predictions and sales.

        Raises:
            RepositoryUnavailable: if predictions can't be deleted.
        """
        return self._application.records.prune(keep)

    def export(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Prediction]:
        """Iterate over stored predictions, oldest first. They are read as the iteration proceeds.

        Args:
            since: skip predictions before this time, which has a time zone.
            until: stop at this time, which has a time zone.

        Raises:
            RepositoryUnavailable: if predictions can't be read, also during the iteration.
        """
        return self._application.records.between(since, until)

    def drift(self) -> Drift:
        """Measure how far recent houses and estimates have drifted from the training data of the version in service.

        Raises:
            NoModel: if no model is in service.
            NoSnapshot: if the version has no training snapshot, since an older release trained it.
            RefusedModel: if the version failed a check.
            RepositoryUnavailable: if predictions can't be read.
        """
        return self._application.review_drift()

    def record_sale(
        self, prediction: UUID | str, price: float, sold_on: date | str, *, key: str | None = None
    ) -> RealizedSale:
        """Record the price that an estimated house sold for. Another call corrects it.

        Args:
            prediction: the id of the prediction.
            price: the sale price.
            sold_on: the date of sale; text is in ISO format.
            key: an idempotency key: a repeated call with the same key records nothing.

        Returns:
            The sale, with its `prediction` if it is known, and the `ratio` of estimate to price.

        Raises:
            InvalidSales: with every violation.
            RepeatedKey: if the key was used for another sale.
            ErasedSales: if the prediction was erased or pruned.
            RepositoryUnavailable: if the sale can't be stored.
        """
        return self._application.record_sales.one(
            plain_values({"prediction": prediction, "price": price, "date": sold_on}), key
        )

    def record_sales(self, sales: Sequence[Mapping[str, object]], *, key: str | None = None) -> Sequence[RealizedSale]:
        """Record several sales, all or none; see `record_sale`.

        Args:
            sales: mappings such as `{"prediction": id, "price": 450_000, "date": "2015-05-27"}`.
            key: an idempotency key: a repeated call with the same key records nothing.

        Returns:
            The sales, see `record_sale`.

        Raises:
            InvalidSales: with every violation. Pointers start with the position of the sale, as in `/3/price`.
            RepeatedKey: if the key was used for other sales.
            ErasedSales: if all of the predictions were erased or pruned.
            RepositoryUnavailable: if the sales can't be stored.
        """
        return self._application.record_sales([plain_values(sale) for sale in sales], key)

    def accuracy(self, since: date | None = None, until: date | None = None) -> AccuracyReview:
        """Measure the accuracy of estimates by realized sales, overall and by model version.

        Args:
            since: ignore sales before this date.
            until: ignore sales after this date.

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
