"""Use cases for realized sales: record, correct and look them up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from attrs import define, field, frozen

from housepredict.domain.errors import ErasedSales, InvalidSales
from housepredict.domain.estimates import MAX_PRICE
from housepredict.domain.features import Feature, Kind, check_value
from housepredict.domain.idempotency import Delivery, require_valid_key
from housepredict.domain.identifiers import IdSequence, is_uuid
from housepredict.domain.ports import Clock, PredictionRepository, SaleRepository
from housepredict.domain.sales import RealizedSale, RecordedSale, with_predictions
from housepredict.domain.schema_inference.sale_dates import latest_sale_date
from housepredict.domain.validation import Rule, Violation, counted, did_you_mean, pointer_to

FIELDS = ("prediction", "price", "date")
"""The names of a sale's input fields."""

_PRICE, _DATE = Feature("price", Kind.NUMBER), Feature("date", Kind.DATE)


@frozen
class _CheckedSale:
    prediction: UUID
    price: float
    sold_on: date


@define
class RecordSales:
    """Record realized sales of estimated houses.

    If several sales are recorded for the same prediction, only the last one counts, as a correction of the earlier
    ones. Sales for unknown predictions are stored, because the predictions may still be in a spool. Sales for erased
    or pruned predictions are not stored, because they could never be matched with a prediction.
    """

    _sales: SaleRepository
    _predictions: PredictionRepository
    _clock: Clock
    _max_batch: int = 1000
    _ids: IdSequence = field(factory=IdSequence)

    def __call__(self, sales: Sequence[object], key: str | None = None) -> Sequence[RealizedSale]:
        """Record a batch of sales (all or nothing).

        Args:
            sales: mappings with the keys `prediction` (prediction id), `price` and `date`.
            key: an idempotency key. A batch that is sent again with the same key is not recorded again.

        Returns:
            The recorded sales with their predictions, in order. Repeated sales in the batch, and sales for erased or
            pruned predictions, are omitted.

        Raises:
            InvalidSales: if any sale is invalid. The error lists all violations. JSON pointers start with the position
                of the sale, such as `/3/price`.
            RepeatedKey: if the key was used for a different batch.
            ErasedSales: if all of the predictions were erased or pruned.
            RepositoryUnavailable: if the sales can't be stored, or the predictions can't be read.
        """
        if len(sales) > self._max_batch:
            message = f"must contain at most {counted(self._max_batch, 'sale')}, not {len(sales):,}"
            raise InvalidSales([Violation("", Rule.LIMIT, message)])
        if key is not None:
            require_valid_key(key, InvalidSales)
        recorded = self._record(self._checked(sales), key)
        if not recorded:
            raise ErasedSales
        return recorded

    def one(self, sale: object, key: str | None = None) -> RealizedSale:
        """Record one sale (see `__call__`). JSON pointers are relative to the sale, such as `/price`."""
        try:
            return self([sale], key)[0]
        except InvalidSales as error:
            raise error.alone() from None

    def any_number(self, sales: Sequence[object], key: str) -> Sequence[RealizedSale]:
        """Record any number of sales (see `__call__`). All sales are validated before the first batch is stored.

        If an error occurs between batches, a retry with the same key stores only the batches that are not stored yet.
        """
        require_valid_key(key, InvalidSales)
        checked = self._checked(sales)
        recorded: list[RealizedSale] = []
        for start in range(0, len(checked), self._max_batch):
            batch = checked[start : start + self._max_batch]
            # Each batch has its own key, which includes the batch's position and size.
            recorded += self._record(batch, f"{key}:{start}-{start + len(batch)}")
        return recorded

    def history(self, prediction: UUID | str) -> Sequence[RealizedSale]:
        """Return all sales recorded for a prediction, oldest first. Only the last one counts.

        Raises:
            InvalidSales: if the prediction id is invalid.
            RepositoryUnavailable: if sales or predictions can't be read.
        """
        if broken := _broken("prediction", prediction, self._clock.now()):
            raise InvalidSales([Violation(pointer_to("prediction"), *broken, prediction)])
        return self._matched(self._sales.history(UUID(str(prediction))))

    def _record(self, checked: Sequence[_CheckedSale], key: str | None) -> Sequence[RealizedSale]:
        now = self._clock.now()
        # A correction must have the largest id, even if earlier ids were created with a clock that was ahead.
        ids = self._ids.take(len(checked), now, self._sales.largest_id())
        sales = [
            RecordedSale(id_, sale.prediction, sale.price, sale.sold_on, now)
            for id_, sale in zip(ids, checked, strict=True)
        ]
        # Read the predictions before storing the sales: if this fails, nothing is stored and the caller can retry.
        matched = self._matched(sales)
        known = {match.sale.prediction: match.prediction for match in matched}
        delivery = Delivery(key, _digest(checked)) if key else None
        recorded = self._sales.append([match.sale for match in matched], delivery)
        # Predictions may have been erased since they were read above. An erasure that commits after this check deletes
        # these sales itself, because Records.erase erases sales last.
        erased = set(self._predictions.find_erased([sale.prediction for sale in recorded]))
        if erased:
            self._sales.erase(list(erased))
        return [RealizedSale(sale, known.get(sale.prediction)) for sale in recorded if sale.prediction not in erased]

    def _matched(self, sales: Sequence[RecordedSale]) -> Sequence[RealizedSale]:
        """Combine sales with their predictions. Sales for erased or pruned predictions are omitted."""
        matched = list(with_predictions(sales, self._predictions.find))
        unknown = list({match.sale.prediction for match in matched if match.prediction is None})
        erased = set(self._predictions.find_erased(unknown)) if unknown else set()
        return [match for match in matched if match.sale.prediction not in erased]

    def _checked(self, sales: Sequence[object]) -> Sequence[_CheckedSale]:
        if not sales:
            raise InvalidSales([Violation("", Rule.EMPTY, "must contain at least one sale")])
        now = self._clock.now()
        violations = [violation for row, sale in enumerate(sales) for violation in _violations(sale, row, now)]
        if violations:
            raise InvalidSales(violations)
        first: dict[UUID, tuple[int, _CheckedSale]] = {}
        for row, sale in enumerate(sales):
            checked = _parsed(sale)  # type: ignore[arg-type]  # All sales are mappings, as checked above.
            position, earlier = first.setdefault(checked.prediction, (row, checked))
            if earlier != checked:
                message = f"contradicts [{position}]: same prediction, different price or date"
                violations.append(Violation(pointer_to(row), Rule.DUPLICATE, message))
        if violations:
            raise InvalidSales(violations)
        return [checked for _, checked in first.values()]


def _violations(sale: object, row: int, now: datetime) -> list[Violation]:
    if not isinstance(sale, Mapping):
        return [Violation(pointer_to(row), Rule.TYPE, "must be an object with prediction, price and date", sale)]
    violations = []
    for name in FIELDS:
        value = sale.get(name)
        if value is None:
            message = "required" if name not in sale else "required, must not be null"
            violations.append(Violation(pointer_to(row, name), Rule.MISSING, message))
        elif broken := _broken(name, value, now):
            violations.append(Violation(pointer_to(row, name), *broken, value))
    violations += [
        Violation(
            pointer_to(row, name), Rule.UNKNOWN, f"not a field of a sale{did_you_mean(str(name), FIELDS)}", sale[name]
        )
        for name in sale
        if name not in FIELDS
    ]
    violations += [
        Violation(pointer_to(row, name), Rule.DUPLICATE, "given more than once", sale.get(name))
        for name in getattr(sale, "repeated", ())
    ]
    return violations


def _broken(name: str, value: object, now: datetime) -> tuple[Rule, str] | None:
    """Return the rule that a field's value violates, with an error message, or None if the value is valid.

    Args:
        name: the name of the field.
        value: the value of the field.
        now: the current time, used to reject future dates.
    """
    if name == "prediction":
        is_id = isinstance(value, UUID) or (isinstance(value, str) and is_uuid(value))
        return None if is_id else (Rule.TYPE, "must be a prediction id (UUID)")
    if broken := check_value(_PRICE if name == "price" else _DATE, value):
        return broken
    if name == "price":
        # Prices are rounded to cents before this check, so 0.004 is too small.
        is_price = 0 < _cents(value) < MAX_PRICE
        return None if is_price else (Rule.BOUNDS, f"must be at least 0.01 and below {MAX_PRICE:.0e}")
    if (day := _day(value)) <= (latest := latest_sale_date(now)):
        return None
    return Rule.DATE, f"must not be in the future: {day} is after {latest} (today is {now:%Y-%m-%d} in UTC)"


def _parsed(sale: Mapping[str, object]) -> _CheckedSale:
    return _CheckedSale(UUID(str(sale["prediction"])), _cents(sale["price"]), _day(sale["date"]))


def _cents(price: object) -> float:
    return round(float(price), 2)  # type: ignore[arg-type]  # The price was checked to be a number.


def _day(value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _digest(sales: Sequence[_CheckedSale]) -> str:
    """Compute a digest of parsed sales. It does not depend on how the values were formatted in the input."""
    content = [[str(sale.prediction), repr(sale.price), sale.sold_on.isoformat()] for sale in sales]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
