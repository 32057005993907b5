"""From a table of sales to a feature schema and sales that fit it, with a reason for each decision."""

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
from housepredict.domain.sales import Sale, SalesTable, is_held_out, key_of
from housepredict.domain.schema_inference.columns import MEASURE, Column, words_of
from housepredict.domain.schema_inference.roles import Decision, Roles, assign_roles
from housepredict.domain.schema_inference.sale_dates import plausible_days
from housepredict.domain.training_options import TrainingOptions

MIN_SALES = 30
"""Fewer sales than this are no basis for a model."""

_FEW = 5
"""What fewer sales than this have is rare, or fewer than half a percent of them where those are fewer."""

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
    """Sales that a model can learn from, and how they came about.

    `held_out` are for evaluation alone. `rejected` counts rows, and `unreadable` cells, that were not used, by reason
    and by column. `notes` say what was decided to read the file.
    """

    schema: FeatureSchema
    training: Sequence[Sale] = field(repr=False)
    held_out: Sequence[Sale] = field(repr=False)
    decisions: tuple[Decision, ...]
    rejected: Mapping[str, int]
    unreadable: Mapping[str, int]
    notes: tuple[str, ...] = ()


def prepare(table: SalesTable, options: TrainingOptions, reserved: Set[str] = frozenset()) -> PreparedSales:
    """Decide what each column is, read the sales and split them.

    Args:
        reserved: names that no feature may have.

    Raises:
        UnusableSales: with what to do, if there is no price column, nothing that varies, or too few sales.
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
        aside = is_held_out(sale.house_key) if table.held_out is None else table.held_out[row]
        (held_out if aside else training).append(sale)
    if len(usable) < MIN_SALES:
        raise UnusableSales(_too_few(len(usable), rejected))
    if not training or not held_out:
        raise UnusableSales("the sales are all of one house, or so few: some houses must be left to evaluate on")
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
    """The rows that a model can learn from; the others are counted by reason.

    With a day on which they were read, later sales are not among them.
    """
    usable = []
    dates = roles.sale_date
    for row, price in enumerate(roles.price.values):
        if price is None:
            rejected["the price is missing or no number"] += 1
        elif not 0 < float(price) < MAX_PRICE:
            rejected["the price is not above zero" if float(price) <= 0 else "the price is beyond any house"] += 1
        elif dates and dates.values[row] is None:
            rejected[f"the sale date ({dates.name}) is missing or no date"] += 1
        elif dates and read_on and date.fromisoformat(str(dates.values[row])) > read_on:
            rejected[f"the sale date ({dates.name}) is in the future, after {read_on}"] += 1
        else:
            usable.append(row)
    return _without_far_days(dates, usable, rejected) if dates and usable else usable


def _without_far_days(dates: Column, rows: Sequence[int], rejected: Counter[str]) -> list[int]:
    """The rows whose date lies near enough to others to be believed; the others are counted."""
    days = {row: date.fromisoformat(str(dates.values[row])) for row in rows}
    first, last = plausible_days(list(days.values()))
    near = [row for row, day in days.items() if first <= day <= last]
    if len(near) < len(days):
        reason = (
            f"the sale date ({dates.name}) lies far outside {first} to {last}, where all but a few sales lie, and may "
            f"be mistyped (exclude {dates.name} to use these sales without their dates)"
        )
        rejected[reason] += len(days) - len(near)
    return near


def house_key(roles: Roles, row: int) -> str:
    """The key of the house of a row: its identifier, or else what the file says of the house itself."""
    identifier = roles.house_id.values[row] if roles.house_id else None
    if identifier is not None:
        return str(shortest(identifier))
    return key_of({each.name: value for each in roles.identity if (value := each.values[row]) is not None})


def schema_of(
    columns: Sequence[Column], usable: Sequence[int], sale_date: Column | None, closed: Collection[str] = ()
) -> FeatureSchema:
    """The schema of columns that are features, by the rows of them that are usable; see FeatureSchema."""
    name = sale_date.name if sale_date in columns and sale_date else None
    latest = max((str(sale_date.values[row]) for row in usable), default=None) if sale_date else None
    return FeatureSchema(
        features=tuple(
            _feature(each, usable, closed=each.name in closed, is_sale_date=each.name == name) for each in columns
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
    few = min(_FEW, len(usable) // 200)
    return Feature(
        name=column.name,
        kind=column.kind,
        unit=next((unit for name, unit in _UNITS if numeric and name.search(words_of(column.name))), None),
        required=not is_sale_date and None not in values,
        minimum=minimum,
        maximum=maximum,
        observed=observed,
        # most frequent first: a model that can tell only so many apart keeps those that matter
        categories=tuple(sorted(map(str, counts), key=lambda each: (-counts[each], each)))
        if column.kind is Kind.CATEGORY
        else (),
        closed=closed,
        usual=_usual(counts, few) if numeric and 0 < few <= counts.total() else None,
        rare=tuple(sorted(str(value) for value in counts if counts[value] < few))
        if column.kind is Kind.CATEGORY
        else (),
    )


def _usual(counts: Mapping[Value, int], few: int) -> tuple[Value, Value] | None:
    """The range beyond which fewer than `few` sales lie at either end; None if that is all there is."""

    def reached(values: Sequence[Value]) -> Value:
        so_far = accumulate(counts[value] for value in values)
        return next(value for value, sales in zip(values, so_far, strict=True) if sales >= few)

    ascending = sorted(counts, key=float)
    low, high = reached(ascending), reached(ascending[::-1])
    everything = (low, high) == (ascending[0], ascending[-1])
    return None if everything or float(low) > float(high) else (low, high)


def _physical_bounds(name: str, observed: tuple[Value, Value]) -> tuple[float | None, float | None]:
    """Bounds that no house can break, told by the name; none if the sales themselves break them."""
    low, high = float(observed[0]), float(observed[1])
    for pattern, minimum, maximum in _BOUNDS:
        if pattern.search(words_of(name)) and minimum <= low and high <= maximum:
            return minimum, maximum
    return (0.0 if low >= 0 and MEASURE.search(words_of(name)) else None), None


def shortest(value: Value) -> Value:
    """A number as it is written shortest, 7 for 7.0: some programs make decimals of whole numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _too_few(usable: int, rejected: Mapping[str, int]) -> str:
    lost = "".join(f"; {count} rejected: {reason}" for reason, count in rejected.items())
    return f"only {usable} usable sales, at least {MIN_SALES} are needed, some of them to evaluate on{lost}"
