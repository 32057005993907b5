"""What each column of a sales file is for: the price, the sale date, the house's identifier, a feature, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from attrs import field, frozen

from housepredict.domain.columns import Column, read_column
from housepredict.domain.errors import UnusableSales
from housepredict.domain.features import Kind
from housepredict.domain.models import TrainingOptions
from housepredict.domain.sales import SalesTable

ANSWER_FIELDS = frozenset({"id", "created_at", "predicted_price", "model_version", "valued_on", "warnings"})
"""Fields that an answer has beside the features: no feature may have such a name."""

_PRICE_NAMES = ("price", "sale price", "saleprice", "sold price", "sales price", "selling price", "price sold")
_ID_NAME = re.compile(r"(^|[ ])(id|pid|apn|uprn|parcel|mls|identifier)([ ]|$)|parcel ?(no|num|id)")
_CODE_NAME = re.compile(
    r"zip|post ?(al|code)|pin ?code|fips|tract|district|municipality|neighbou?rhood|(^|[ ])(id|code|class|subclass|zone)$"
)
_SOLD_NAME = re.compile(r"sale|sold|transfer|transaction|deed|clos|settle")
_NOT_SOLD_NAME = re.compile(r"built|construct|renov|remodel|list|birth|update|expir")
_MOSTLY_DISTINCT = 0.5
_MANY_TEXTS = 50


@frozen
class Decision:
    """What a column was taken for, and why."""

    column: str
    use: str
    why: str
    kind: Kind | None = None


@frozen
class Roles:
    """The columns of a file by what they are for; `features` are names, in the file's order."""

    columns: Mapping[str, Column] = field(repr=False)
    price: Column = field(repr=False)
    sale_date: Column | None = field(repr=False)
    house_id: Column | None = field(repr=False)
    features: tuple[str, ...]
    decisions: tuple[Decision, ...]


def assign_roles(table: SalesTable, options: TrainingOptions) -> Roles:
    """Decide what every column is for. Raises UnusableSales if a column that is needed or named is not there."""
    _check_names(table, options)
    price_name = options.price or _find_price(table.columns)
    kinds = dict(options.kinds) | {price_name: Kind.NUMBER}
    if options.sale_date:
        kinds[options.sale_date] = Kind.DATE
    if table.schema:
        kinds |= {feature.name: feature.kind for feature in table.schema.features}
    columns = {name: _read(name, cells, kinds.get(name)) for name, cells in table.columns.items()}
    price = columns[price_name]
    sale_date = columns[options.sale_date] if options.sale_date else _find_sale_date(columns, options)
    house_id = columns[options.house_id] if options.house_id else _find_house_id(columns, price)
    named = set(options.features)
    decisions = [
        _decide(column, options, price=price, sale_date=sale_date, house_id=house_id, named=named)
        for column in columns.values()
    ]
    features = tuple(decision.column for decision in decisions if decision.use in ("feature", "sale date"))
    if not features:
        reasons = "; ".join(f"{decision.column}: {decision.why}" for decision in decisions)
        raise UnusableSales(f"no column is left that could tell prices apart ({reasons})")
    return Roles(columns, price, sale_date, house_id, features, tuple(decisions))


def _check_names(table: SalesTable, options: TrainingOptions) -> None:
    single = [name for name in (options.price, options.sale_date, options.house_id) if name]
    asked = [*single, *options.features, *options.exclude, *options.kinds, *options.closed]
    unknown = dict.fromkeys(name for name in asked if name not in table.columns)
    if unknown:
        lines = ", ".join(f"{name!r}{_hint(name, list(table.columns))}" for name in unknown)
        raise UnusableSales(f"the sales have no column {lines}; their columns are {_listed(table.columns)}")
    taken = sorted(ANSWER_FIELDS.intersection(options.features))
    if taken:
        raise UnusableSales(f"{_listed(taken)} cannot be a feature: answers have a field of that name; rename the column")


def _hint(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _find_price(names: Mapping[str, object]) -> str:
    for wanted in _PRICE_NAMES:
        for name in names:
            if _words(name) == wanted:
                return name
    raise UnusableSales(
        f"which column is the price? Name it with --price COLUMN; the columns are {_listed(names)}"
    )


def _find_sale_date(columns: Mapping[str, Column], options: TrainingOptions) -> Column | None:
    dates = [
        column
        for column in columns.values()
        if column.kind is Kind.DATE and column.name not in options.exclude and len(column.distinct) > 1
    ]
    rank: tuple[Callable[[str], object], ...] = (_SOLD_NAME.search, lambda name: not _NOT_SOLD_NAME.search(name))
    return next((column for fits in rank for column in dates if fits(_words(column.name))), None)


def _find_house_id(columns: Mapping[str, Column], price: Column) -> Column | None:
    return next(
        (
            column
            for column in columns.values()
            if column is not price and _ID_NAME.search(_words(column.name)) and _mostly_distinct(column)
            and not column.is_row_number and (column.is_whole or column.kind is Kind.CATEGORY)
        ),
        None,
    )  # fmt: skip


def _read(name: str, cells: Sequence[object], kind: Kind | None) -> Column:
    column = read_column(name, cells, kind)  # type: ignore[arg-type]  # cells are Cells
    is_code = kind is None and column.is_whole and _CODE_NAME.search(_words(name))
    if not is_code or (_ID_NAME.search(_words(name)) and _mostly_distinct(column)):
        return column
    read = read_column(name, cells, Kind.CATEGORY)  # type: ignore[arg-type]
    why = "the name says that the numbers are no quantities"
    return Column(name, Kind.CATEGORY, why, read.unreadable, read.values, read.distinct)


def _decide(
    column: Column, options: TrainingOptions, *, price: Column, sale_date: Column | None, house_id: Column | None,
    named: set[str],
) -> Decision:  # fmt: skip
    name, kind = column.name, column.kind
    if column is price:
        return Decision(name, "price", "as you said" if options.price else "by its name", kind)
    if column is house_id:
        return Decision(name, "house id", "tells resales of a house apart; identifiers are no features", kind)
    if name in options.exclude:
        return Decision(name, "left out", "as you said")
    if named and name not in named and column is not sale_date:
        return Decision(name, "left out", "not among the features that you named")
    if name in ANSWER_FIELDS:
        return Decision(name, "left out", "answers have a field of that name; rename the column to use it")
    if len(column.distinct) < 2:
        return Decision(name, "left out", "is the same in every sale" if column.distinct else "holds nothing")
    if column is sale_date:
        return Decision(name, "sale date", f"{column.why}; {min(column.distinct)} to {max(column.distinct)}", kind)
    if name not in named and name not in options.kinds:
        if column.is_row_number:
            return Decision(name, "left out", "counts the rows")
        if _ID_NAME.search(_words(name)) and _mostly_distinct(column):
            return Decision(name, "left out", "an identifier: nearly every value differs")
        if kind is Kind.CATEGORY and len(column.distinct) > _MANY_TEXTS and _mostly_distinct(column):
            return Decision(name, "left out", "free text: nearly every value differs")
    return Decision(name, "feature", _description(column), kind)


def _description(column: Column) -> str:
    if column.kind is Kind.CATEGORY:
        extent = f"{len(column.distinct)} categories"
    elif column.kind is Kind.BOOLEAN:
        return column.why
    else:
        extent = f"{min(column.distinct)} to {max(column.distinct)}"
    missing = len(column.values) - column.present
    return f"{column.why}; {extent}" + (f"; {missing} missing" if missing else "")


def _mostly_distinct(column: Column) -> bool:
    return len(column.distinct) > _MOSTLY_DISTINCT * max(column.present, 1)


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", name).lower().strip()


def _listed(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, names))
