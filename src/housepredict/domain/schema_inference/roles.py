"""What each column of a sales file is for: the price, the sale date, the house's identifier, a feature, or nothing."""

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
    is_missing,
    present_in,
    read_column,
    read_prices,
    two_digit_years,
    words_of,
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
_LONG_CODE = 10
"""Whole numbers of so many digits and one length, most of them different, are codes rather than amounts."""
_SELDOM_REPEATED = 0.2  # a house comes up for sale again, now and then

_SHOWN = 3  # cells in a message


@frozen
class Decision:
    """What a column was taken for, and why."""

    column: str
    use: str
    why: str
    kind: Kind | None = None


@frozen
class Roles:
    """The columns of a file by what they are for; `features` are names, in the file's order.

    `identity` is what tells houses apart where no column names them: whatever the options, the same columns.
    `sale_months` are the columns of a year and a month where these make the sale date.
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
    """Decide what every column is for.

    Args:
        reserved: names that no feature may have.

    Raises:
        UnusableSales: if a column that is needed or named is not there.
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
        columns = {name: evolve(each, why="their schema says so") for name, each in columns.items()}
    price = columns[price_name]
    if options.sale_date:
        _check_dates(columns[options.sale_date], table.columns[options.sale_date])
    read_alone = columns | {name: read_cells(name, table.columns[name], None) for name in options.kinds}
    months = find_sale_months(read_alone)
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
    # what tells houses apart depends on no option, and so neither does the split of the sales
    accepted = [each for each in read_alone.values() if each.name != price_name and not _doubt(each)]
    leaks = {} if table.schema else find_leaks(price, accepted)
    of_the_sale = {*leaks, *((months.year, months.month) if months else ())}
    identity = tuple(each for each in accepted if each.kind is not Kind.DATE and each.name not in of_the_sale)
    allowed = {*options.features, *options.allow}
    doubts = {name: why for name, why in leaks.items() if name not in allowed}
    sale_months = (months.year, months.month) if months and sale_date is months.date else None
    doubts |= dict.fromkeys(sale_months or (), f"is in {MONTH_OF_SALE}")
    doubts |= {name: why for name, each in columns.items() if name not in {*allowed, *kinds} and (why := _doubt(each))}
    decisions = tuple(
        _decide(each, options, reserved, price=price, sale_date=sale_date, house_id=house_id, against=doubts.get(name))
        for name, each in columns.items()
    )
    open_to_all = [name for name in options.closed if columns[name].kind is not Kind.CATEGORY]
    if open_to_all:
        raise UnusableSales(f"only a category can be closed: give {_listed(open_to_all)} the type category too")
    features = tuple(decision.column for decision in decisions if decision.use in ("feature", "sale date"))
    if not features:
        reasons = "; ".join(
            f"{decision.column}: {decision.why}" for decision in decisions if decision.use == "left out"
        )
        raise UnusableSales(f"no column is left that could tell prices apart ({reasons})")
    return Roles(columns, price, sale_date, house_id, identity, features, decisions, sale_months)


def _check_names(table: SalesTable, options: TrainingOptions, reserved: Set[str]) -> None:
    asked = _named(options)
    unknown = [name for name in asked if name not in table.columns]
    if unknown:
        lines = ", ".join(f"{name!r}{did_you_mean(name, table.columns, repr)}" for name in unknown)
        raise UnusableSales(f"the sales have no column {lines}; their columns are {_listed(table.columns)}")
    if table.schema and asked:
        raise UnusableSales("these sales bring a schema of their own: nothing can be said of their columns")
    taken = sorted(reserved & set(options.features))
    if taken:
        raise UnusableSales(f"{_listed(taken)} cannot be a feature: answers have such a field; rename the column")


def _check_dates(column: Column, cells: Sequence[Cell]) -> None:
    """Raise UnusableSales, with some of the cells, for a sale date of which most cells are no dates."""
    if column.present >= column.unreadable:
        return
    unread = dict.fromkeys(
        str(cell) for cell, value in zip(cells, column.values, strict=True) if value is None and not is_missing(cell)
    )
    raise UnusableSales(
        f"the sale date {column.name!r} cannot be read: {column.unreadable:,} of its "
        f"{column.present + column.unreadable:,} cells are no dates, such as {_listed(list(unread)[:_SHOWN])}; "
        "write them as YYYY-MM-DD, or name another column"
    )


def _named(options: TrainingOptions) -> list[str]:
    """The columns that the options speak of, in that order."""
    single = [name for name in (options.price, options.sale_date, options.house_id) if name]
    several = [*options.features, *options.exclude, *options.kinds, *options.closed, *options.allow]
    return list(dict.fromkeys([*single, *several]))


def _find_price(names: Mapping[str, object]) -> str:
    for wanted in _PRICE_NAMES:
        for name in names:
            if words_of(name) == wanted:
                return name
    # such as "Price (USD)", where no other column comes into question
    alike = [name for name in names if _tells_price(name) and not _DERIVED_PRICE.search(words_of(name))]
    if len(alike) == 1:
        return alike[0]
    raise UnusableSales(f"which column is the price? Set `price` to one of {_listed(names)}")


def _find_house_id(columns: Mapping[str, Column], price: Column) -> Column | None:
    return next(
        (
            column
            for column in columns.values()
            if column is not price and _is_identifier(column)
            and not _NO_HOUSE_ID_NAME.search(words_of(column.name))
            and not column.is_row_number and (column.is_whole or column.kind is Kind.CATEGORY)
        ),
        None,
    )  # fmt: skip


def read(name: str, cells: Sequence[Cell], kind: Kind | None, read_on: date | None = None) -> Column:
    """Read a column as the kind given, or as the kind that its cells and its name say."""
    column = read_column(name, cells, kind)
    if read_on:
        column = _with_century(column, cells, read_on)
    is_code = kind is None and column.is_whole and _CODE_NAME.search(words_of(name))
    if not is_code or _is_identifier(column):
        return column
    return evolve(read_column(name, cells, Kind.CATEGORY), why="the name says that the numbers are no quantities")


def _with_century(column: Column, cells: Sequence[Cell], read_on: date, near: int | None = None) -> Column:
    """Return the column with the century of its two-digit years; see last_year_of."""
    years = two_digit_years(present_in(cells)) if column.kind is Kind.DATE else ()
    if not years:
        return column
    return evolve(read_column(column.name, cells, Kind.DATE, last_year_of(years, read_on.year, near)), why=column.why)


def _decide(
    column: Column, options: TrainingOptions, reserved: Set[str], *, price: Column, sale_date: Column | None,
    house_id: Column | None, against: str | None,
) -> Decision:  # fmt: skip
    name, kind = column.name, column.kind
    if column is price:
        return Decision(name, "price", "as you said" if options.price else "by its name", kind)
    if column is house_id:
        return Decision(name, "house id", "tells resales of a house apart; identifiers are no features", kind)
    if name in options.exclude:
        return Decision(name, "left out", "as you said")
    if options.features and name not in options.features and column is not sale_date:
        return Decision(name, "left out", "not among the features that you named")
    if name in reserved:
        return Decision(name, "left out", "answers have a field of that name; rename the column to use it")
    if len(column.distinct) < 2:
        return Decision(name, "left out", _why_not_varying(column))
    if column is sale_date:
        return Decision(name, "sale date", f"{column.why}; {min(column.distinct)} to {max(column.distinct)}", kind)
    return Decision(name, "left out", against) if against else Decision(name, "feature", _description(column), kind)


def _why_not_varying(column: Column) -> str:
    if column.distinct:
        return "is the same in every sale"
    return "holds nothing that can be read" if column.unreadable else "holds nothing"


def _description(column: Column) -> str:
    if column.kind is Kind.CATEGORY:
        extent = f"{len(column.distinct)} categories"
    elif column.kind is Kind.BOOLEAN:
        return column.why
    else:
        extent = f"{min(column.distinct)} to {max(column.distinct)}"
    missing = len(column.values) - column.present
    return f"{column.why}; {extent}" + (f"; {missing} missing" if missing else "")


def _listed(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _doubt(column: Column) -> str | None:
    """Why a column that varies is no feature, unless the user says that it is one."""
    if column.is_row_number or (_ROW_NAME.fullmatch(words_of(column.name)) and _is_key(column)):
        return "counts the rows"
    if _is_identifier(column):
        return "an identifier: nearly every value differs"
    if digits := _code_digits(column):
        return f"an identifier: most values differ, and all are whole numbers of {digits} digits"
    if _tells_price(column.name):
        return "goes with the price, which nobody knows before the sale"
    if too_late := after_sale(column.name):
        return too_late
    unread = column.unreadable > (1 - READABLE_SHARE) * (column.present + column.unreadable)
    if column.kind is Kind.CATEGORY and (unread or _differ(column, _MOSTLY_DISTINCT)):
        return "free text: nearly every value differs"
    return None


def _tells_price(name: str) -> bool:
    """Whether a name is that of a price of this sale."""
    words = words_of(name)
    return name.startswith("$/") or bool(_PRICE_WORD.search(words) and not _EARLIER_PRICE.search(words))


def _is_identifier(column: Column) -> bool:
    """Whether a column identifies something, by its name and its values."""
    return _ID_NAME.search(words_of(column.name)) is not None and _differ(column, _SELDOM_REPEATED)


def _code_digits(column: Column) -> int | None:
    """The number of digits that all values have, if there are too many for an amount; None otherwise."""
    if not column.is_whole or not _differ(column, _MOSTLY_DISTINCT):
        return None
    lengths = {len(str(abs(int(value)))) for value in column.distinct}
    return lengths.pop() if len(lengths) == 1 and min(lengths) >= _LONG_CODE else None


def _is_key(column: Column) -> bool:
    return column.is_whole and len(column.distinct) == column.present


def _differ(column: Column, share: float) -> bool:
    """Whether a column has a different value in more than this share of its rows."""
    return len(column.distinct) > share * max(column.present, 1)
