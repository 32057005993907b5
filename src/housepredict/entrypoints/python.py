"""The Python API: housepredict in a program of yours."""

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
    prices_at,
)
from housepredict.entrypoints.settings import read_settings

COLUMNS = PRICE_COLUMNS[:-1]
"""The columns of a frame of predictions; errors are raised."""


class DataFrame(Protocol):
    """A data frame of pandas, Polars, PyArrow or another library that narwhals knows."""

    @property
    def columns(self) -> Any:
        """Its columns, or their names."""

    def __len__(self) -> int:
        """How many rows it has."""


FrameT = TypeVar("FrameT", bound=DataFrame)


def houses_of(frame: DataFrame, schema: FeatureSchema) -> Sequence[Mapping[str, object]]:
    """The rows of a frame as houses: the columns that are features, without the optional values that are missing.

    Raises:
        InvalidHouses: with every violation, if the column of a required feature is missing, which is named once, or if
            two columns are one feature.
        TypeError: if it is not a data frame.
        MissingExtra: without narwhals.
    """
    opened = _opened(frame)
    features = [(feature, column) for column in opened.columns if (feature := schema.named(column))]
    counts = Counter(feature.name for feature, _ in features)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise InvalidHouses(
            [Violation(pointer_to(name), Rule.DUPLICATE, "is more than one column") for name in repeated]
        )
    columns = [(feature, list(map(plain, opened[column].to_list()))) for feature, column in features]
    houses = [
        {feature.name: values[row] for feature, values in columns if feature.required or values[row] is not None}
        for row in range(len(opened))
    ]
    missing = [feature.name for feature in schema.features if feature.required and feature.name not in counts]
    if missing:
        others = [column for column in opened.columns if schema.named(column) is None]
        violations = [
            Violation(pointer_to(name), Rule.MISSING, f"is a column that is missing{did_you_mean(name, others)}")
            for name in missing
        ]
        present = evolve(schema, features=tuple(each for each in schema.features if each.name not in missing))
        violations += [violation for row, house in enumerate(houses) for violation in present.violations(house, row)]
        raise InvalidHouses(violations)
    return houses


def frame_of(predictions: Sequence[Prediction], like: FrameT) -> FrameT:
    """Predictions as a frame of the same kind, with the same index where that kind has one."""
    import narwhals as nw

    opened = _opened(like)
    cells = zip(*(cells_of(each)[:-1] for each in predictions), strict=True)
    types = [nw.Float64()] * NUMBERS + [nw.String()] * (len(COLUMNS) - NUMBERS)
    columns = {name: list(column) for name, column in zip(COLUMNS, cells, strict=True)}
    predicted = nw.from_dict(columns, dict(zip(COLUMNS, types, strict=True)), backend=opened.implementation)
    native: Any = predicted.to_native()
    if (index := nw.maybe_get_index(opened)) is not None:
        native.index = index
    return native  # type: ignore[no-any-return]  # of the kind of `like`


def _opened(frame: DataFrame) -> Any:
    try:
        import narwhals as nw
    except ImportError as error:
        raise MissingExtra.named("dataframes", "Estimating data frames") from error
    try:
        return nw.from_native(frame, eager_only=True)
    except TypeError as error:
        kind = type(frame).__name__
        raise TypeError(
            f"a house is a mapping, and several are a list for predict_many or a data frame, not {kind}"
        ) from error


def open(  # noqa: A001  # housepredict.open reads as it is meant; nobody imports it bare
    data_dir: str | PathLike[str] | None = None,
    *,
    database_url: str | None = None,
    demo: bool | None = None,
    max_batch: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Prices:
    """Open housepredict: the models and predictions that the command line and the service of this machine use too.

    `data_dir` is where they are kept: `.housepredict` in the working directory if that is there, else the user's data
    folder. `database_url` keeps predictions in PostgreSQL instead, or with `memory:` nowhere. `demo` lets the
    demonstration model serve while none is promoted. Whatever is not given comes from the environment (see the
    settings' reference), the process's own by default.

    Raises InvalidSettings. Close it when done, or use it as a context manager.
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
    """Estimates of house prices, and the models behind them. Threads may share it."""

    _application: Application

    @overload
    def predict(self, house: Mapping[str, object], *, explain: Literal[True]) -> ExplainedPrediction: ...
    @overload
    def predict(self, house: Mapping[str, object], *, explain: bool = False) -> Prediction: ...
    @overload
    def predict(self, house: FrameT, *, explain: Literal[False] = False) -> FrameT: ...
    def predict(self, house: Mapping[str, object] | DataFrame, *, explain: bool = False) -> Prediction | DataFrame:
        """Estimate one house and remember it: `prices.predict({"size": 2500, "bedrooms": 3, "age": 10}).price`.

        A data frame of pandas, Polars or PyArrow has a house in each row, and columns that are no features are left
        out of it: what comes back is one of the same kind and index, with the price, the bounds of the intervals, the
        id and the warnings of each house. All of them are estimated or none.

        With `explain`, the prediction has an `explanation`, too: what moved the estimate. Raises InvalidHouses with
        every violation, NoModel, RefusedModel, RepositoryUnavailable if the estimate could not be recorded, or
        NoExplanation for a version that cannot explain.
        """
        if isinstance(house, Mapping):
            return self._estimating(explain).one(plain_values(house))
        if explain:
            raise TypeError("explain=True is for houses, not for a data frame: see predict_many")
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
        """Estimate a batch, all or nothing, in order; see `predict`. Pointers begin with the position: `/3/size`.

        The houses of a data frame are estimated as those of a list; `predict` makes a frame of them.
        """
        if isinstance(houses, Sequence):
            return self._estimating(explain)([plain_values(each) for each in houses])
        return self._estimating(explain)(houses_of(houses, self.schema))

    def predict_file(
        self,
        houses: str | PathLike[str],
        prices: str | PathLike[str],
        *,
        encoding: str | None = None,
        progress: Progress | None = None,
    ) -> EstimatedTable:
        """Estimate every row of a CSV or Parquet file, and write the rows with their prices to another.

        `encoding` is that of a CSV file; without it, its bytes tell.

        A row that breaks rules is written with an `error` and without a price, and counted as `refused`. Raises
        InvalidHouses for a file that lacks the column of a feature, UnreadableFile for one that cannot be read or
        written, InvalidSettings for one whose name ends with none of .csv, .csv.gz and .parquet, or as `predict`.
        """
        with prices_at(Path(prices)) as table:
            return self._application.estimate_table(houses_at(Path(houses), encoding), table, progress or no_progress)

    def _estimating(self, explain: bool) -> Predict | Explain:
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
        """Train on a CSV or Parquet file, or on the synthetic sales (None); keep the version, and promote it if it is
        better than the promoted one, `"always"` or `"never"`. The `verdict` of what comes back says what was decided.

        `with_recorded` adds the sales that came back of houses that were estimated. Without a file it adds them to that
        of the promoted version, with its options if none are given; where that is not to be had, they are all there is.

        `progress(done, total)` is called as it goes. Raises UnusableSales, TrainingInProgress, RefusedModel,
        InvalidOptions or MissingExtra; what was promoted before then stays so.
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
        """Let another version serve, which is loaded first. Raises UnknownModel, or RefusedModel if it is damaged."""
        version = self._application.promote(name)
        self._application.live_model.look()
        return version

    def rollback(self) -> ModelVersion:
        """Go back to the version that was promoted before, further with each call.

        Raises UnknownModel if there was none, or RefusedModel.
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
        """What the version in service must know of a house."""
        return self.model.schema

    @property
    def evaluation(self) -> Evaluation:
        """How far the version in service was off on sales that it had not learned from."""
        return self.model.evaluation

    def models(self) -> Sequence[ModelVersion]:
        """Every version that is kept, oldest first."""
        return self._application.models.versions()

    def trainings(self, limit: int = 10) -> Sequence[TrainingStatus]:
        """The newest trainings, newest first, under way and over, whoever started them."""
        return self._application.trainings.recent(limit)

    def predictions(self, limit: int = 10, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first; with `before`, those older than the prediction with that id."""
        return self._application.records.recent(limit, before)

    def prediction(self, id: UUID | str | int) -> Prediction:  # noqa: A002  # what it is called everywhere
        """The prediction with this id, or with the number that it had in the tutorial's table.

        Raises UnknownPrediction or RepositoryUnavailable.
        """
        return self._application.records.one(id)

    def erase(self, *ids: UUID | str | int) -> Removed:
        """Forget predictions for good, and the sales that were recorded for them; how many were known.

        An id that is not known is never recorded from now on. Raises UnknownPrediction for what is no id, or
        RepositoryUnavailable.
        """
        return self._application.records.erase(ids)

    def prune(self, keep: timedelta) -> Removed:
        """Forget predictions that are older than `keep`, and their sales; how many. Raises RepositoryUnavailable."""
        return self._application.records.prune(keep)

    def export(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Prediction]:
        """What was estimated from `since` on and before `until`, which have a zone, oldest first; read as it is asked
        for. Raises RepositoryUnavailable, also on the way.
        """
        return self._application.records.between(since, until)

    def drift(self) -> Drift:
        """How far houses and estimates have moved from what the version in service was trained on.

        Raises NoModel, NoSnapshot for a version that was trained before there were snapshots, RefusedModel or
        RepositoryUnavailable.
        """
        return self._application.review_drift()

    def record_sale(
        self, prediction: UUID | str, price: float, sold_on: date | str, *, key: str | None = None
    ) -> RealizedSale:
        """Remember what a house sold for that was estimated, by the id of its prediction; another call corrects it.

        What comes back has the `prediction` if it is known, and the `ratio` of estimate and price. With a `key` the
        same call is recorded once. Raises InvalidSales with every violation, RepeatedKey for another sale with a known
        key, or RepositoryUnavailable.
        """
        return self._application.record_sales.one(
            plain_values({"prediction": prediction, "price": price, "date": sold_on}), key
        )

    def record_sales(self, sales: Sequence[Mapping[str, object]], *, key: str | None = None) -> Sequence[RealizedSale]:
        """Remember a batch, all or nothing, each `{"prediction": id, "price": price, "date": day}`; see `record_sale`.

        Pointers begin with the position: `/3/price`.
        """
        return self._application.record_sales([plain_values(each) for each in sales], key)

    def accuracy(self, since: date | None = None, until: date | None = None) -> AccuracyReview:
        """How far estimates were off, as a whole and by model version, by what was sold from `since` to `until`.

        Raises RepositoryUnavailable.
        """
        return self._application.review_accuracy(since, until)

    def close(self) -> None:
        """Close the database."""
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
            f"sales must be the path of a CSV or Parquet file, or None, not {type(sales).__name__}: write a data frame "
            'to a file first, such as with frame.to_csv("sales.csv", index=False)'
        )
    return fspath(sales)
