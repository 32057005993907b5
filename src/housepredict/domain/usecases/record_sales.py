"""Realized sales: recorded, corrected and looked up."""

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
from housepredict.domain.schema_inference.sale_dates import latest_day
from housepredict.domain.validation import Rule, Violation, pointer_to

FIELDS = ("prediction", "price", "date")
"""The fields of a sale."""

_PRICE, _DATE = Feature("price", Kind.NUMBER), Feature("date", Kind.DATE)


@frozen
class _CheckedSale:
    prediction: UUID
    price: float
    sold_on: date


@define
class RecordSales:
    """Record the realized sales of estimated houses, and return them with their predictions.

    The sale that was recorded last counts for a prediction: it corrects the others. A sale of an unknown prediction is
    stored, too, since the prediction may still be in a spool. No sale is stored for a prediction that was erased or
    pruned: the id can never be matched, and pruning deletes the markers that tell one from the other.
    """

    _sales: SaleRepository
    _predictions: PredictionRepository
    _clock: Clock
    _max_batch: int = 1000
    _ids: IdSequence = field(factory=IdSequence)

    def __call__(self, sales: Sequence[object], key: str | None = None) -> Sequence[RealizedSale]:
        """Record a batch, all or nothing.

        Args:
            sales: mappings of `prediction` to an id, `price` to the sale price, and `date` to the day of the sale.
            key: 1 to 255 visible ASCII characters. A batch that is repeated with its key is recorded once.

        Returns:
            The sales in order, equal ones once, without those of erased and pruned predictions.

        Raises:
            InvalidSales: with every violation. Pointers begin with the position of the sale, as in `/3/price`.
            RepeatedKey: if the key came with another batch.
            ErasedSales: if no sale is left.
            RepositoryUnavailable: if the sales can't be stored, or the predictions can't be read.
        """
        if len(sales) > self._max_batch:
            message = f"must hold at most {self._max_batch} sales, not {len(sales)}"
            raise InvalidSales([Violation("", Rule.LIMIT, message)])
        if key is not None:
            require_valid_key(key, InvalidSales)
        recorded = self._record(self._checked(sales), key)
        if not recorded:
            raise ErasedSales
        return recorded

    def one(self, sale: object, key: str | None = None) -> RealizedSale:
        """Record one sale; see `__call__`. Pointers begin at the sale itself: `/price`."""
        try:
            return self([sale], key)[0]
        except InvalidSales as error:
            raise error.alone() from None

    def any_number(self, sales: Sequence[object], key: str) -> Sequence[RealizedSale]:
        """Record more sales than a batch holds; see `__call__`. All are checked before the first batch is stored.

        A repetition after an error stores only what is missing.
        """
        require_valid_key(key, InvalidSales)
        checked = self._checked(sales)
        recorded: list[RealizedSale] = []
        for start in range(0, len(checked), self._max_batch):
            batch = checked[start : start + self._max_batch]
            # the place of a batch is part of its key: batches of another size are different ones
            recorded += self._record(batch, f"{key}:{start}-{start + len(batch)}")
        return recorded

    def history(self, prediction: UUID | str) -> Sequence[RealizedSale]:
        """All sales recorded for a prediction, oldest first; the last counts.

        Raises InvalidSales for a text that is no id, or RepositoryUnavailable.
        """
        if broken := _broken("prediction", prediction, self._clock.now()):
            raise InvalidSales([Violation(pointer_to("prediction"), *broken, prediction)])
        return self._matched(self._sales.history(UUID(str(prediction))))

    def _record(self, checked: Sequence[_CheckedSale], key: str | None) -> Sequence[RealizedSale]:
        now = self._clock.now()
        # a correction counts by its id, and another process, or this one before, may have had a clock that is ahead
        ids = self._ids.take(len(checked), now, self._sales.largest_id())
        sales = [
            RecordedSale(id_, sale.prediction, sale.price, sale.sold_on, now)
            for id_, sale in zip(ids, checked, strict=True)
        ]
        # before the sales are stored: if predictions can't be read now, the caller will try again
        matched = self._matched(sales)
        known = {match.sale.prediction: match.prediction for match in matched}
        delivery = Delivery(key, _digest(checked)) if key else None
        recorded = self._sales.append([match.sale for match in matched], delivery)
        # An erasure may have removed the sales of a prediction between the two calls above. One that commits after
        # this check removes the sales itself, since Records.erase ends with them.
        erased = set(self._predictions.find_erased([sale.prediction for sale in recorded]))
        if erased:
            self._sales.erase(list(erased))
        return [RealizedSale(sale, known.get(sale.prediction)) for sale in recorded if sale.prediction not in erased]

    def _matched(self, sales: Sequence[RecordedSale]) -> Sequence[RealizedSale]:
        """The sales with their predictions, without the sales of erased and pruned predictions."""
        matched = list(with_predictions(sales, self._predictions.find))
        unknown = list({match.sale.prediction for match in matched if match.prediction is None})
        erased = set(self._predictions.find_erased(unknown)) if unknown else set()
        return [match for match in matched if match.sale.prediction not in erased]

    def _checked(self, sales: Sequence[object]) -> Sequence[_CheckedSale]:
        if not sales:
            raise InvalidSales([Violation("", Rule.EMPTY, "must hold at least one sale")])
        now = self._clock.now()
        violations = [violation for row, sale in enumerate(sales) for violation in _violations(sale, row, now)]
        if violations:
            raise InvalidSales(violations)
        first: dict[UUID, tuple[int, _CheckedSale]] = {}
        for row, sale in enumerate(sales):
            checked = _parsed(sale)  # type: ignore[arg-type]  # a mapping, or it would be a violation
            position, known = first.setdefault(checked.prediction, (row, checked))
            if known != checked:
                message = f"says of the same prediction something else than {pointer_to(position)}"
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
            message = "is missing" if name not in sale else "is required and must not be null"
            violations.append(Violation(pointer_to(row, name), Rule.MISSING, message))
        elif broken := _broken(name, value, now):
            violations.append(Violation(pointer_to(row, name), *broken, value))
    violations += [
        Violation(pointer_to(row, name), Rule.UNKNOWN, "is nothing to say of a sale", sale[name])
        for name in sale
        if name not in FIELDS
    ]
    violations += [
        Violation(pointer_to(row, name), Rule.DUPLICATE, "is given more than once", sale.get(name))
        for name in getattr(sale, "repeated", ())
    ]
    return violations


def _broken(name: str, value: object, now: datetime) -> tuple[Rule, str] | None:
    """The rule that a field breaks, with its message."""
    if name == "prediction":
        is_id = isinstance(value, UUID) or (isinstance(value, str) and is_uuid(value))
        return None if is_id else (Rule.TYPE, "must be the id of a prediction, a UUID")
    if broken := check_value(_PRICE if name == "price" else _DATE, value):
        return broken
    if name == "price":
        # in whole cents: nothing is left of 0.004
        is_price = 0 < _cents(value) < MAX_PRICE
        return None if is_price else (Rule.BOUNDS, f"must be a cent at least, and below {MAX_PRICE:.0e}")
    if (day := _day(value)) <= (latest := latest_day(now)):
        return None
    message = f"is {day}, in the future: today is {now:%Y-%m-%d} in UTC, and {latest} is the latest date accepted"
    return Rule.DATE, message


def _parsed(sale: Mapping[str, object]) -> _CheckedSale:
    return _CheckedSale(UUID(str(sale["prediction"])), _cents(sale["price"]), _day(sale["date"]))


def _cents(price: object) -> float:
    return round(float(price), 2)  # type: ignore[arg-type]  # a number


def _day(value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _digest(sales: Sequence[_CheckedSale]) -> str:
    """The digest of a batch, however its values were written."""
    content = [[str(sale.prediction), repr(sale.price), sale.sold_on.isoformat()] for sale in sales]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
