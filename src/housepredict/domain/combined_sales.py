"""A sales source that combines the sales in a file with the recorded sales."""

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
AMBIGUOUS = "recorded sale: matches both training and held-out houses"
REPEATED = "recorded sale: already in the file"


@define
class CombinedSales:
    """A SalesSource with all recorded sales and, if there is a file, the sales in the file.

    Each recorded sale becomes a row with the features of the predicted house, the sale price and the sale date.

    If a recorded sale has the same features as a row in the file (ignoring the sale date), both are treated as sales of
    the same house, so either both are held out or neither is. Recorded sales never change which rows in the file are
    held out.

    Attributes:
        file: the source of the sales in the file, or None if there is no file. The roles of its columns (features,
            price, sale date and house id) are inferred.
        schema: the features to use if there is no file. Ignored otherwise.
        sales: the repository of the recorded sales.
        predictions: the repository of the predictions for which the sales were recorded.
        options: the training options.
        clock: the clock. Sales in the file that are dated in the future are not matched with recorded sales.
        reserved: names that features must not have.
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
        """The location of the file, or None if there is no file."""
        return self._file.location if self._file else None

    @property
    def with_recorded(self) -> bool:
        """Always True, because the source includes the recorded sales."""
        return True

    def read(self) -> SalesTable:
        """Read and combine all sales.

        Raises:
            UnusableSales: if the sales in the file can't be used or, without a file, if no recorded sale can be used.
            RepositoryUnavailable: if the recorded sales can't be read.
        """
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
        # Sort, because the result must not depend on the repository's order.
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
"""A house's feature values without the sale date, in the order of `_Table.features`.

Houses are matched by these tuples. Python treats 7 and 7.0 as equal, so they match.
"""


@define
class _Table:
    """A sales table to which recorded sales are added.

    Attributes:
        features: the kind of each feature, by feature name. The sale date is not included.
        required: the names of the features that a recorded sale must have. In a file, these are the features that have
            a value in every usable row.
        price: the name of the price column.
        sale_date: the name of the sale date feature, or None if the sales have no dates.
        months: the names of the year column and the month column, or None if the sale date is not split into two such
            columns.
        house_id: the name of the column that identifies the house, or None if there is no such column.
        columns: the cells of each column, by column name.
        house_keys: the house key of each row.
        houses: the houses with the same feature values, by these values. Each item maps the keys of these houses to
            their cells in the `house_id` column.
        sold: the house key, price and sale date (see `_day`) of each sale.
        added: the feature values, price and sale date of each sale that `add` has added.
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
        """Register a sale that is in the table, so that `add` recognizes duplicates and other sales of the same house.

        Args:
            features: the house's feature values.
            key: the house key.
            identifier: the house's cell in the `house_id` column, or None.
            price: the sale price.
            day: the sale date (see `_day`).
        """
        self.houses.setdefault(features, {}).setdefault(key, identifier)
        self.sold.add((key, price, day))

    def add(self, sale: RecordedSale, house: House) -> str | None:
        """Add a recorded sale of a house as a row.

        Returns:
            The reason why the sale can't be added, or None if it was added.
        """
        values: dict[str, Value] = {}
        # Predictions by model versions of older releases may have names and values in other spellings.
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
        # The key is made from all of the house's values, including those without a column in the table.
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
        """Format a sale date with the precision of the table.

        Returns:
            The date (YYYY-MM-DD). If the table has months instead of dates, this is the first day of the month. None if
            the table has no sale dates.
        """
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
