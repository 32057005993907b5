"""Assignment of a role to each column of a sales file: price, sale date, house id, feature, or left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from datetime import date
from functools import partial

from attrs import evolve, field, frozen

from housepredict.domain.errors import UnusableSales
from housepredict.domain.features import Kind
from housepredict.domain.sales import Cell, SalesTable
from housepredict.domain.schema_inference.columns import (
    READABLE_SHARE,
    Column,
    count_present,
    is_missing,
    normalize_name,
    read_column,
    read_prices,
    two_digit_years,
)
from housepredict.domain.schema_inference.leakage import after_sale, find_leaks
from housepredict.domain.schema_inference.sale_dates import (
    MONTH_OF_SALE,
    find_sale_date,
    find_sale_months,
    last_year_of,
)
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.validation import did_you_mean

_PRICE_NAMES = ("price", "sale price", "saleprice", "sold price", "sales price", "selling price", "price sold",
                "price paid", "purchase price", "house price", "sale amount", "median house value")  # fmt: skip
_DERIVED_PRICE = re.compile(r"\b(list|listing|ask|asking|original|per|ppsf|range|change|(log\d*|ln)(price)?)\b")
_NO_HOUSE_ID_NAME = re.compile(r"sale|sold|transaction|deed|document|listing|mls|record|agent|owner|buyer|seller")
_CODE_NAME = re.compile(
    r"zip|post ?(al|code)|pin ?code|fips|tract|district|borough|municipality|neighbou?rhood"
    r"|\b(id|code|class|subclass|zone)$"
)

_PRICE_WORD = re.compile(r"\bprices?\b|\bppsf\b|\b(log\d*|ln)price")
_EARLIER_PRICE = re.compile(r"\b(prev|previous|prior|index)\b")
_ROW_NAME = re.compile(r"unnamed \d+|index|row|")
_ID_NAME = re.compile(r"\b(id|[pgfz]p?id|apn|pin|uprn|uuid|folio|parcel|mls|identifier|objectid)\b|parcel ?(no|num|id)")
_MOSTLY_DISTINCT = 0.5
_MIN_CODE_DIGITS = 10
"""Minimum number of digits in a code.

A column of whole numbers that all have the same length and are mostly distinct is treated as codes, not amounts.
"""
_ID_DISTINCT = 0.2  # Low, because identifiers repeat when houses are resold.

_MAX_SHOWN_CELLS = 3


@frozen
class Decision:
    """The role of a column (`use`), and the reason for it (`why`)."""

    column: str
    use: str
    why: str
    kind: Kind | None = None


@frozen
class Roles:
    """The columns of a sales file and their roles.

    Attributes:
        columns: all columns, by name.
        price: the price column.
        sale_date: the sale date column, or None if there is no such column.
        house_id: the column that identifies the house, or None if there is no such column.
        identity: the columns whose values together identify a house that has no house id. They don't depend on the
            training options.
        features: the names of the feature columns, in the order of the file.
        decisions: the role of each column, with the reason for it.
        sale_months: the names of the year and month columns, or None if the sale date is not made from such columns.
    """

    columns: Mapping[str, Column] = field(repr=False)
    price: Column = field(repr=False)
    sale_date: Column | None = field(repr=False)
    house_id: Column | None = field(repr=False)
    identity: tuple[Column, ...] = field(repr=False)
    features: tuple[str, ...]
    decisions: tuple[Decision, ...]
    sale_months: tuple[str, str] | None = None


def assign_roles(table: SalesTable, options: TrainingOptions, reserved: Set[str] = frozenset()) -> Roles:
    """Assign a role to each column.

    Args:
        table: the sales.
        options: the training options.
        reserved: the names that features must not have.

    Raises:
        UnusableSales: if a required column, or a column named in the options, is missing or unusable.
    """
    _check_names(table, options, reserved)
    price_name = options.price or _find_price(table.columns)
    kinds = dict(options.kinds)
    if options.sale_date:
        kinds[options.sale_date] = Kind.DATE
    if table.schema:
        kinds |= {feature.name: feature.kind for feature in table.schema.features}
    read_cells = partial(read, read_on=table.read_on)
    columns = {
        name: read_prices(name, cells) if name == price_name else read_cells(name, cells, kinds.get(name))
        for name, cells in table.columns.items()
    }
    if table.schema:
        columns = {name: evolve(column, why="by the schema") for name, column in columns.items()}
    price = columns[price_name]
    if options.sale_date:
        _check_dates(columns[options.sale_date], table.columns[options.sale_date])
    inferred = columns | {name: read_cells(name, table.columns[name], None) for name in options.kinds}
    months = find_sale_months(inferred)
    sale_date = columns[options.sale_date] if options.sale_date else find_sale_date(columns, options.exclude)
    if months and not sale_date and not table.schema and {months.year, months.month}.isdisjoint(_named(options)):
        columns[months.date.name] = sale_date = months.date
    if sale_date and table.read_on and (days := sorted(map(str, sale_date.distinct))):
        near = date.fromisoformat(days[len(days) // 2]).year
        columns |= {
            name: _with_century(column, table.columns[name], table.read_on, near)
            for name, column in columns.items()
            if column is not sale_date
        }
    house_id = columns[options.house_id] if options.house_id else _find_house_id(columns, price)
    # Which rows belong to the same house, and therefore which sales are held out, must not depend on the options.
    candidates = [column for column in inferred.values() if column.name != price_name and not _exclusion(column)]
    leaks = {} if table.schema else find_leaks(price, candidates)
    of_sale = {*leaks, *((months.year, months.month) if months else ())}
    identity = tuple(column for column in candidates if column.kind is not Kind.DATE and column.name not in of_sale)
    allowed = {*options.features, *options.allow}
    exclusions = {name: reason for name, reason in leaks.items() if name not in allowed}
    sale_months = (months.year, months.month) if months and sale_date is months.date else None
    exclusions |= dict.fromkeys(sale_months or (), f"part of {MONTH_OF_SALE}")
    exclusions |= {
        name: reason
        for name, column in columns.items()
        if name not in {*allowed, *kinds} and (reason := _exclusion(column))
    }
    decisions = tuple(
        _decide(
            column, options, reserved, price=price, sale_date=sale_date, house_id=house_id,
            exclusion=exclusions.get(name),
        )
        for name, column in columns.items()
    )  # fmt: skip
    if not_categories := [name for name in options.closed if columns[name].kind is not Kind.CATEGORY]:
        raise UnusableSales(
            f"closed: only category columns can be closed; set the kind of {_listed(not_categories)} to category, too"
        )
    features = tuple(decision.column for decision in decisions if decision.use in ("feature", "sale date"))
    if not features:
        reasons = "; ".join(
            f"{decision.column}: {decision.why}" for decision in decisions if decision.use == "left out"
        )
        raise UnusableSales(f"no column can be used as a feature ({reasons})")
    return Roles(columns, price, sale_date, house_id, identity, features, decisions, sale_months)


def _check_names(table: SalesTable, options: TrainingOptions, reserved: Set[str]) -> None:
    named = _named(options)
    if unknown := [name for name in named if name not in table.columns]:
        names = ", ".join(f"{name!r}{did_you_mean(name, table.columns)}" for name in unknown)
        raise UnusableSales(f"the sales have no column {names}; their columns are {_listed(table.columns)}")
    if table.schema and named:
        raise UnusableSales(f"{named[0]}: columns can't be configured, since these sales come with a schema")
    if taken := sorted(reserved & set(options.features)):
        raise UnusableSales(f"features: {_listed(taken)} is a reserved name; rename the column")


def _check_dates(column: Column, cells: Sequence[Cell]) -> None:
    """Raise UnusableSales if most cells in the sale date column are not dates."""
    if column.present >= column.unreadable:
        return
    unread = dict.fromkeys(
        str(cell) for cell, value in zip(cells, column.values, strict=True) if value is None and not is_missing(cell)
    )
    raise UnusableSales(
        f"{column.name}: not a column of dates: {column.unreadable:,} of {column.present + column.unreadable:,} cells "
        f"can't be read, such as {_listed(list(unread)[:_MAX_SHOWN_CELLS])}; write dates as YYYY-MM-DD, or use another "
        "column as the sale date"
    )


def _named(options: TrainingOptions) -> list[str]:
    """Return all column names that occur in the options."""
    single = [name for name in (options.price, options.sale_date, options.house_id) if name]
    several = [*options.features, *options.exclude, *options.kinds, *options.closed, *options.allow]
    return list(dict.fromkeys([*single, *several]))


def _find_price(names: Mapping[str, object]) -> str:
    for wanted in _PRICE_NAMES:
        for name in names:
            if normalize_name(name) == wanted:
                return name
    # Otherwise, accept a similar name, such as "Price (USD)", if there is only one.
    similar = [name for name in names if _is_price_name(name) and not _DERIVED_PRICE.search(normalize_name(name))]
    if len(similar) == 1:
        return similar[0]
    raise UnusableSales(f"price: can't tell which column holds the sale price; set `price` to one of {_listed(names)}")


def _find_house_id(columns: Mapping[str, Column], price: Column) -> Column | None:
    return next(
        (
            column
            for column in columns.values()
            if column is not price and _is_identifier(column)
            and not _NO_HOUSE_ID_NAME.search(normalize_name(column.name))
            and not column.is_row_number and (column.is_whole or column.kind is Kind.CATEGORY)
        ),
        None,
    )  # fmt: skip


def read(name: str, cells: Sequence[Cell], kind: Kind | None, read_on: date | None = None) -> Column:
    """Parse a column.

    Args:
        name: the column name.
        cells: the cells.
        kind: the kind to parse the cells as. If None, it is inferred from the name and the cells.
        read_on: the latest accepted sale date, used to choose the century of two-digit years.
    """
    column = read_column(name, cells, kind)
    if read_on:
        column = _with_century(column, cells, read_on)
    is_code = kind is None and column.is_whole and _CODE_NAME.search(normalize_name(name))
    if not is_code or _is_identifier(column):
        return column
    return evolve(read_column(name, cells, Kind.CATEGORY), why="a code, not a quantity (by its name)")


def _with_century(column: Column, cells: Sequence[Cell], read_on: date, near: int | None = None) -> Column:
    """Parse a date column again so that its two-digit years are in the most plausible century (see last_year_of).

    Other columns are returned unchanged.

    Args:
        column: the parsed column.
        cells: the column's cells.
        read_on: the latest accepted sale date.
        near: a year that the column's years should be close to.
    """
    years = two_digit_years(count_present(cells)) if column.kind is Kind.DATE else ()
    if not years:
        return column
    return evolve(read_column(column.name, cells, Kind.DATE, last_year_of(years, read_on.year, near)), why=column.why)


def _decide(
    column: Column, options: TrainingOptions, reserved: Set[str], *, price: Column, sale_date: Column | None,
    house_id: Column | None, exclusion: str | None,
) -> Decision:  # fmt: skip
    name, kind = column.name, column.kind
    if column is price:
        return Decision(name, "price", "as requested" if options.price else "by its name", kind)
    if column is house_id:
        return Decision(name, "house id", "identifies a house and its resales; not a feature", kind)
    if name in options.exclude:
        return Decision(name, "left out", "as requested")
    if options.features and name not in options.features and column is not sale_date:
        return Decision(name, "left out", "not among the requested features")
    if name in reserved:
        return Decision(name, "left out", "a reserved name; rename the column to use it")
    if len(column.distinct) < 2:
        return Decision(name, "left out", _constant_reason(column))
    if column is sale_date:
        return Decision(name, "sale date", f"{column.why}; {min(column.distinct)} to {max(column.distinct)}", kind)
    return Decision(name, "left out", exclusion) if exclusion else Decision(name, "feature", _description(column), kind)


def _constant_reason(column: Column) -> str:
    if column.distinct:
        return "the same value in every sale"
    return "no readable values" if column.unreadable else "empty"


def _description(column: Column) -> str:
    if column.kind is Kind.CATEGORY:
        extent = f"{len(column.distinct):,} categories"
    elif column.kind is Kind.BOOLEAN:
        return column.why
    else:
        extent = f"{min(column.distinct)} to {max(column.distinct)}"
    missing = len(column.values) - column.present
    return f"{column.why}; {extent}" + (f"; {missing:,} missing" if missing else "")


def _listed(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _exclusion(column: Column) -> str | None:
    """Return the reason why a column is not used as a feature by default, or None if it is used.

    This function doesn't check whether the column has at least two distinct values (see `_decide`).
    """
    if column.is_row_number or (_ROW_NAME.fullmatch(normalize_name(column.name)) and _is_key(column)):
        return "row numbers"
    if _is_identifier(column):
        return "an identifier: nearly all values are different"
    if digits := _code_digits(column):
        return f"an identifier: most values are different, and all have {digits} digits"
    if _is_price_name(column.name):
        return "a price or derived from the price (by its name), so unknown before the sale"
    if reason := after_sale(column.name):
        return reason
    unread = column.unreadable > (1 - READABLE_SHARE) * (column.present + column.unreadable)
    if column.kind is Kind.CATEGORY and (unread or _differ(column, _MOSTLY_DISTINCT)):
        return "free text: nearly all values are different"
    return None


def _is_price_name(name: str) -> bool:
    """Return whether a column name indicates the sale price, or a value derived from the sale price."""
    words = normalize_name(name)
    return name.startswith("$/") or bool(_PRICE_WORD.search(words) and not _EARLIER_PRICE.search(words))


def _is_identifier(column: Column) -> bool:
    """Return whether a column contains identifiers, judging by its name and its values."""
    return _ID_NAME.search(normalize_name(column.name)) is not None and _differ(column, _ID_DISTINCT)


def _code_digits(column: Column) -> int | None:
    """Return the number of digits if the column looks like a long code (see _MIN_CODE_DIGITS), otherwise None."""
    if not column.is_whole or not _differ(column, _MOSTLY_DISTINCT):
        return None
    lengths = {len(str(abs(int(value)))) for value in column.distinct}
    return lengths.pop() if len(lengths) == 1 and min(lengths) >= _MIN_CODE_DIGITS else None


def _is_key(column: Column) -> bool:
    return column.is_whole and len(column.distinct) == column.present


def _differ(column: Column, share: float) -> bool:
    """Return whether the number of distinct values is more than `share` times the number of rows with a value."""
    return len(column.distinct) > share * max(column.present, 1)
