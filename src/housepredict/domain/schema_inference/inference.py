"""Preparation of sales for training: infer the schema, reject unusable rows, and split off the held-out sales."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from datetime import date
from itertools import accumulate

from attrs import field, frozen

from housepredict.domain.errors import UnusableSales
from housepredict.domain.estimates import MAX_PRICE
from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value
from housepredict.domain.sales import Sale, SalesTable, create_house_key, is_held_out
from housepredict.domain.schema_inference.columns import MEASURE, Column, normalize_name
from housepredict.domain.schema_inference.roles import Decision, Roles, assign_roles
from housepredict.domain.schema_inference.sale_dates import plausible_days
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.validation import counted, describe_rejected

MIN_SALES = 30
"""Minimum number of usable sales needed to train a model."""

_RARE = 5
"""A feature value is rare if it occurs in fewer sales than this, and in fewer than 0.5% of the sales."""

_BOUNDS = (
    (re.compile(r"^latt?(itude)?$"), -90.0, 90.0),
    (re.compile(r"^(lon|long|lng|longt?itude)$"), -180.0, 180.0),
)
_UNITS = (
    (re.compile(r"\bsq ?f(ee|oo)?t|square ?f(ee|oo)t"), "sq ft"),
    (re.compile(r"\bsq ?m(et(er|re)s?)?\b|square ?met(er|re)s?|\bm2\b|m²"), "m²"),
    (re.compile(r"\bage\b"), "years"),
)


@frozen
class PreparedSales:
    """Sales that are ready for training, and how they were prepared.

    Attributes:
        schema: the features.
        training: the training sales.
        held_out: the held-out sales.
        decisions: the role of each column, with the reason for it.
        rejected: the number of rejected rows, by reason.
        unreadable: the number of unreadable cells, by column.
        notes: facts about how the file was read, such as the detected encoding.
    """

    schema: FeatureSchema
    training: Sequence[Sale] = field(repr=False)
    held_out: Sequence[Sale] = field(repr=False)
    decisions: tuple[Decision, ...]
    rejected: Mapping[str, int]
    unreadable: Mapping[str, int]
    notes: tuple[str, ...] = ()


def prepare(table: SalesTable, options: TrainingOptions, reserved: Set[str] = frozenset()) -> PreparedSales:
    """Infer the schema of a sales table, and split the usable sales into training and held-out sales.

    Args:
        table: the sales.
        options: the training options.
        reserved: the names that features must not have.

    Raises:
        UnusableSales: if there is no price column, no usable feature, or too few sales.
    """
    roles = assign_roles(table, options, reserved)
    rejected = Counter(table.rejected)
    usable = usable_rows(roles, rejected, table.read_on)
    schema = table.schema or schema_of(
        [roles.columns[name] for name in roles.features], usable, roles.sale_date, options.closed
    )
    readings = [(feature.name, roles.columns[feature.name].values) for feature in schema.features]
    prices, sold_on = roles.price.values, roles.sale_date
    training: list[Sale] = []
    held_out: list[Sale] = []
    for row in usable:
        house = House({name: value for name, values in readings if (value := values[row]) is not None})
        sale = Sale(
            house=house,
            price=float(prices[row] or 0),
            house_key=table.house_keys[row] if table.house_keys else house_key(roles, row),
            sold_on=date.fromisoformat(str(sold_on.values[row])) if sold_on else None,
        )
        hold_out = is_held_out(sale.house_key) if table.held_out is None else table.held_out[row]
        (held_out if hold_out else training).append(sale)
    if len(usable) < MIN_SALES:
        usable_count = counted(len(usable), "usable sale")
        raise UnusableSales(f"only {usable_count}, at least {MIN_SALES} are needed{describe_rejected(rejected)}")
    if not training or not held_out:
        raise UnusableSales("too few different houses: training and evaluation need different houses")
    return PreparedSales(
        schema=schema,
        training=training,
        held_out=held_out,
        decisions=roles.decisions,
        rejected=dict(rejected),
        unreadable={name: column.unreadable for name, column in roles.columns.items() if column.unreadable},
        notes=table.notes,
    )


def usable_rows(roles: Roles, rejected: Counter[str], read_on: date | None) -> list[int]:
    """Return the positions of the usable rows.

    Args:
        roles: the columns and their roles.
        rejected: the number of rejected rows, by reason. The unusable rows are added to it.
        read_on: the latest accepted sale date, or None to accept all dates.
    """
    usable = []
    name, dates = roles.price.name, roles.sale_date
    for row, price in enumerate(roles.price.values):
        if price is None:
            rejected[f"{name}: missing or not a number"] += 1
        elif not 0 < float(price) < MAX_PRICE:
            bound = "above zero" if float(price) <= 0 else f"below {MAX_PRICE:.0e}"
            rejected[f"{name}: must be {bound}"] += 1
        elif dates and dates.values[row] is None:
            rejected[f"{dates.name}: missing or not a date"] += 1
        elif dates and read_on and date.fromisoformat(str(dates.values[row])) > read_on:
            rejected[f"{dates.name}: in the future, after {read_on}"] += 1
        else:
            usable.append(row)
    return _without_date_outliers(dates, usable, rejected) if dates and usable else usable


def _without_date_outliers(dates: Column, rows: Sequence[int], rejected: Counter[str]) -> list[int]:
    """Return the rows that have a plausible date, and add the number of other rows to `rejected`."""
    days = {row: date.fromisoformat(str(dates.values[row])) for row in rows}
    first, last = plausible_days(list(days.values()))
    plausible = [row for row, day in days.items() if first <= day <= last]
    if len(plausible) < len(days):
        reason = (
            f"{dates.name}: far outside {first} to {last}, the range of nearly all sales, and probably "
            f"mistyped (exclude {dates.name} to use these sales without their dates)"
        )
        rejected[reason] += len(days) - len(plausible)
    return plausible


def house_key(roles: Roles, row: int) -> str:
    """Return the house key of a row. All sales of a house have the same key.

    The key is the house id. If the row has none, the key is made from the values in the columns `roles.identity`.
    """
    identifier = roles.house_id.values[row] if roles.house_id else None
    if identifier is not None:
        return str(shortest(identifier))
    return create_house_key(
        {column.name: value for column in roles.identity if (value := column.values[row]) is not None}
    )


def schema_of(
    columns: Sequence[Column], usable: Sequence[int], sale_date: Column | None, closed: Collection[str] = ()
) -> FeatureSchema:
    """Build the feature schema for `columns`, using only the values in the `usable` rows.

    Args:
        columns: the feature columns.
        usable: the positions of the usable rows.
        sale_date: the sale date column, or None if there is no such column.
        closed: the names of categorical features for which categories that don't occur in the sales are invalid.
    """
    name = sale_date.name if sale_date in columns and sale_date else None
    latest = max((str(sale_date.values[row]) for row in usable), default=None) if sale_date else None
    return FeatureSchema(
        features=tuple(
            _feature(column, usable, closed=column.name in closed, is_sale_date=column.name == name)
            for column in columns
        ),
        sale_date=name,
        valuation_date=date.fromisoformat(latest) if latest else None,
    )


def _feature(column: Column, usable: Sequence[int], *, closed: bool, is_sale_date: bool) -> Feature:
    values = [column.values[row] for row in usable]
    counts = Counter(value for value in values if value is not None)
    numeric = column.kind in (Kind.NUMBER, Kind.INTEGER)
    ranged = numeric or column.kind is Kind.DATE
    observed: tuple[Value, Value] | None = (min(counts), max(counts)) if ranged and counts else None
    minimum, maximum = _physical_bounds(column.name, observed) if numeric and observed else (None, None)
    rare = min(_RARE, len(usable) // 200)
    return Feature(
        name=column.name,
        kind=column.kind,
        unit=next((unit for name, unit in _UNITS if numeric and name.search(normalize_name(column.name))), None),
        required=not is_sale_date and None not in values,
        minimum=minimum,
        maximum=maximum,
        observed=observed,
        # Sorted by frequency, because a model that limits the number of categories uses the first ones.
        categories=tuple(sorted(map(str, counts), key=lambda category: (-counts[category], category)))
        if column.kind is Kind.CATEGORY
        else (),
        closed=closed,
        usual=_usual_range(counts, rare) if numeric and 0 < rare <= counts.total() else None,
        rare=tuple(sorted(str(value) for value in counts if counts[value] < rare))
        if column.kind is Kind.CATEGORY
        else (),
    )


def _usual_range(counts: Mapping[Value, int], rare: int) -> tuple[Value, Value] | None:
    """Return the narrowest range that excludes fewer than `rare` sales at each end, or None if it excludes no sale.

    `counts` is the number of sales with each value.
    """

    def reached(values: Sequence[Value]) -> Value:
        so_far = accumulate(counts[value] for value in values)
        return next(value for value, sales in zip(values, so_far, strict=True) if sales >= rare)

    ascending = sorted(counts, key=float)
    low, high = reached(ascending), reached(ascending[::-1])
    everything = (low, high) == (ascending[0], ascending[-1])
    return None if everything or float(low) > float(high) else (low, high)


def _physical_bounds(name: str, observed: tuple[Value, Value]) -> tuple[float | None, float | None]:
    """Return the minimum and maximum that are physically possible for a feature, judging by its name.

    For a latitude, these are -90 and 90. A limit is None if there is no such limit, or if observed values violate it.
    `observed` is the smallest and the largest observed value.
    """
    low, high = float(observed[0]), float(observed[1])
    for pattern, minimum, maximum in _BOUNDS:
        if pattern.search(normalize_name(name)) and minimum <= low and high <= maximum:
            return minimum, maximum
    return (0.0 if low >= 0 and MEASURE.search(normalize_name(name)) else None), None


def shortest(value: Value) -> Value:
    """Convert a whole float, such as 7.0, to an int, because some programs write all numbers with decimals."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
