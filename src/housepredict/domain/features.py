"""Features of a model, validation rules for their values, and validated houses."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from functools import cached_property, partial
from numbers import Integral, Real
from typing import Any, assert_never

from attrs import define, field, frozen

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.validation import Rule, Violation, did_you_mean, iso_day, pointer_to, tidy

_YEAR_DAYS = 365
_MAX_SUGGESTIONS = 3
"""A house with more unknown feature names than this gets no "did you mean" hints.

This saves time, because finding the hint for one name takes 0.1 ms.
"""


def usual_range(feature: Feature, *, is_sale_date: bool) -> tuple[Value, Value] | None:
    """Return the range of a feature's values that get no warning.

    Args:
        feature: the feature.
        is_sale_date: whether the feature is the sale date. Sale dates get no warning until a year after the last
            training sale.

    Returns:
        The smallest and the largest value without a warning, or None if the feature has no range (such as a boolean).
    """
    if is_sale_date and feature.observed:
        first, last = feature.observed
        return first, _year_after(str(last))
    return feature.usual or feature.observed


def _year_after(day: str) -> str:
    ordinal = date.fromisoformat(day).toordinal() + _YEAR_DAYS
    return date.fromordinal(min(ordinal, date.max.toordinal())).isoformat()


Value = str | int | float | bool
"""A feature's value, as a JSON type. Dates are strings (YYYY-MM-DD)."""


# cached_property needs a __dict__, which a class with slots doesn't have.
@frozen(slots=False)
class Feature:
    """A property of a house that a model uses as input.

    Attributes:
        unit: the unit of the values, or None if there is no unit.
        required: whether a house must have a value.
        minimum: the smallest valid value, or None if there is no lower limit.
        maximum: the largest valid value, or None if there is no upper limit.
        observed: the smallest and the largest value in the training sales, or None if the feature is neither numeric
            nor a date. Values outside this range get a warning.
        categories: the categories in the training sales. Other categories are invalid if `closed` is True. Otherwise,
            they get a warning.
        closed: whether only the listed `categories` are valid.
        usual: the smallest and the largest value of the range that contains most training sales, or None if this range
            is not narrower than `observed`. Values outside this range get a warning.
        rare: the categories that are rare in the training sales. They get a warning.
    """

    name: str
    kind: Kind
    unit: str | None = None
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    observed: tuple[Value, Value] | None = None
    categories: tuple[str, ...] = ()
    closed: bool = False
    usual: tuple[Value, Value] | None = None
    rare: tuple[str, ...] = ()

    @cached_property
    def known_categories(self) -> frozenset[str]:
        """The set of categories in the training sales."""
        return frozenset(self.categories)

    @cached_property
    def _spellings(self) -> Mapping[str, str]:
        return {tidy(category): category for category in self.categories}

    def spelled(self, value: object) -> object:
        """Return a category as it is spelled in the training sales.

        An unknown category is returned tidy (see validation.tidy). A value that is not text, or that belongs to a
        feature of another kind, is returned unchanged.
        """
        if self.kind is not Kind.CATEGORY or not isinstance(value, str) or value in self.known_categories:
            return value
        text = tidy(value)
        return self._spellings.get(text, text)


class _SpelledHouse(dict[str, object]):
    """The feature values of a house, not validated yet. Names and categories are spelled as in the schema.

    Attributes:
        repeated: the feature names that occurred more than once in the input.
    """

    repeated: list[str]


@frozen
class House:
    """A house that was validated against a schema.

    Attributes:
        values: a mapping of feature names to values. Features without a value are not included.
    """

    values: Mapping[str, Value] = field(hash=False)


@define(frozen=True, slots=False)
class FeatureSchema:
    """The features of a model, in a fixed order.

    Attributes:
        sale_date: the name of the feature that is the sale date, or None if there is no such feature.
        valuation_date: the date that estimates are for if a house has no sale date. None if the model does not use
            dates.
    """

    features: tuple[Feature, ...]
    sale_date: str | None = None
    valuation_date: date | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        """The set of feature names."""
        return frozenset(feature.name for feature in self.features)

    def house(self, values: Mapping[str, object]) -> House:
        """Validate one house, given as a mapping of feature names to values.

        Raises:
            InvalidHouses: with all violations. JSON pointers are relative to the house, such as `/size`.
        """
        try:
            return self.houses([values])[0]
        except InvalidHouses as error:
            raise error.alone() from None

    def houses(self, batch: Sequence[object]) -> tuple[House, ...]:
        """Validate a batch of houses.

        Args:
            batch: the houses, as mappings of feature names to values. If a mapping has an attribute `repeated`, this is
                a list of names that occurred more than once in the JSON object. They are reported as violations.

        Raises:
            InvalidHouses: with all violations of all houses. JSON pointers are relative to the batch, such as
                `/3/size`.
        """
        if not batch:
            raise InvalidHouses([Violation("", Rule.EMPTY, "must contain at least one house")])
        houses = [self._plain_house(values) for values in batch]
        if None not in houses:
            return tuple(houses)  # type: ignore[arg-type]  # None is excluded above.
        spelled = [self._spelled(values) for values in batch]
        violations = [violation for row, values in enumerate(spelled) for violation in self._violations(values, row)]
        if violations:
            raise InvalidHouses(violations)
        return tuple(self._house(values) for values in spelled)  # type: ignore[arg-type]  # All are valid mappings.

    def named(self, name: object) -> Feature | None:
        """Return the feature with this name, or None if there is none.

        Names match even if they differ in surrounding whitespace or in their Unicode normal form.
        """
        if not isinstance(name, str):
            return None
        return self._by_name.get(name) or self._by_tidy_name.get(tidy(name))

    def violations(self, values: object, *path: str | int) -> list[Violation]:
        """Return all violations of one house.

        Args:
            values: the house, as a mapping of feature names to values.
            path: the names and list positions that lead to the house in the input. JSON pointers start with them.
        """
        return self._violations(self._spelled(values), *path)

    def _spelled(self, values: object) -> object:
        """Spell the names and categories of a house as in the schema.

        Args:
            values: the house, as a mapping of feature names to values. Anything else is returned unchanged.
        """
        if not isinstance(values, Mapping):
            return values
        house = _SpelledHouse()
        house.repeated = [*getattr(values, "repeated", ())]
        for name, value in values.items():
            feature = self.named(name)
            schema_name = name if feature is None else feature.name
            if schema_name in house:
                house.repeated.append(name)
            house[schema_name] = value if feature is None else feature.spelled(value)
        return house

    def _violations(self, values: object, *path: str | int) -> list[Violation]:
        if not isinstance(values, Mapping):
            message = "must be an object that maps feature names to values"
            return [Violation(pointer_to(*path), Rule.TYPE, message, values)]
        violations = []
        for feature, rules in self._rules:
            value = values.get(feature.name)
            if value is not None:
                if broken := rules.broken(value):
                    violations.append(Violation(pointer_to(*path, feature.name), *broken, value))
            elif feature.required:
                message = "required" if feature.name not in values else "required, must not be null"
                violations.append(Violation(pointer_to(*path, feature.name), Rule.MISSING, message))
        unknown = [name for name in values if name not in self.names]
        for name in unknown:
            hint = did_you_mean(str(name), self.names) if len(unknown) <= _MAX_SUGGESTIONS else ""
            message = f"not a feature of this model{hint}"
            violations.append(Violation(pointer_to(*path, name), Rule.UNKNOWN, message, values[name]))
        violations.extend(
            Violation(pointer_to(*path, name), Rule.DUPLICATE, "given more than once", values.get(name))
            for name in getattr(values, "repeated", ())
        )
        return violations

    @cached_property
    def usual_values(self) -> Sequence[tuple[Feature, frozenset[str] | None, Value, Value]]:
        """The values of each feature that get no warning, as tuples (feature, categories, low, high).

        If `categories` is None, the values from `low` to `high` get no warning. Otherwise, the `categories` get no
        warning, and `low` and `high` have no meaning. Features without categories and without a range, such as
        booleans, are not included.
        """
        usual_values: list[tuple[Feature, frozenset[str] | None, Value, Value]] = []
        for feature in self.features:
            if feature.kind is Kind.CATEGORY:
                usual_values.append((feature, feature.known_categories.difference(feature.rare), "", ""))
            elif usual := usual_range(feature, is_sale_date=feature.name == self.sale_date):
                usual_values.append((feature, None, *usual))
        return usual_values

    def valued_on(self, house: House) -> date | None:
        """Return the date that a house's estimate is for, or None if the model does not use dates."""
        sale_date = house.values.get(self.sale_date) if self.sale_date else None
        return date.fromisoformat(sale_date) if isinstance(sale_date, str) else self.valuation_date

    @cached_property
    def _by_name(self) -> Mapping[str, Feature]:
        return {feature.name: feature for feature in self.features}

    @cached_property
    def _by_tidy_name(self) -> Mapping[str, Feature]:
        return {tidy(feature.name): feature for feature in self.features}

    @cached_property
    def _rules(self) -> Sequence[tuple[Feature, FeatureRules]]:
        return [(feature, rules_of(feature)) for feature in self.features]

    @cached_property
    def _plain_tests(self) -> Sequence[tuple[str, Callable[[object], bool], bool]]:
        return [(feature.name, rules.is_plain, feature.required) for feature, rules in self._rules]

    def _plain_house(self, values: object) -> House | None:
        """Validate a house with fast tests.

        Returns:
            The house, or None if it failed a test. In this case, slower validation must decide whether it is valid.
        """
        if type(values) is not dict:
            return None
        checked = {}
        for name, is_plain, required in self._plain_tests:
            if name in values:
                value = values[name]
                if not is_plain(value):
                    return None
                checked[name] = value
            elif required:
                return None
        return House(checked) if len(checked) == len(values) else None

    def _house(self, values: Mapping[str, object]) -> House:
        return House(
            {
                feature.name: rules.stored(values[feature.name])
                for feature, rules in self._rules
                if values.get(feature.name) is not None
            }
        )


_LATITUDE = re.compile(r"^lat(t?itude)?$|[ _.]lat(itude)?$|^latt$", re.IGNORECASE)
_LONGITUDE = re.compile(r"^(lon|long|lng|longt?itude)$|[ _.](lon|long|lng|longitude)$", re.IGNORECASE)


def coordinates(schema: FeatureSchema) -> tuple[str, str] | None:
    """Return the names of the latitude and longitude features, or None unless there is exactly one of each."""
    numbers = [feature.name for feature in schema.features if feature.kind is Kind.NUMBER]
    latitudes, longitudes = ([name for name in numbers if part.search(name)] for part in (_LATITUDE, _LONGITUDE))
    return (latitudes[0], longitudes[0]) if len(latitudes) == len(longitudes) == 1 else None


MAX_MAGNITUDE = 1e15
"""Maximum absolute value of a number. All stores and JSON parsers represent integers exactly up to this value."""

MAX_TEXT = 200
"""Maximum length of a text value, in characters."""


class Kind(StrEnum):
    """The kind of a feature's values. In JSON, booleans are true or false, and dates are strings."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"


Broken = tuple[Rule, str]
"""What is wrong with an invalid value: the violated rule, and the error message."""


@frozen
class FeatureRules:
    """Functions that validate and convert the values of one feature.

    Attributes:
        broken: a function that returns the violated rule and an error message, or None if the value is valid.
        is_plain: a fast function that returns True for most values that are valid and can be stored unchanged. False
            doesn't mean that the value is invalid.
        stored: a function that converts a valid value, such as a NumPy scalar or a date, to its JSON type.
    """

    broken: Callable[[object], Broken | None]
    is_plain: Callable[[object], bool]
    stored: Callable[[Any], Value]


def rules_of(feature: Feature) -> FeatureRules:
    """Create the functions that validate and convert a feature's values."""
    known = feature.known_categories
    low = -MAX_MAGNITUDE if feature.minimum is None else max(feature.minimum, -MAX_MAGNITUDE)
    high = MAX_MAGNITUDE if feature.maximum is None else min(feature.maximum, MAX_MAGNITUDE)
    match feature.kind:
        case Kind.NUMBER:
            return FeatureRules(
                partial(_number, feature),
                lambda value: (type(value) is int or type(value) is float) and low <= value <= high,
                _stored_number,
            )
        case Kind.INTEGER:
            return FeatureRules(
                partial(_number, feature), lambda value: type(value) is int and low <= value <= high, int
            )
        case Kind.BOOLEAN:
            return FeatureRules(_boolean, lambda value: value is True or value is False, bool)
        case Kind.CATEGORY:
            return FeatureRules(
                partial(_category, feature), lambda value: type(value) is str and value in known, _stored_category
            )
        case Kind.DATE:
            return FeatureRules(_date, lambda value: type(value) is str and _date(value) is None, _stored_date)
        case _:
            assert_never(feature.kind)


def check_value(feature: Feature, value: object) -> Broken | None:
    """Return the rule that a value violates and an error message, or None if the value is valid."""
    return rules_of(feature).broken(value)


def _number(feature: Feature, value: object) -> Broken | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return Rule.TYPE, f"must be a number, not {_type_name(value)}"
    # Integers are not converted to float because they may be too large for it.
    number = int(value) if isinstance(value, Integral) else float(value)
    if isinstance(number, float) and not math.isfinite(number):
        return Rule.FINITE, "must be a finite number"
    if abs(number) > MAX_MAGNITUDE:
        return Rule.BOUNDS, f"must be between -{MAX_MAGNITUDE:.0e} and {MAX_MAGNITUDE:.0e}"
    if feature.minimum is not None and number < feature.minimum:
        return Rule.BOUNDS, f"must be at least {feature.minimum:g}"
    if feature.maximum is not None and number > feature.maximum:
        return Rule.BOUNDS, f"must be at most {feature.maximum:g}"
    if feature.kind is Kind.INTEGER and number % 1:
        return Rule.TYPE, "must be a whole number"
    return None


def _stored_number(value: Any) -> Value:
    if type(value) in (int, float):
        return value  # type: ignore[no-any-return]  # The condition narrows the type.
    return int(value) if isinstance(value, Integral) else float(value)


def _boolean(value: object) -> Broken | None:
    return None if isinstance(value, bool) else (Rule.TYPE, f"must be true or false, not {_type_name(value)}")


def _category(feature: Feature, value: object) -> Broken | None:
    # Some files store codes such as zip codes as numbers, but the model treats them as text.
    code = _whole_number(value)
    if code is not None and abs(code) > MAX_MAGNITUDE:
        return Rule.BOUNDS, f"must be text or a whole number up to {MAX_MAGNITUDE:.0e}"
    if code is None and not isinstance(value, str | date):
        return Rule.TYPE, f"must be text or a whole number, not {_type_name(value)}"
    text = _stored_category(value)
    if text in feature.known_categories:
        return None
    if problem := text_problem(text):
        return Rule.TEXT, problem
    if feature.closed:
        return Rule.CATEGORY, f"must be one of {', '.join(feature.categories)}"
    return None


def _stored_category(value: object) -> str:
    code = _whole_number(value)
    return _stored_date(value) if code is None else str(code)


def _whole_number(value: object) -> int | None:
    """Convert a whole number, such as 98178 or 98178.0, to an int. Returns None for any other value."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return int(number) if number.is_integer() else None


def text_problem(text: str) -> str | None:
    """Return an error message if some stores can't store a text, or None if all stores can."""
    if len(text) > MAX_TEXT:
        return f"must have at most {MAX_TEXT} characters"
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return "must not contain NUL characters or lone surrogates"
    return None


def _date(value: object) -> Broken | None:
    if isinstance(value, date):
        # pandas' NaT is an instance of datetime.date, but it is not equal to itself.
        return None if value == value else (Rule.DATE, "must be a valid date")
    if not isinstance(value, str):
        return Rule.TYPE, f"must be a date (YYYY-MM-DD), not {_type_name(value)}"
    try:
        # fromisoformat also accepts 20150527 and 2015-W22-3, but stored dates are compared as strings.
        canonical = date.fromisoformat(value).isoformat() == value
    except ValueError:
        canonical = False
    return None if canonical else (Rule.DATE, "must be a valid date (YYYY-MM-DD)")


def _stored_date(value: object) -> str:
    return iso_day(value) if isinstance(value, date) else str(value)


def _type_name(value: object) -> str:
    """Return the JSON name of a value's type, or its Python name if JSON has no such type."""
    if value is None:
        return "null"
    for kind, name in ((bool, "a boolean"), (str, "text"), (Real, "a number"), (dict, "an object"), (list, "a list")):
        if isinstance(value, kind):
            return name
    return type(value).__name__
