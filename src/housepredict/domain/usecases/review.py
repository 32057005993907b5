"""Use cases: review the accuracy of stored predictions on realized sales, and review drift."""

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
"""Maximum number of sales in an accuracy review. If there are more, the latest ones are reviewed."""


@frozen
class Measured:
    """The accuracy of estimates, measured on realized sales.

    Attributes:
        accuracy: the accuracy measures.
        bounds: the 95% confidence bounds, by measure.
        coverage: the coverage of the intervals.
        out_of_range: the names of the measures that are outside their acceptable range.
    """

    accuracy: Accuracy
    bounds: Mapping[str, Bounds]
    coverage: tuple[Coverage, ...]
    out_of_range: tuple[str, ...]


@frozen
class RealizedSales:
    """The realized sales in an accuracy review, at most one per prediction.

    Attributes:
        sales: the number of sales in the review.
        unmatched: the number of sales whose prediction is unknown. Accuracy is measured without these sales.
        estimated_after_sale: the number of sales whose prediction was made on the day of the sale or later. Accuracy is
            measured without these sales.
        truncated: whether older sales were left out because there are more than MAX_SALES.
        rows: the sales on which accuracy is measured, with their estimates, by model version, latest sales first.
    """

    sales: int
    unmatched: int
    estimated_after_sale: int
    truncated: bool
    rows: Mapping[str, Sequence[Valued]] = field(repr=False)


@frozen
class AccuracyReview:
    """The result of an accuracy review.

    Attributes:
        returned: the reviewed sales.
        overall: the accuracy over all sales in `returned.rows`, or None if there are none.
        by_version: the accuracy of each model version, by version name.
    """

    returned: RealizedSales
    overall: Measured | None
    by_version: Mapping[str, Measured]


@define
class ReviewAccuracy:
    """Measure the accuracy of stored estimates on realized sales.

    Every method raises RepositoryUnavailable if sales or predictions can't be read.
    """

    _sales: SaleRepository
    _predictions: PredictionRepository

    def __call__(self, since: date | None = None, until: date | None = None) -> AccuracyReview:
        """Review the sales with a sale date from `since` to `until` (inclusive). By default, all sales are reviewed."""
        returned = self.returned(since, until)
        all_rows = [row for rows in returned.rows.values() for row in rows]
        by_version = {name: measured(rows) for name, rows in sorted(returned.rows.items())}
        return AccuracyReview(returned, measured(all_rows) if all_rows else None, by_version)

    def returned(self, since: date | None = None, until: date | None = None) -> RealizedSales:
        """Return the sales with a sale date from `since` to `until` (inclusive), as needed for a review."""
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
    """Measure the accuracy of the estimates of these sales. `rows` must not be empty."""
    accuracy, coverage = measure(rows), coverages(rows)
    confidence = bounds([row.estimate for row in rows], [row.sale.price for row in rows], accuracy)
    sales = Counter(interval.level for row in rows for interval in row.intervals)
    return Measured(accuracy, confidence, coverage, out_of_range(accuracy, coverage, sales))


def _valued(sale: RecordedSale, prediction: Prediction) -> Valued:
    estimate = prediction.estimate
    sold = Sale(estimate.house, sale.price, house_key=str(prediction.id), sold_on=sale.sold_on)
    # Estimates imported from the tutorial's service may be negative.
    return Valued(sold, max(estimate.price, 0.0), estimate.intervals)


MAX_REVIEWED = 10_000
"""Maximum number of predictions in a drift review. If there are more, the newest ones are reviewed."""

PAGE_SIZE = 1000


@define
class ReviewDrift:
    """Measure how far recent predictions have drifted from the training data of the version in service."""

    _models: PredictorSource
    _store: ModelStore
    _predictions: PredictionRepository

    def __call__(self) -> Drift:
        """Measure the drift of the newest predictions.

        Raises:
            NoModel: if no version is in service.
            NoSnapshot: if the version has no training snapshot.
            RefusedModel: if the snapshot is damaged.
            ModelStoreUnavailable: if the snapshot can't be read.
            RepositoryUnavailable: if the predictions can't be read.
        """
        version = self._models.current().version
        try:
            _, artifact = self._store.get(version.name)
        except UnknownModel:
            raise NoSnapshot(
                f"Model version {version.name} has no training snapshot, since it is not in the model store"
            ) from None
        snapshot = read_snapshot(artifact)
        if snapshot is None:
            raise NoSnapshot
        return drift(version.name, snapshot, self._recent())

    def _recent(self) -> Sequence[Prediction]:
        recent: list[Prediction] = []
        while len(recent) < MAX_REVIEWED:
            page = self._predictions.recent(PAGE_SIZE, recent[-1].id if recent else None)
            recent += page
            if len(page) < PAGE_SIZE:
                break
        return recent
