"""The composition root: with storage.py, the only place that names concrete adapters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from attrs import define, field

from housepredict.adapters.clock import SystemClock
from housepredict.adapters.interrupts import held_back
from housepredict.adapters.live_model import Follower, LiveModel
from housepredict.adapters.proven_loader import ProvenLoader
from housepredict.domain.combined_sales import CombinedSales
from housepredict.domain.features import FeatureSchema
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import Artefact, ModelVersion, TrainingOptions
from housepredict.domain.ports import Clock, Explainer, HouseTable, PredictorLoader, PriceTable, SalesSource, Trainer
from housepredict.domain.usecases import (
    EstimateTable,
    Explain,
    Predict,
    PredictOnce,
    Promote,
    Records,
    RecordSales,
    ReviewAccuracy,
    ReviewDrift,
    Train,
    Trainings,
)
from housepredict.entrypoints.output_names import ending_of
from housepredict.entrypoints.plugins import PREDICTORS, load
from housepredict.entrypoints.storage import Storage, needing

if TYPE_CHECKING:
    from housepredict.adapters.serving.loader import SharedForms
    from housepredict.entrypoints.training_jobs import TrainingJobs


@define(slots=False)
class Application(Storage):
    """The use cases, wired to the adapters that the settings ask for.

    What is not used is neither opened nor imported: numpy with the first model, the database at the first prediction
    or at `predictions`, scikit-learn at the first training.
    """

    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @cached_property
    def clock(self) -> Clock:
        """What time it is."""
        return SystemClock()

    @cached_property
    def live_model(self) -> LiveModel:
        """The predictor in service."""
        if not self.settings.demo:
            return LiveModel(self.models, self.load_predictor)
        from housepredict.adapters.serving.demonstration import load_demonstration

        return LiveModel(self.models, self.load_predictor, load_demonstration())

    @cached_property
    def load_predictor(self) -> PredictorLoader:
        """What makes predictors of model versions. Raises UnusablePlugin where the settings name one that is."""
        if self.settings.predictor is None:
            from housepredict.adapters.serving.loader import load_predictor

            return partial(load_predictor, unpack=self._forms)
        return ProvenLoader(self.settings.predictor, load(PREDICTORS, self.settings.predictor))

    @cached_property
    def _forms(self) -> SharedForms:
        from housepredict.adapters.serving.loader import SharedForms

        return SharedForms()

    def follower(self, publish: Callable[[], None]) -> Follower:
        """Keeps `live_model` at the promoted version, and calls `publish` after each look at the pointer."""
        return Follower(self.live_model, publish, self.announcements())

    @cached_property
    def predict(self) -> Predict:
        """The use case behind every estimate."""
        return Predict(self.live_model, self.predictions, self.clock, self.settings.max_batch, self._ids)

    @cached_property
    def predict_once(self) -> PredictOnce:
        """The use case behind every estimate that may be asked for again."""
        return PredictOnce(
            self.live_model,
            self.predictions,
            self.clock,
            self.settings.max_batch,
            self._ids,
            keys=self.prediction_keys,
        )

    @cached_property
    def estimate_table(self) -> EstimateTable:
        """The use case behind the estimates of a whole file."""
        return EstimateTable(self.live_model, self.predict, self.settings.max_batch)

    @cached_property
    def explain(self) -> Explain:
        """The use case behind every estimate that is to be explained."""
        from housepredict.adapters.stored_explainers import StoredExplainers

        demonstration = None
        if self.settings.demo:
            from housepredict.adapters.serving.demonstration import load_demonstration_explainer

            demonstration = load_demonstration_explainer()
        explainers = StoredExplainers(self.models, self._load_explainer, demonstration)
        return Explain(
            self.live_model,
            self.predictions,
            self.clock,
            self.settings.max_batch,
            self._ids,
            explainer_of=explainers,
        )

    @cached_property
    def records(self) -> Records:
        """What was estimated: to look up, to read and to forget."""
        return Records(self.predictions, self.sales, self.clock, self.prediction_keys)

    def _load_explainer(self, version: ModelVersion, artefact: Artefact) -> Explainer:
        """The explainer of a version; numpy is loaded with the first."""
        from housepredict.adapters.serving.explainer import load_explainer

        return load_explainer(version, artefact, unpack=self._forms)

    @cached_property
    def record_sales(self) -> RecordSales:
        """The use case behind every sale that comes back."""
        return RecordSales(self.sales, self.predictions, self.clock, self.settings.max_batch, self._ids)

    @cached_property
    def review_accuracy(self) -> ReviewAccuracy:
        """The use case behind every look at how far estimates were off."""
        return ReviewAccuracy(self.sales, self.predictions)

    @cached_property
    def review_drift(self) -> ReviewDrift:
        """The use case that compares recent predictions with what the version in service was trained on."""
        return ReviewDrift(self.live_model, self.models, self.predictions)

    @cached_property
    def train(self) -> Train:
        """The use case behind every training. Raises MissingExtra without scikit-learn."""
        return Train(
            _trainer(),
            self.load_predictor,
            self.models,
            self.sales_source,
            self.clock,
            self.trainings,
            held_back,
        )

    @cached_property
    def trainings(self) -> Trainings:
        """Trainings under way and over, whoever started them."""
        return Trainings(self.models, self.training_log, self.clock)

    @cached_property
    def training_jobs(self) -> TrainingJobs:
        """How the service trains: beside itself."""
        from housepredict.entrypoints.training_jobs import TrainingProcesses

        return self._resources.enter_context(closing(TrainingProcesses(self)))

    @cached_property
    def reads_parquet(self) -> bool:
        """Whether files of sales may be Parquet."""
        from housepredict.adapters.sales_files import reads_parquet

        return reads_parquet()

    def sales_source(self, location: str | None, options: TrainingOptions, with_recorded: bool) -> SalesSource:
        """The sales at a path, the synthetic ones if there is none; see SalesSources. Raises as `live_model` does for
        recorded sales without a path, whose columns are those of the version in service.
        """
        if not with_recorded:
            return sales_at(location, options.encoding)
        file = None if location is None else sales_at(location, options.encoding)
        schema = self.live_model.current().version.schema if file is None else FeatureSchema(())
        return CombinedSales(file, schema, self.sales, self.predictions, options, self.clock)

    def sales_to_train_on(
        self, location: str | None, options: TrainingOptions, *, with_recorded: bool
    ) -> tuple[SalesSource, TrainingOptions]:
        """The sales at a location, with those recorded if asked for, and the options to train with.

        What recorded sales are added to is, if no file is named, that of the promoted version, if it has one that is
        here, with its options if none are given. Raises as `live_model` does.
        """
        name = self.models.pointer().name if with_recorded and location is None else None
        if name:
            promoted, _ = self.models.get(name)
            file = promoted.source.location
            if file is not None and Path(file).is_file():
                location = file
                options = promoted.options if options == TrainingOptions() else options
        return self.sales_source(location, options, with_recorded), options

    @cached_property
    def promote(self) -> Promote:
        """The use case behind every decision about which version serves."""
        return Promote(self.load_predictor, self.models)

    def version(self, name: str) -> ModelVersion:
        """A version that is kept, or the demonstration. Raises UnknownModel, RefusedModel or ModelStoreUnavailable."""
        if self.settings.demo:
            from housepredict.adapters.serving.demonstration import load_demonstration

            if (demonstration := load_demonstration().version).name == name:
                return demonstration
        return self.models.get(name)[0]


def sales_at(location: str | None, encoding: str | None = None) -> SalesSource:
    """The sales at a path; the synthetic ones if there is none."""
    if location is None:
        from housepredict.adapters.synthetic import SyntheticSales

        return SyntheticSales()
    from housepredict.adapters.sales_files import SalesFile

    return SalesFile(Path(location), encoding)


def houses_at(path: Path, encoding: str | None = None) -> HouseTable:
    """The houses in a file."""
    from housepredict.adapters.house_files import HouseFile

    return HouseFile(path, encoding)


def prices_at(path: Path | None) -> AbstractContextManager[PriceTable]:
    """A file for prices, complete when the context is left; standard output if there is none. Raises InvalidSettings
    for a name that does not say what to write.
    """
    from housepredict.adapters.price_files import price_file

    return price_file(path, parquet=ending_of(path, ".csv", ".csv.gz", ".parquet") == ".parquet")


def text_at(path: Path | None) -> AbstractContextManager[IO[str]]:
    """A file for text, complete when the context is left; standard output if there is none."""
    from housepredict.adapters.whole_files import text_file

    return text_file(path)


def _trainer() -> Trainer:
    with needing("train", "Training"):
        from housepredict.adapters.sklearn_model.trainer import SklearnTrainer
    return SklearnTrainer()
