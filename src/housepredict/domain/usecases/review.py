"""How far houses and estimates have moved from what the version in service was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date

from attrs import define, field, frozen

from housepredict.domain.errors import NoSnapshot, UnknownModel
from housepredict.domain.estimates import Prediction
from housepredict.domain.evaluation.drift import Drift, Snapshot, drift, read_snapshot
from housepredict.domain.evaluation.held_out import Valued, bounds, coverages, measure
from housepredict.domain.evaluation.measures import Accuracy, Bounds, Coverage, out_of_range
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import ModelStore, PredictionRepository, PredictorSource, SaleRepository
from housepredict.domain.sales import RecordedSale, Sale, with_predictions

MAX_SALES = 100_000
"""Of more sales, the latest are looked at."""


@frozen
class Measured:
    """What is measured of sales, as a version's evaluation has it of those that were held out.

    `out_of_range` names the measures that are not acceptable (see ranges).
    """

    accuracy: Accuracy
    bounds: Mapping[str, Bounds]
    coverage: tuple[Coverage, ...]
    out_of_range: tuple[str, ...]


@frozen
class RealizedSales:
    """The sales that came back, each the one that counts for its prediction.

    `rows` are those that can be measured, by model version, latest sale first. `sales` is how many were looked at:
    all of them, or the latest if it is `truncated`. Of these, `unmatched` are of predictions that nobody knows, or
    nobody knows yet, and `estimated_after_sale` of predictions that were made on the day of the sale or after it.
    """

    sales: int
    unmatched: int
    estimated_after_sale: int
    truncated: bool
    rows: Mapping[str, Sequence[Valued]] = field(repr=False)


@frozen
class AccuracyReview:
    """The measures of the sales that came back: as a whole, None if there are none, and by model version, by name."""

    returned: RealizedSales
    overall: Measured | None
    by_version: Mapping[str, Measured]


@define
class ReviewAccuracy:
    """Measure estimates by the sales that came back, as models are measured by the sales that were held out."""

    _sales: SaleRepository
    _predictions: PredictionRepository

    def __call__(self, since: date | None = None, until: date | None = None) -> AccuracyReview:
        """Of what was sold from `since` to `until`, both included; of everything by default.

        Raises RepositoryUnavailable.
        """
        returned = self.returned(since, until)
        every = [row for rows in returned.rows.values() for row in rows]
        by_version = {name: measured(rows) for name, rows in sorted(returned.rows.items())}
        return AccuracyReview(returned, measured(every) if every else None, by_version)

    def returned(self, since: date | None = None, until: date | None = None) -> RealizedSales:
        """The sales themselves; see above."""
        found = self._sales.current(since, until, MAX_SALES + 1)
        sales = found[:MAX_SALES]
        unmatched = too_late = 0
        rows: dict[str, list[Valued]] = {}
        for each in with_predictions(sales, self._predictions.find):
            sale, prediction = each.sale, each.prediction
            if prediction is None:
                unmatched += 1
            elif prediction.created_at.astimezone(UTC).date() >= sale.sold_on:
                too_late += 1
            else:
                rows.setdefault(prediction.estimate.model_version, []).append(_valued(sale, prediction))
        return RealizedSales(len(sales), unmatched, too_late, len(found) > len(sales), rows)


def measured(rows: Sequence[Valued]) -> Measured:
    """The measures of sales, of which there is at least one."""
    accuracy = measure(rows)
    found = bounds([row.estimate for row in rows], [row.sale.price for row in rows], accuracy)
    covered = coverages(rows)
    sales = Counter(interval.level for row in rows for interval in row.intervals)
    return Measured(accuracy, found, covered, out_of_range(accuracy, covered, sales))


def _valued(sale: RecordedSale, prediction: Prediction) -> Valued:
    estimate = prediction.estimate
    sold = Sale(estimate.house, sale.price, house_key=str(prediction.id), sold_on=sale.sold_on)
    # what the tutorial's service estimated may lie below zero
    return Valued(sold, max(estimate.price, 0.0), estimate.intervals)


MAX_REVIEWED = 10_000
"""How many predictions are looked at, the newest."""

PAGE = 1000
"""How many are read at a time."""


@define
class ReviewDrift:
    """Compare recent predictions with the snapshot of the version in service."""

    _models: PredictorSource
    _store: ModelStore
    _predictions: PredictionRepository

    def __call__(self) -> Drift:
        """The drift as of now.

        Raises NoModel, NoSnapshot, RefusedModel, ModelStoreUnavailable or RepositoryUnavailable.
        """
        version = self._models.current().version
        return drift(version.name, self._snapshot(version), self._recent())

    def _snapshot(self, version: ModelVersion) -> Snapshot:
        try:
            _, artefact = self._store.get(version.name)
        except UnknownModel:
            raise NoSnapshot(f"{version.name} is in no store of models, and has no snapshot") from None
        found = read_snapshot(artefact)
        if found is None:
            raise NoSnapshot
        return found

    def _recent(self) -> list[Prediction]:
        found: list[Prediction] = []
        while len(found) < MAX_REVIEWED:
            page = self._predictions.recent(PAGE, found[-1].id if found else None)
            found += page
            if len(page) < PAGE:
                break
        return found
