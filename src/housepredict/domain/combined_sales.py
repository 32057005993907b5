"""The sales of a file and those that came back of houses that were estimated, as one table."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Set
from datetime import date

from attrs import define, evolve, field

from housepredict.domain.errors import UnusableSales
from housepredict.domain.features import FeatureSchema, House, Kind, Value
from housepredict.domain.ports import Clock, PredictionRepository, SaleRepository, SalesSource
from housepredict.domain.sales import Cell, RecordedSale, SalesTable, is_held_out, key_of, with_predictions
from housepredict.domain.schema_inference.columns import is_missing, way_to_read
from housepredict.domain.schema_inference.inference import house_key, shortest, usable_rows
from housepredict.domain.schema_inference.roles import assign_roles
from housepredict.domain.schema_inference.sale_dates import MONTH_OF_SALE, latest_day
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.validation import tidy

UNKNOWN = "recorded for a prediction that nobody knows"
AMBIGUOUS = "recorded, and like houses that are learned from and like others that are held out"
REPEATED = "recorded, and among the sales already"


@define
class CombinedSales:
    """A SalesSource of a file and of all sales that came back; of these alone, with a schema's features, without one.

    What the columns of the file are is decided with the options, as ever, and what came back stands in those columns:
    the features of the prediction's house, the price and the day of the sale. A house that has the features of a row
    of the file, the date of sale apart, is that row's house, on that row's side of the split. Which rows of the
    file are held out does not depend on what came back.
    """

    _file: SalesSource | None
    _schema: FeatureSchema
    _sales: SaleRepository
    _predictions: PredictionRepository
    _options: TrainingOptions
    _clock: Clock
    _reserved: Set[str] = frozenset()

    @property
    def location(self) -> str | None:
        """Where the file is; None without one."""
        return self._file.location if self._file else None

    @property
    def with_recorded(self) -> bool:
        """True: they are what it is for."""
        return True

    def read(self) -> SalesTable:
        """Read all of it. Raises UnusableSales, RepositoryUnavailable, or what reading the file raises."""
        if self._file:
            file = evolve(self._file.read(), read_on=latest_day(self._clock.now()))
            table, digest, rejected = _of_file(file, self._options, self._reserved), file.digest, Counter(file.rejected)
            notes = file.notes
        else:
            table, digest, rejected = _of_schema(self._schema, self._options), "", Counter()
            notes = ()
        # in an order that does not depend on where they are kept
        sales = sorted(self._sales.current(), key=lambda each: (each.sold_on, each.prediction))
        for each in with_predictions(sales, self._predictions.find):
            reason = UNKNOWN if each.prediction is None else table.add(each.sale, each.prediction.estimate.house)
            if reason:
                rejected[reason] += 1
        if not table.house_keys:
            raise UnusableSales(f"no sale came back that a model could learn from{_told(rejected)}")
        return SalesTable(
            table.columns,
            hashlib.sha256(json.dumps([digest, table.added]).encode()).hexdigest(),
            dict(rejected),
            house_keys=table.house_keys,
            recorded=len(table.added),
            notes=notes,
        )


_Like = tuple[Value | None, ...]
"""All features of a house but the date of sale: equal for equal values, 7 and 7.0, of the same kind."""


@define
class _Table:
    """A table of sales to which others are added, in the columns that it has.

    `months` are the columns of a year and a month of sale where these stand for the `sale_date`. `houses` are the keys
    of the houses with the same features, each with what the table has as their identifier; `sold` are their sales.
    """

    features: Mapping[str, Kind]
    required: Set[str]
    price: str
    sale_date: str | None
    months: tuple[str, str] | None
    house_id: str | None
    columns: dict[str, list[Cell]] = field(repr=False)
    house_keys: list[str] = field(factory=list, repr=False)
    houses: dict[_Like, dict[str, Cell]] = field(factory=dict, repr=False)
    sold: set[tuple[str, float, str | None]] = field(factory=set, repr=False)
    added: list[tuple[dict[str, Value], float, str]] = field(factory=list, repr=False)

    def know(self, house: _Like, key: str, identifier: Cell, price: float, day: str | None) -> None:
        """Take note of a sale of the table."""
        self.houses.setdefault(house, {}).setdefault(key, identifier)
        self.sold.add((key, price, day))

    def add(self, sale: RecordedSale, house: House) -> str | None:
        """Add a sale as a row, or say why not."""
        values: dict[str, Value] = {}
        # a version of an older release may have recorded other spellings
        spelled = {tidy(name): tidy(value) if isinstance(value, str) else value for name, value in house.values.items()}
        for name, kind in self.features.items():
            given = spelled.get(tidy(name))
            if given is None or is_missing(given):
                if name in self.required:
                    return f"recorded, and its house has no {name}"
                continue
            value = way_to_read(kind, {given: 1})(given)
            if value is None:
                return f"recorded, and its {name} is no {kind}"
            values[name] = shortest(value)
        if not values:
            return "recorded, and its house has none of the features"
        like, day = tuple(values.get(name) for name in self.features), self._day(sale.sold_on)
        alike = self.houses.get(like, {})
        if len({is_held_out(key) for key in alike}) > 1:
            return AMBIGUOUS
        if any((key, sale.price, day) in self.sold for key in alike):
            return REPEATED
        # all that is known of it, whichever of that the table has columns for; equal houses have equal keys
        own = {name: shortest(value) for name, value in sorted(spelled.items()) if name != self.sale_date}
        key, identifier = next(iter(alike.items()), (key_of(own), None))
        self.know(like, key, identifier, sale.price, day)
        self._append(values, sale, identifier)
        self.house_keys.append(key)
        self.added.append((own, sale.price, sale.sold_on.isoformat()))
        return None

    def _append(self, values: Mapping[str, Value], sale: RecordedSale, identifier: Cell) -> None:
        row: dict[str, Cell] = {
            name: date.fromisoformat(str(value)) if self.features[name] is Kind.DATE else value
            for name, value in values.items()
        }
        if self.house_id:
            row[self.house_id] = identifier
        if self.months:
            row.update(zip(self.months, (sale.sold_on.year, sale.sold_on.month), strict=True))
        elif self.sale_date:
            row[self.sale_date] = sale.sold_on
        row[self.price] = sale.price
        for name, cells in self.columns.items():
            cells.append(row.get(name))

    def _day(self, sold_on: date) -> str | None:
        """The day of a sale as the table would have it."""
        if self.sale_date is None:
            return None
        return (sold_on.replace(day=1) if self.months else sold_on).isoformat()


def _of_file(file: SalesTable, options: TrainingOptions, reserved: Set[str]) -> _Table:
    roles = assign_roles(file, options, reserved)
    rows = usable_rows(roles, Counter(), file.read_on)
    sale_date = roles.sale_date.name if roles.sale_date else None
    readings = {name: roles.columns[name] for name in roles.features if name != sale_date}
    table = _Table(
        features={name: column.kind for name, column in readings.items()},
        required={name for name, column in readings.items() if all(column.values[row] is not None for row in rows)},
        price=roles.price.name,
        sale_date=sale_date,
        months=roles.sale_months,
        house_id=roles.house_id.name if roles.house_id else None,
        columns={name: list(cells) for name, cells in file.columns.items()},
        house_keys=[house_key(roles, row) for row in range(len(file))],
    )
    for row in rows:
        table.know(
            tuple(column.values[row] for column in readings.values()),
            table.house_keys[row],
            file.columns[table.house_id][row] if table.house_id else None,
            float(roles.price.values[row] or 0),
            str(roles.sale_date.values[row]) if roles.sale_date else None,
        )
    return table


def _of_schema(schema: FeatureSchema, options: TrainingOptions) -> _Table:
    price = options.price or "price"
    sale_date = options.sale_date or schema.sale_date or MONTH_OF_SALE
    features = [each for each in schema.features if each.name not in (price, sale_date)]
    return _Table(
        features={each.name: each.kind for each in features},
        required={each.name for each in features if each.required},
        price=price,
        sale_date=sale_date,
        months=None,
        house_id=None,
        columns={name: [] for name in (price, sale_date, *(each.name for each in features))},
    )


def _told(rejected: Mapping[str, int]) -> str:
    return "".join(f"; {count} {reason}" for reason, count in rejected.items())
