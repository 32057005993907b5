"""The HTTP service for tests: the real app and use cases, in memory, with the tutorial's model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

from attrs import define, evolve, field, frozen
from httpx2 import Response
from starlette.testclient import TestClient

from housepredict.adapters.live_model import LiveModel
from housepredict.adapters.memory import InMemoryPredictions
from housepredict.adapters.system import SystemClock
from housepredict.domain.estimates import Calibration, Prediction
from housepredict.domain.evaluation.drift import SNAPSHOT_FILE, snapshot, write_snapshot
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import Artifact, ModelVersion, TrainingSource, digests_of
from housepredict.domain.ports import CalibratedModel, Progress, SalesSource, TrainedModel, Valuation
from housepredict.domain.sales import Sale, SalesTable
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.usecases.train import Train
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.in_memory import in_memory
from housepredict.testing.drawing import sample_version

LAB_HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}
LAB_PRICE = 254206.02
LAB_SCHEMA = FeatureSchema(
    (
        Feature("size", Kind.NUMBER, "sq ft", minimum=0.0, observed=(379.37, 3539.44)),
        Feature("bedrooms", Kind.INTEGER, minimum=0.0, observed=(1, 5)),
        Feature("age", Kind.INTEGER, "years", minimum=0.0, observed=(0, 49)),
    )
)


@frozen
class LabModel:
    """The tutorial's linear model."""

    version: ModelVersion
    _artifact: Artifact = field(factory=dict)

    def predict(self, houses: Sequence[House]) -> Valuation:
        return Valuation([_lab_price(**each.values) for each in houses])  # type: ignore[arg-type]


@frozen
class CalibratedLabModel(LabModel):
    """Has the same spread for every house."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        return Valuation(super().predict(houses).prices, [1.0] * len(houses))


def _lab_price(size: float = 0, bedrooms: int = 0, age: int = 0, **_others: object) -> float:
    return -39.87534722441342 + 99.55371357310399 * size + 5053.934788592946 * bedrooms - 980.0193982903763 * age


def lab_version(
    name: str = "lab", *, schema: FeatureSchema = LAB_SCHEMA, location: str | None = "/sales.csv"
) -> tuple[ModelVersion, Artifact]:
    version, artifact = sample_version(name)
    return evolve(version, schema=schema, source=TrainingSource(location, "0" * 64)), artifact


def calibrated_version(
    within_80: float | None = 0.125, within_90: float | None = 0.25
) -> tuple[ModelVersion, Artifact]:
    """Return a version with a calibration."""
    version, artifact = lab_version("sure")
    return evolve(version, calibration=Calibration(within_80, within_90, 0.1)), artifact


def version_with_snapshot(name: str = "lab") -> tuple[ModelVersion, Artifact]:
    """Return a version with a snapshot of its training houses, which have 1,000 to 3,000 sq ft."""
    houses = [House({"size": 1000 + 2 * row, "bedrooms": 1 + row % 5, "age": row % 50}) for row in range(1000)]
    taken = snapshot(LAB_SCHEMA, houses, [_lab_price(**each.values) for each in houses])  # type: ignore[arg-type]
    version, artifact = lab_version(name)
    artifact = {**artifact, SNAPSHOT_FILE: write_snapshot(taken)}
    return evolve(version, digests=digests_of(artifact)), artifact


@define
class Faulty(InMemoryPredictions):
    """A repository that raises `fault` before it records anything."""

    fault: Exception | None = None

    def append(self, predictions: Sequence[Prediction]) -> None:
        self.check()
        super().append(predictions)

    def check(self) -> None:
        if self.fault:
            raise self.fault


@define
class FakeTrainer:
    """Fits a fixed price per area close to that of the sales. Blocks until `may_end` is set, if given."""

    began: Event = field(factory=Event)
    may_end: Event | None = None
    per_area: float = 150.0
    seen: list[Sale] = field(factory=list)
    options: TrainingOptions | None = None

    def fit(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> TrainedModel:
        self.seen, self.options = list(sales), options
        self.began.set()
        if self.may_end:
            assert self.may_end.wait(10)

        def predict(houses: Sequence[House]) -> Valuation:
            return Valuation([self.per_area * float(each.values["size"]) for each in houses])

        return TrainedModel(
            predict=predict,
            calibration=None,
            artifact={"model.bin": b"trained"},
            algorithm=Algorithm.LINEAR,
            libraries={},
            refit=lambda _sales: CalibratedModel(predict, None),
        )


@frozen
class FakeSales:
    """Forty sales with the lab's features at any location, with other prices than the lab's."""

    location: str | None
    with_recorded: bool = False

    def read(self) -> SalesTable:
        rows = range(40)
        columns: dict[str, list[Any]] = {
            "size": [1000.5 + 100 * row for row in rows],
            "bedrooms": [1 + row % 5 for row in rows],
            "age": list(rows),
            "price": [(138 if row % 2 else 162) * (1000.5 + 100 * row) for row in rows],
        }
        return SalesTable(columns, "1" * 64, schema=LAB_SCHEMA, held_out=[row % 5 == 0 for row in rows])


def application(
    *versions: tuple[ModelVersion, Artifact], load: Callable[..., Any] = LabModel, **settings: Any
) -> Application:
    """Return an application in memory, with the last version promoted."""
    made = in_memory(**settings)
    for version, artifact in versions:
        made.models.add(version, artifact)
        made.models.promote(version.name)
    made.live_model = LiveModel(made.models, load)
    return made


def trainable(
    made: Application, trainer: FakeTrainer, source: Callable[[str | None], SalesSource] = FakeSales
) -> Application:
    made.train = Train(
        trainer, LabModel, made.models, lambda location, *_: source(location), SystemClock(), made.trainings
    )
    return made


@contextmanager
def served(
    made: Application, *, embedded: bool = False, peer: str = "127.0.0.1", url: str = "http://localhost:5000"
) -> Iterator[TestClient]:
    app = asgi_app(application=made, embedded=embedded)
    with TestClient(app, base_url=url, client=(peer, 50000)) as client:
        yield client


def post(client: TestClient, body: bytes | str, content_type: str | None = "application/json") -> Response:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return client.post("/predict", content=body, headers=headers)


def assert_problem(response: Response, status: int, name: str) -> dict[str, Any]:
    """Assert that the response is a complete problem document. Returns it."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"urn:housepredict:problem:{name}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["error"]
    for violation in problem.get("violations", ()):
        assert violation.keys() == {"pointer", "rule", "message", "value"}
    return problem


def broken(problem: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the pointer and the rule of each violation."""
    return [(each["pointer"], each["rule"]) for each in problem["violations"]]
