"""A table that combines the sales of a file with the recorded sales of estimated houses."""

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
from housepredict.domain.sales import Cell, RecordedSale, SalesTable, create_house_key, is_held_out, with_predictions
from housepredict.domain.schema_inference.columns import cell_reader, is_missing
from housepredict.domain.schema_inference.inference import house_key, shortest, usable_rows
from housepredict.domain.schema_inference.roles import assign_roles
from housepredict.domain.schema_inference.sale_dates import MONTH_OF_SALE, latest_sale_date
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.validation import describe_rejected, tidy

UNKNOWN = "recorded sale: unknown prediction id"
AMBIGUOUS = "recorded sale: matches training houses as well as held-out ones"
REPEATED = "recorded sale: already in the file"


@define
class CombinedSales:
    """A SalesSource of a file and all recorded sales or, without a file, of recorded sales with a schema's features.

    The roles of the file's columns are inferred as usual. A recorded sale becomes a row with the features of the
    prediction's house, the price and the sale date. If these features, other than the sale date, equal those of a row
    of the file, both rows are the same house, on the same side of the split. Recorded sales never change which rows of
    the file are held out.
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
        """The location of the file; None without a file."""
        return self._file.location if self._file else None

    @property
    def with_recorded(self) -> bool:
        """True: the source always includes the recorded sales."""
        return True

    def read(self) -> SalesTable:
        """Read and combine all sales. Raises UnusableSales, RepositoryUnavailable, or an error of the file's source."""
        if self._file:
            file = evolve(self._file.read(), read_on=latest_sale_date(self._clock.now()))
            table, digest, rejected = (
                _table_of_file(file, self._options, self._reserved),
                file.digest,
                Counter(file.rejected),
            )
            notes = file.notes
        else:
            table, digest, rejected = _table_of_schema(self._schema, self._options), "", Counter()
            notes = ()
        # The order must not depend on the repository.
        sales = sorted(self._sales.current(), key=lambda sale: (sale.sold_on, sale.prediction))
        for match in with_predictions(sales, self._predictions.find):
            reason = UNKNOWN if match.prediction is None else table.add(match.sale, match.prediction.estimate.house)
            if reason:
                rejected[reason] += 1
        if not table.house_keys:
            raise UnusableSales(f"no recorded sale can be used for training{describe_rejected(rejected)}")
        return SalesTable(
            table.columns,
            hashlib.sha256(json.dumps([digest, table.added]).encode()).hexdigest(),
            dict(rejected),
            house_keys=table.house_keys,
            recorded=len(table.added),
            notes=notes,
        )


_Features = tuple[Value | None, ...]
"""All features of a house but the sale date. Equal numbers, such as 7 and 7.0, are equal here."""


@define
class _Table:
    """A table of sales that recorded sales are added to.

    Attributes:
        required: the features that no usable row lacks.
        months: the columns of the year and the month that the sale date is made of; None for any other.
        house_keys: the key of the house of each row.
        houses: the keys of all houses with the same features, each with its identifier.
        sold: the house key, price and sale date of each sale.
        added: the values, price and date of each added sale.
    """

    features: Mapping[str, Kind]
    required: Set[str]
    price: str
    sale_date: str | None
    months: tuple[str, str] | None
    house_id: str | None
    columns: dict[str, list[Cell]] = field(repr=False)
    house_keys: list[str] = field(factory=list, repr=False)
    houses: dict[_Features, dict[str, Cell]] = field(factory=dict, repr=False)
    sold: set[tuple[str, float, str | None]] = field(factory=set, repr=False)
    added: list[tuple[dict[str, Value], float, str]] = field(factory=list, repr=False)

    def register(self, features: _Features, key: str, identifier: Cell, price: float, day: str | None) -> None:
        """Register a sale of the table, so that its house and its repetitions are recognized."""
        self.houses.setdefault(features, {}).setdefault(key, identifier)
        self.sold.add((key, price, day))

    def add(self, sale: RecordedSale, house: House) -> str | None:
        """Add a recorded sale as a row, or return why it can't be added."""
        values: dict[str, Value] = {}
        # A version of an older release may have recorded other spellings.
        recorded = {
            tidy(name): tidy(value) if isinstance(value, str) else value for name, value in house.values.items()
        }
        for name, kind in self.features.items():
            cell = recorded.get(tidy(name))
            if cell is None or is_missing(cell):
                if name in self.required:
                    return f"recorded sale: its house has no {name}"
                continue
            value = cell_reader(kind, {cell: 1})(cell)
            if value is None:
                return f"recorded sale: {name} of its house can't be read as {kind}"
            values[name] = shortest(value)
        if not values:
            return "recorded sale: its house has none of the features"
        features, day = tuple(values.get(name) for name in self.features), self._day(sale.sold_on)
        same = self.houses.get(features, {})
        if len({is_held_out(key) for key in same}) > 1:
            return AMBIGUOUS
        if any((key, sale.price, day) in self.sold for key in same):
            return REPEATED
        # A new key covers all values of the house, even those without a column, so that equal houses have equal keys.
        all_values = {name: shortest(value) for name, value in sorted(recorded.items()) if name != self.sale_date}
        key, identifier = next(iter(same.items()), (create_house_key(all_values), None))
        self.register(features, key, identifier, sale.price, day)
        self._append(values, sale, identifier)
        self.house_keys.append(key)
        self.added.append((all_values, sale.price, sale.sold_on.isoformat()))
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
        """Return a sale date as the table has it: None without dates, or the first of the month."""
        if self.sale_date is None:
            return None
        return (sold_on.replace(day=1) if self.months else sold_on).isoformat()


def _table_of_file(file: SalesTable, options: TrainingOptions, reserved: Set[str]) -> _Table:
    roles = assign_roles(file, options, reserved)
    rows = usable_rows(roles, Counter(), file.read_on)
    sale_date = roles.sale_date.name if roles.sale_date else None
    columns = {name: roles.columns[name] for name in roles.features if name != sale_date}
    table = _Table(
        features={name: column.kind for name, column in columns.items()},
        required={name for name, column in columns.items() if all(column.values[row] is not None for row in rows)},
        price=roles.price.name,
        sale_date=sale_date,
        months=roles.sale_months,
        house_id=roles.house_id.name if roles.house_id else None,
        columns={name: list(cells) for name, cells in file.columns.items()},
        house_keys=[house_key(roles, row) for row in range(len(file))],
    )
    for row in rows:
        table.register(
            tuple(column.values[row] for column in columns.values()),
            table.house_keys[row],
            file.columns[table.house_id][row] if table.house_id else None,
            float(roles.price.values[row] or 0),
            str(roles.sale_date.values[row]) if roles.sale_date else None,
        )
    return table


def _table_of_schema(schema: FeatureSchema, options: TrainingOptions) -> _Table:
    price = options.price or "price"
    sale_date = options.sale_date or schema.sale_date or MONTH_OF_SALE
    features = [feature for feature in schema.features if feature.name not in (price, sale_date)]
    return _Table(
        features={feature.name: feature.kind for feature in features},
        required={feature.name for feature in features if feature.required},
        price=price,
        sale_date=sale_date,
        months=None,
        house_id=None,
        columns={name: [] for name in (price, sale_date, *(feature.name for feature in features))},
    )
