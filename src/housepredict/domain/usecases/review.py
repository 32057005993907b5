"""Reviews of stored predictions: their accuracy by realized sales, and their drift from the training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date

from attrs import define, field, frozen

from housepredict.domain.errors import NoSnapshot, UnknownModel
from housepredict.domain.estimates import Prediction
from housepredict.domain.evaluation.drift import Drift, drift, read_snapshot
from housepredict.domain.evaluation.held_out import Valued, bounds, coverages, measure
from housepredict.domain.evaluation.measures import Accuracy, Bounds, Coverage, out_of_range
from housepredict.domain.ports import ModelStore, PredictionRepository, PredictorSource, SaleRepository
from housepredict.domain.sales import RecordedSale, Sale, with_predictions

MAX_SALES = 100_000
"""Most sales in a review: the latest."""


@frozen
class Measured:
    """The measures of realized sales, as an evaluation has them for held-out sales.

    `out_of_range` names the measures outside of their acceptable range.
    """

    accuracy: Accuracy
    bounds: Mapping[str, Bounds]
    coverage: tuple[Coverage, ...]
    out_of_range: tuple[str, ...]


@frozen
class RealizedSales:
    """The realized sales that count, one for each prediction.

    Attributes:
        sales: the number of reviewed sales.
        unmatched: those whose prediction is unknown, at least for now.
        estimated_after_sale: those whose prediction was made on the day of the sale, or later.
        truncated: whether these are only the latest sales.
        rows: the other sales, by model version, latest first.
    """

    sales: int
    unmatched: int
    estimated_after_sale: int
    truncated: bool
    rows: Mapping[str, Sequence[Valued]] = field(repr=False)


@frozen
class AccuracyReview:
    """The measures of all realized sales, None without any, and those of each model version."""

    returned: RealizedSales
    overall: Measured | None
    by_version: Mapping[str, Measured]


@define
class ReviewAccuracy:
    """Measure estimates by realized sales, as models are measured by held-out sales.

    Each method raises RepositoryUnavailable.
    """

    _sales: SaleRepository
    _predictions: PredictionRepository

    def __call__(self, since: date | None = None, until: date | None = None) -> AccuracyReview:
        """Review what was sold from `since` to `until`, both included; by default everything."""
        returned = self.returned(since, until)
        every = [row for rows in returned.rows.values() for row in rows]
        by_version = {name: measured(rows) for name, rows in sorted(returned.rows.items())}
        return AccuracyReview(returned, measured(every) if every else None, by_version)

    def returned(self, since: date | None = None, until: date | None = None) -> RealizedSales:
        """The sales of a review; see `__call__`."""
        latest = self._sales.current(since, until, MAX_SALES + 1)
        sales = latest[:MAX_SALES]
        unmatched = too_late = 0
        rows: dict[str, list[Valued]] = {}
        for match in with_predictions(sales, self._predictions.find):
            sale, prediction = match.sale, match.prediction
            if prediction is None:
                unmatched += 1
            elif prediction.created_at.astimezone(UTC).date() >= sale.sold_on:
                too_late += 1
            else:
                rows.setdefault(prediction.estimate.model_version, []).append(_valued(sale, prediction))
        return RealizedSales(len(sales), unmatched, too_late, len(latest) > len(sales), rows)


def measured(rows: Sequence[Valued]) -> Measured:
    """The measures of at least one sale."""
    accuracy, coverage = measure(rows), coverages(rows)
    confidence = bounds([row.estimate for row in rows], [row.sale.price for row in rows], accuracy)
    sales = Counter(interval.level for row in rows for interval in row.intervals)
    return Measured(accuracy, confidence, coverage, out_of_range(accuracy, coverage, sales))


def _valued(sale: RecordedSale, prediction: Prediction) -> Valued:
    estimate = prediction.estimate
    sold = Sale(estimate.house, sale.price, house_key=str(prediction.id), sold_on=sale.sold_on)
    # estimates of the tutorial's service may be negative
    return Valued(sold, max(estimate.price, 0.0), estimate.intervals)


MAX_REVIEWED = 10_000
"""Most predictions in a review of drift: the newest."""

PAGE = 1000
"""Predictions read at a time."""


@define
class ReviewDrift:
    """Compare recent predictions with the snapshot of the version in service."""

    _models: PredictorSource
    _store: ModelStore
    _predictions: PredictionRepository

    def __call__(self) -> Drift:
        """Review the drift. Raises NoModel, RefusedModel, NoSnapshot, ModelStoreUnavailable, RepositoryUnavailable."""
        version = self._models.current().version
        try:
            _, artifact = self._store.get(version.name)
        except UnknownModel:
            raise NoSnapshot(f"{version.name} is in no store of models, and has no snapshot") from None
        snapshot = read_snapshot(artifact)
        if snapshot is None:
            raise NoSnapshot
        return drift(version.name, snapshot, self._recent())

    def _recent(self) -> Sequence[Prediction]:
        recent: list[Prediction] = []
        while len(recent) < MAX_REVIEWED:
            page = self._predictions.recent(PAGE, recent[-1].id if recent else None)
            recent += page
            if len(page) < PAGE:
                break
        return recent
