"""All that the golden answers know about internals: how an application with a fixed clock, ids, and models is made.

The requests and the recorded answers know only HTTP and the command line. After a change of internals, adapt this
module until the tests pass; the recorded answers stay.

The clock stands at noon, June 1, 2025 (UTC), unless a command sets another time. Ids are counted across predictions,
sales, and trainings: `id_of(1)` is the first id of a service or of a data folder. Prices follow from a simple formula.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import UUID

from attrs import define, evolve, field, frozen
from starlette.applications import Starlette
from starlette.testclient import TestClient

from housepredict.adapters.memory import InMemoryModels, InMemoryPredictions
from housepredict.domain.errors import (
    MissingExtra,
    ModelStoreUnavailable,
    NoExplanation,
    RefusedModel,
    RepositoryUnavailable,
    TrainingBroken,
    TrainingCancelled,
    UnknownModel,
)
from housepredict.domain.estimates import Calibration, Contribution, Explanation, Prediction, Unit
from housepredict.domain.evaluation.coverage import CoverageTest, IntervalChoice, IntervalKind
from housepredict.domain.evaluation.drift import SNAPSHOT_FILE, snapshot, write_snapshot
from housepredict.domain.evaluation.held_out import HELD_OUT_FILE, HeldOut, HeldOutSale, write_held_out
from housepredict.domain.evaluation.measures import Accuracy, Bounds, Coverage, Evaluation, OutOfTimeEvaluation, Segment
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import (
    Artifact,
    Comparison,
    ModelVersion,
    Performance,
    Pointer,
    SelfTest,
    TrainingSource,
    Verdict,
    digests_of,
)
from housepredict.domain.ports import Backlog, CalibratedModel, Progress, TrainedModel, Valuation
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.usecases.train import Train
from housepredict.domain.usecases.training_history import TrainingHistory
from housepredict.entrypoints.cli import main as cli
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.in_memory import in_memory
from housepredict.entrypoints.settings import Settings, read_settings

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)

_TOWNS = {"Linden": 60_000.0, "Łódź": 30_000.0, "Ash": 0.0}
_SCHEMA = FeatureSchema(
    (
        Feature("size", Kind.NUMBER, "sq ft", minimum=0.0, observed=(500, 4000), usual=(800, 3500)),
        Feature("bedrooms", Kind.INTEGER, minimum=0.0, maximum=20.0, observed=(1, 6)),
        Feature("garden", Kind.BOOLEAN, required=False),
        Feature("town", Kind.CATEGORY, required=False, categories=tuple(_TOWNS), rare=("Ash",)),
        Feature("heating", Kind.CATEGORY, required=False, categories=("electric", "gas"), closed=True),
        Feature("sold", Kind.DATE, required=False, observed=("2023-01-02", "2025-05-27")),
    ),
    sale_date="sold",
    valuation_date=date(2025, 5, 27),
)
_CALIBRATION = Calibration(0.125, 0.25, 0.1, (0.015625, 0.03125, 0.046875, 0.0625, 0.078125, 0.09375, 0.109375))
_MEASURES = Accuracy(200, 1.0, 8.25, 32.0, 60.0, 90.5, 30_000.0, 1.6e9, 40_000.0, 0.875, 12.5, 10.0, 1.0, -0.0125)


def id_of(number: int) -> str:
    """The nth id of a service or of a data folder, with the clock at noon."""
    return str(_id(NOON, number))


def _id(now: datetime, number: int) -> UUID:
    milliseconds = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | 0x7000_8 << 60 | number)


@frozen
class _FixedClock:
    time: datetime

    def now(self) -> datetime:
        return self.time


@define
class CountedIds(IdSequence):
    """UUIDv7s whose last digits count up from 1."""

    _last: int = 0

    def take(self, count: int, now: datetime, above: UUID | None = None) -> Sequence[UUID]:
        first = self._last + 1
        self._last += count
        return [_id(now, number) for number in range(first, first + count)]


@frozen
class _Predictor:
    """100 per square foot, 5,000 per bedroom, 20,000 for a garden, and an amount for some towns."""

    version: ModelVersion
    _artifact: Artifact = field(factory=dict)

    def predict(self, houses: Sequence[House]) -> Valuation:
        prices = [_price(house) for house in houses]
        return Valuation(prices, [1.0] * len(prices) if self.version.calibration else None)


def _parts(house: House) -> dict[str, float]:
    values = house.values
    return {
        "size": 100.0 * float(values.get("size", 0)),
        "bedrooms": 5000.0 * float(values.get("bedrooms", 0)),
        "garden": 20_000.0 * bool(values.get("garden")),
        "town": _TOWNS.get(str(values.get("town")), 0.0),
    }


def _price(house: House) -> float:
    return sum(_parts(house).values())


@frozen
class _Explainer:
    version: ModelVersion

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        return [
            Explanation(Unit.PRICE, 0.0, tuple(Contribution((name,), amount) for name, amount in _parts(house).items()))
            for house in houses
        ]


@frozen
class _BrokenPredictor(_Predictor):
    def predict(self, houses: Sequence[House]) -> Valuation:
        raise RuntimeError("a fault of the model")


@frozen
class _HeldUpPredictor(_Predictor):
    """Signals that it was called, and blocks until it may return."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        _ASKED.set()
        assert _MAY_ESTIMATE.wait(60)
        return super().predict(houses)


_ASKED, _MAY_ESTIMATE = Event(), Event()
_PREDICTORS = {"broken": _BrokenPredictor, "busy": _HeldUpPredictor}


def _houses(count: int) -> Sequence[House]:
    towns = (*_TOWNS, "Linden")
    return [
        House({"size": 800 + 16 * row, "bedrooms": 1 + row % 5, "garden": row % 2 == 0, "town": towns[row % 4]})
        for row in range(count)
    ]


def _version(name: str, day: int) -> tuple[ModelVersion, Artifact]:
    """A version in which every field is set."""
    houses = _houses(200)
    prices = [_price(house) for house in houses]
    sales = [
        HeldOutSale(price, price * (0.875 + row % 5 / 16), 1.0, date(2024, 1 + row % 12, 3))
        for row, price in enumerate(prices[:40])
    ]
    artifact = {
        "model.bin": b"made by hand",
        SNAPSHOT_FILE: write_snapshot(snapshot(_SCHEMA, houses, prices)),
        HELD_OUT_FILE: write_held_out(HeldOut(tuple(sales), 200)),
    }
    performance = Performance(0.0625, _MEASURES, 91.5, 0.0)
    version = ModelVersion(
        name=name,
        created_at=NOON - timedelta(days=10 - day),
        algorithm=Algorithm.BOOSTING,
        schema=_SCHEMA,
        options=TrainingOptions(price="price", exclude=("notes",), kinds={"heating": Kind.CATEGORY}, seed=7),
        source=TrainingSource(
            "/data/sales.csv", "0" * 64, None, date(2025, 5, 28), {"no price": 2}, ("The encoding is cp1250.",)
        ),
        evaluation=Evaluation(
            800,
            200,
            _MEASURES,
            {"mdape": Bounds(7.5, 9.0), "cod": Bounds(9.0, 11.0)},
            (Coverage(80, 80.5, 1.125), Coverage(90, 91.5, 1.25)),
            tuple(Segment(f"{low} to {low + 50_000}", 20, 1.0, 8.0, 90.0) for low in range(100_000, 250_000, 50_000)),
            "town",
            (Segment("Linden", 120, 1.0, 8.0, 91.0), Segment("Łódź", 80, 0.96875, 9.5, 90.0)),
            OutOfTimeEvaluation(
                date(2025, 3, 1), 850, 150, evolve(_MEASURES, n=150, cod=22.5), (Coverage(90, 84.0, 1.25),)
            ),
        ),
        self_test=(SelfTest(houses[0], prices[0]),),
        digests=digests_of(artifact),
        libraries={"scikit-learn": "1.9.1"},
        calibration=_CALIBRATION,
        verdict=Verdict(
            True, ("It is better in 97.5% of resamples.",), Comparison("before", 200, 97.5, performance, performance)
        ),
        intervals=IntervalChoice(
            IntervalKind.SCALED,
            (
                CoverageTest(IntervalKind.SCALED, 80, 200, 161, 0.9375),
                CoverageTest(IntervalKind.SCALED, 90, 200, 183, 0.5),
            ),
        ),
    )
    return version, artifact


def _plain_version(name: str, day: int) -> tuple[ModelVersion, Artifact]:
    """A version without intervals, snapshot, and explanations, like those of older releases."""
    version, _ = _version(name, day)
    artifact = {"model.bin": b"made by hand, too"}
    return evolve(version, calibration=None, verdict=None, intervals=None, digests=digests_of(artifact)), artifact


def _load(version: ModelVersion, artifact: Artifact) -> _Predictor:
    if version.name == "damaged":
        raise RefusedModel("Model version damaged is damaged: model.bin was changed")
    return _PREDICTORS.get(version.name, _Predictor)(version)


def _load_explainer(version: ModelVersion, artifact: Artifact) -> _Explainer:
    if version.calibration is None:
        raise NoExplanation
    return _Explainer(version)


@define
class _Trainer:
    """Returns the formula as a model. Its `behavior` can be `waiting`, `cancelled`, `killed`, or `missing`."""

    behavior: str = ""
    application: Application | None = None

    def fit(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> TrainedModel:
        if self.behavior == "waiting":
            self._wait_until_cancelled()
        progress(1, 2)
        if self.behavior == "cancelled":
            raise TrainingCancelled
        if self.behavior == "missing":
            raise MissingExtra.named("train", "Training")
        if self.behavior == "killed":
            raise TrainingBroken("The process that trained was ended by SIGKILL.")

        def predict(houses: Sequence[House]) -> Valuation:
            return Valuation([_price(house) for house in houses], [1.0] * len(houses))

        progress(2, 2)
        return TrainedModel(
            predict=predict,
            calibration=_CALIBRATION,
            artifact={"model.bin": b"trained"},
            algorithm=Algorithm.LINEAR,
            libraries={"scikit-learn": "1.9.1"},
            refit=lambda _sales: CalibratedModel(predict, _CALIBRATION),
        )

    def _wait_until_cancelled(self) -> None:
        assert self.application
        trainings = self.application.trainings
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if trainings.is_cancelling(trainings.recent(1)[0].id):
                raise TrainingCancelled
            time.sleep(0.005)
        raise AssertionError("nobody cancelled the training")


@define
class _NoPredictions(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        self.check()

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        self.check()
        return ()

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        self.check()
        return ()

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        self.check()
        return ()

    def erase(self, ids: Sequence[UUID]) -> int:
        self.check()
        return 0

    def check(self) -> None:
        raise RepositoryUnavailable("no answer from db.internal")


@define
class _LatePredictions(InMemoryPredictions):
    """A repository that reports predictions which have not reached the database."""

    def backlog(self) -> Backlog:
        return Backlog(3, NOON - timedelta(minutes=5), 1, "no answer from db.internal")

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        return self.recent(limit, before), self.backlog()

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        self.append(predictions)


@define
class _NoModels(InMemoryModels):
    """A model store that is unavailable."""

    def versions(self) -> Sequence[ModelVersion]:
        raise ModelStoreUnavailable("no answer from db.internal")

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        raise ModelStoreUnavailable("no answer from db.internal")

    def pointer(self) -> Pointer:
        raise ModelStoreUnavailable("no answer from db.internal")


@define
class _LostModels(InMemoryModels):
    """A model store that lacks the promoted version."""

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        raise UnknownModel(f"There is no model version {name!r} in /data/models")

    def pointer(self) -> Pointer:
        return Pointer("lost", 1)


def _add_versions(application: Application, world: str) -> None:
    """Store the versions of a world, and promote the last one."""
    match world:
        case "houses" | "no storage" | "backlog" | "no trainer":
            versions = [_version("first", 1), _version("second", 2)]
        case "models" | "refused promotion":
            versions = [_version("damaged", 0), _version("first", 1), _version("second", 2)]
        case "old model":
            versions = [_plain_version("old", 1)]
        case "refused model":
            versions = [_plain_version("damaged", 1)]
        case "broken model":
            versions = [_plain_version("broken", 1)]
        case "busy model":
            versions = [_plain_version("busy", 1)]
        case _:
            return
    for version, artifact in versions:
        application.models.add(version, artifact)
        if version.name != "damaged" or len(versions) == 1:
            application.models.promote(version.name)


def _rewire(application: Application, world: str, clock: _FixedClock, ids: CountedIds, behavior: str = "") -> None:
    """Replace the clock, the ids, the loaders, and the trainer of an application."""
    match world:
        case "no storage":
            application.storage.predictions = _NoPredictions()
        case "backlog":
            application.storage.predictions = _LatePredictions()
        case "no model store":
            application.storage.model_store = _NoModels()
        case "lost model":
            application.storage.model_store = _LostModels()
        case "no trainer":
            behavior = "missing"
    application.clock = clock
    application._ids = ids
    application.trainings = TrainingHistory(application.models, application.storage.training_log, clock, ids)
    if world == "real":
        return
    if world != "demonstration":
        application.load_predictor = _load
    application._load_explainer = _load_explainer  # type: ignore[method-assign]
    application.train = Train(
        _Trainer(behavior, application),
        application.load_predictor,
        application.models,
        application.sales_source,
        clock,
        application.trainings,
    )


@contextmanager
def http_service(
    world: str,
    folder: Path,
    environment: Mapping[str, str],
    *,
    peer: str = "127.0.0.1",
    url: str = "http://localhost:5000",
    embedded: bool = False,
    started: bool = True,
    stopping: bool = False,
    trainer: str = "",
) -> Iterator[TestClient]:
    """Serve the real ASGI app over memory. Uploads go to the folder. Yields a client."""
    application = in_memory()
    application.settings = evolve(
        read_settings({"HOUSEPREDICT_DATABASE_URL": "memory:", **environment}), data_dir=folder
    )
    _rewire(application, world, _FixedClock(NOON), CountedIds(), trainer)
    _add_versions(application, world)
    app = asgi_app(application=application, embedded=embedded)
    client = TestClient(app, base_url=url, client=(peer, 50000), raise_server_exceptions=False)
    if not started:
        yield client
        return
    with client:
        if world == "refused promotion":
            application.models.promote("damaged")
            application.live_model.look()
        app.state.service.stopping = stopping
        with _queue(client, app) if world == "busy model" else nullcontext():
            yield client


@contextmanager
def _queue(client: TestClient, app: Starlette) -> Iterator[None]:
    """Keep one request in flight and one in the queue."""
    _ASKED.clear()
    _MAY_ESTIMATE.clear()
    house = {"size": 1000, "bedrooms": 2}
    requests = [Thread(target=client.post, args=("/predict",), kwargs={"json": house}) for _ in range(2)]
    requests[0].start()
    assert _ASKED.wait(60)
    requests[1].start()
    until = time.monotonic() + 60
    while not app.state.service.running.estimator.waiting() and time.monotonic() < until:
        time.sleep(0.005)
    try:
        yield
    finally:
        _MAY_ESTIMATE.set()
        for request in requests:
            request.join()


def prepare_folder(world: str, folder: Path) -> None:
    """Put the versions of a world into a data folder."""
    with Application(Settings(data_dir=folder)) as application:
        _add_versions(application, world)


def run_command(world: str, arguments: Sequence[str], at: datetime, ids: CountedIds) -> int:
    """Run a command in this process and working folder. Returns its exit code."""

    class GoldenApplication(Application):
        def __init__(self, *values: Any, **named: Any) -> None:
            super().__init__(*values, **named)
            _rewire(self, world, _FixedClock(at), ids)

    try:
        return cli.main(arguments, application=GoldenApplication)
    except SystemExit as exit_:
        return int(exit_.code or 0)


def clean_environment(variables: Mapping[str, str]) -> None:
    """Remove all settings from the environment, and set these variables."""
    for name in [name for name in os.environ if name.startswith(("HOUSEPREDICT_", "DB_", "OTEL_"))]:
        del os.environ[name]
    os.environ.update(variables)
