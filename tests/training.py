"""Doubles for the use cases: listed sales, a trainer of a price per area, and a failing model store."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from threading import Event
from typing import Any

from attrs import define, evolve, field, frozen

from housepredict.adapters.memory import InMemoryModels, InMemoryTrainings
from housepredict.domain.errors import (
    HousepredictError,
    ModelStoreUnavailable,
    RefusedModel,
)
from housepredict.domain.estimates import Calibration
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.domain.ports import CalibratedModel, Progress, TrainedModel, Valuation
from housepredict.domain.sales import Cell, Sale, SalesTable
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.usecases.train import Train
from housepredict.domain.usecases.training_history import TrainingHistory
from housepredict.testing import doubles

NOON = doubles.NOON
FrozenClock = doubles.FrozenClock
SCHEMA = FeatureSchema((Feature("size", Kind.NUMBER, observed=(50, 200)),))


@frozen
class PricePerArea:
    """Prices a house by its size alone."""

    version: ModelVersion
    per_area: float = 1000.0

    def predict(self, houses: Sequence[House]) -> Valuation:
        return Valuation([self.per_area * float(house.values["size"]) for house in houses])


ROWS = 140
"""Enough for a first version to be promoted: at least 20 sales are held out."""
OPTIONS = TrainingOptions(price="price", house_id="house", seed=7)


def table(rows: int = ROWS, **more: Sequence[Cell]) -> SalesTable:
    return SalesTable(
        {
            "house": [f"H{row}" for row in range(rows)],
            "size": [100 + row / 2 for row in range(rows)],
            "price": [1100 * (100 + row / 2) for row in range(rows)],
            **more,
        },
        digest="d" * 64,
    )


@define
class ListedSales:
    """Sales at a location. Reading raises `fault`, if set."""

    location: str | None
    fault: HousepredictError | None = None
    sales: SalesTable = field(factory=table)
    with_recorded: bool = False

    def read(self) -> SalesTable:
        if self.fault:
            raise self.fault
        return self.sales


@define
class ListedTrainer:
    """Fits a price per area and records its arguments. Can fail or wait.

    With a `plain_calibration`, intervals are scaled, and plain ones are available as a fallback.
    """

    fault: BaseException | None = None
    price: Callable[[House], float] = lambda house: 1000.0 * float(house.values["size"])
    waits_for: Event | None = None
    started: Event = field(factory=Event)
    seen: list[tuple[Sequence[Sale], Algorithm, int]] = field(factory=list)
    calibration: Calibration | None = None
    plain_calibration: Calibration | None = None
    irreproducible: str | None = None
    refit_sales: list[Sequence[Sale]] = field(factory=list)

    def fit(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> TrainedModel:
        self.started.set()
        if self.waits_for:
            assert self.waits_for.wait(10)
        if self.fault:
            raise self.fault
        progress(1, 1)
        self.seen.append((sales, options.algorithm, options.seed))
        fitted = TrainedModel(
            predict=self._predict,
            calibration=self.calibration,
            artifact={"model.bin": b"%d" % len(self.seen)},
            algorithm=Algorithm.BOOSTING if options.algorithm is Algorithm.AUTO else options.algorithm,
            libraries={"lib": "1.0"},
            refit=partial(self._refit, calibration=self.calibration),
            irreproducible=self.irreproducible,
        )
        if self.plain_calibration is None:
            return fitted
        plain = evolve(
            fitted,
            calibration=self.plain_calibration,
            artifact={"model.bin": b"plain"},
            refit=partial(self._refit, calibration=self.plain_calibration),
        )
        return evolve(fitted, with_plain_intervals=lambda: plain)

    def _predict(self, houses: Sequence[House]) -> Valuation:
        return Valuation([self.price(each) for each in houses], [0.1] * len(houses))

    def _refit(self, sales: Sequence[Sale], calibration: Calibration | None) -> CalibratedModel:
        self.refit_sales.append(sales)
        return CalibratedModel(self._predict, calibration)


MANY = ListedSales(
    "/many.csv",
    sales=table(1000, sold=[(date(2024, 1, 1) + timedelta(day // 2)).isoformat() for day in range(1000)]),
)
HOLDS = Calibration(0.5, 1.5, 1.0)
NARROW = Calibration(0.5, 0.5, 1.0)
WIDE = Calibration(10.0, 10.0, 1.0)
ENDLESS = Calibration(0.5, math.inf, 1.0)
"""For the prices of `mostly_right`."""


def mostly_right(house: House) -> float:
    """Price eight of ten houses exactly, one a tenth too high, and one at twice the price.

    Intervals of 0.05 and 0.15 on a logarithmic scale hold 80 and 90% of the sale prices of `table`.
    """
    size = float(house.values["size"])
    return 1100 * size * {8: 1.1, 9: 2.0}.get(round(2 * size) % 10, 1.0)


def load(version: ModelVersion, artifact: Artifact) -> PricePerArea:
    return PricePerArea(version)


def refuse(version: ModelVersion, artifact: Artifact) -> PricePerArea:
    raise RefusedModel


@define
class FaultyModels(InMemoryModels):
    """A model store that fails in `add` or `promote`."""

    fails_at: str = ""

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        if self.fails_at == "add":
            raise ModelStoreUnavailable
        super().add(version, artifact)

    def promote(self, name: str) -> None:
        if self.fails_at == "promote":
            raise ModelStoreUnavailable
        super().promote(name)


def training(**parts: Any) -> Train:
    usual: dict[str, Any] = {
        "trainer": ListedTrainer(),
        "load": load,
        "models": InMemoryModels(),
        "sources": lambda location, _options, _with_recorded: ListedSales(location),
    }
    usual |= {"clock": FrozenClock()} | parts
    log = usual.pop("log", None) or InMemoryTrainings()
    return Train(**usual, trainings=TrainingHistory(usual["models"], log, usual["clock"]))


def ignore(_done: int, _total: int) -> None:
    """Ignore progress."""
