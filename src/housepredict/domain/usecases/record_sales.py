"""Sales that come back, and the memory of them."""

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
"""What there is to say of a sale."""

_PRICE, _DATE = Feature("price", Kind.NUMBER), Feature("date", Kind.DATE)


@frozen
class _Told:
    """What was told of a sale, checked."""

    prediction: UUID
    price: float
    sold_on: date


@define
class RecordSales:
    """Remember what houses sold for that were estimated, and say which estimates these sales belong to.

    A sale counts for its prediction until another one is recorded for it: a correction. A prediction that is not known
    yet may come to be known later, so its sale is recorded all the same. No sale is stored for a prediction that was
    erased or pruned: the id can never be matched, and pruning deletes the markers that tell one from the other.
    """

    _sales: SaleRepository
    _predictions: PredictionRepository
    _clock: Clock
    _max_batch: int = 1000
    _ids: IdSequence = field(factory=IdSequence)

    def __call__(self, given: Sequence[object], key: str | None = None) -> Sequence[RealizedSale]:
        """The sales in order, recorded when this returns, all or none; of those that are equal, one.

        Each of `given` maps `prediction` to an id, `price` to what the house sold for, and `date` to the day of the
        sale. With a `key` of 1 to 255 visible ASCII characters the same batch is recorded once, however often it is
        given. Sales of erased and pruned predictions are left out. Raises InvalidSales with every violation (pointers
        begin with the sale's position: `/3/price`), RepeatedKey for another batch with a known key, ErasedSales if no
        sale is left, or RepositoryUnavailable.
        """
        if len(given) > self._max_batch:
            message = f"must hold at most {self._max_batch} sales, not {len(given)}"
            raise InvalidSales([Violation("", Rule.LIMIT, message)])
        if key is not None:
            require_valid_key(key, InvalidSales)
        returned = self._record(self._checked(given), key)
        if not returned:
            raise ErasedSales
        return returned

    def one(self, given: object, key: str | None = None) -> RealizedSale:
        """A batch of one; pointers begin at the sale itself: `/price`."""
        try:
            return self([given], key)[0]
        except InvalidSales as error:
            raise error.alone() from None

    def any_number(self, given: Sequence[object], key: str) -> Sequence[RealizedSale]:
        """As above, for more than a batch: every sale is checked before the first batch is recorded. What was recorded
        of it before a fault is not recorded again when it is given again.
        """
        require_valid_key(key, InvalidSales)
        told = self._checked(given)
        starts = range(0, len(told), self._max_batch)
        batches = [(start, told[start : start + self._max_batch]) for start in starts]
        return [
            each
            for start, batch in batches
            # the place of a batch is part of its key: with another size of batches they are others
            for each in self._record(batch, f"{key}:{start}-{start + len(batch)}")
        ]

    def history(self, prediction: UUID | str) -> Sequence[RealizedSale]:
        """Everything that was recorded for a prediction, oldest first; the last is what counts.

        Raises InvalidSales if the id is none, or RepositoryUnavailable.
        """
        if broken := _prediction(prediction):
            raise InvalidSales([Violation(pointer_to("prediction"), *broken, prediction)])
        return self._matched(self._sales.history(UUID(str(prediction))))

    def _record(self, told: Sequence[_Told], key: str | None) -> Sequence[RealizedSale]:
        now = self._clock.now()
        # a correction counts by its id, and another process, or this one before, may have had a clock that is ahead
        ids = self._ids.take(len(told), now, self._sales.largest_id())
        sales = [
            RecordedSale(id_, each.prediction, each.price, each.sold_on, now)
            for id_, each in zip(ids, told, strict=True)
        ]
        # before they are recorded: who is told that predictions cannot be read now will try again
        matched = self._matched(sales)
        known = {each.sale.prediction: each.prediction for each in matched}
        recorded = self._sales.append([each.sale for each in matched], Delivery(key, _digest(told)) if key else None)
        # An erasure may have removed the sales of a prediction between the two calls above. One that commits after
        # this check removes the sales itself, since Records.erase ends with them.
        erased = set(self._predictions.find_erased([sale.prediction for sale in recorded]))
        if erased:
            self._sales.erase(list(erased))
        return [RealizedSale(sale, known.get(sale.prediction)) for sale in recorded if sale.prediction not in erased]

    def _matched(self, sales: Sequence[RecordedSale]) -> Sequence[RealizedSale]:
        """The sales with their predictions, without the sales of erased and pruned predictions."""
        matched = list(with_predictions(sales, self._predictions.find))
        unknown = list({each.sale.prediction for each in matched if each.prediction is None})
        erased = set(self._predictions.find_erased(unknown)) if unknown else set()
        return [each for each in matched if each.sale.prediction not in erased]

    def _checked(self, given: Sequence[object]) -> Sequence[_Told]:
        if not given:
            raise InvalidSales([Violation("", Rule.EMPTY, "must hold at least one sale")])
        now = self._clock.now()
        violations = [violation for row, each in enumerate(given) for violation in _violations(each, row, now)]
        if violations:
            raise InvalidSales(violations)
        first: dict[UUID, tuple[int, _Told]] = {}
        for row, each in enumerate(given):
            told = _told(each)  # type: ignore[arg-type]  # a mapping, or it would have been refused
            position, known = first.setdefault(told.prediction, (row, told))
            if known != told:
                message = f"says of the same prediction something else than {pointer_to(position)}"
                violations.append(Violation(pointer_to(row), Rule.DUPLICATE, message))
        if violations:
            raise InvalidSales(violations)
        return [told for _, told in first.values()]


def _violations(given: object, row: int, now: datetime) -> list[Violation]:
    if not isinstance(given, Mapping):
        return [Violation(pointer_to(row), Rule.TYPE, "must be an object with prediction, price and date", given)]
    found = []
    for name in FIELDS:
        value = given.get(name)
        if value is None:
            message = "is missing" if name not in given else "is required and must not be null"
            found.append(Violation(pointer_to(row, name), Rule.MISSING, message))
        elif broken := _broken(name, value, now):
            found.append(Violation(pointer_to(row, name), *broken, value))
    found.extend(
        Violation(pointer_to(row, name), Rule.UNKNOWN, "is nothing to say of a sale", given[name])
        for name in given
        if name not in FIELDS
    )
    found.extend(
        Violation(pointer_to(row, name), Rule.DUPLICATE, "is given more than once", given.get(name))
        for name in getattr(given, "repeated", ())
    )
    return found


def _broken(name: str, value: object, now: datetime) -> tuple[Rule, str] | None:
    match name:
        case "prediction":
            return _prediction(value)
        case "price":
            return _price(value)
        case _:
            return _date(value, now)


def _prediction(value: object) -> tuple[Rule, str] | None:
    if isinstance(value, UUID) or (isinstance(value, str) and is_uuid(value)):
        return None
    return Rule.TYPE, "must be the id of a prediction, a UUID"


def _price(value: object) -> tuple[Rule, str] | None:
    if broken := check_value(_PRICE, value):
        return broken
    # in whole cents: nothing is left of 0.004
    if 0 < round(float(value), 2) < MAX_PRICE:  # type: ignore[arg-type]  # a number
        return None
    return Rule.BOUNDS, f"must be a cent at least, and below {MAX_PRICE:.0e}"


def _date(value: object, now: datetime) -> tuple[Rule, str] | None:
    if broken := check_value(_DATE, value):
        return broken
    if (day := _day(value)) <= (latest := latest_day(now)):
        return None
    message = f"is {day}, in the future: today is {now:%Y-%m-%d} in UTC, and {latest} is the latest date accepted"
    return Rule.DATE, message


def _told(given: Mapping[str, object]) -> _Told:
    prediction, price, sold_on = (given[name] for name in FIELDS)
    return _Told(
        UUID(str(prediction)),
        round(float(price), 2),  # type: ignore[arg-type]  # a number
        _day(sold_on),
    )


def _day(value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _digest(told: Sequence[_Told]) -> str:
    """Of what was told, however it was written."""
    content = [[str(each.prediction), repr(each.price), each.sold_on.isoformat()] for each in told]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
