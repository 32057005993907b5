"""Houses and the features that a model knows of them, with the rules of their values."""

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
from housepredict.domain.validation import Rule, Violation, iso_day, pointer_to, tidy

_YEAR = 365  # days


def usual_range(feature: Feature, *, is_sale_date: bool) -> tuple[Value, Value] | None:
    """The range in which a value needs no warning; None for a feature without one."""
    if is_sale_date and feature.observed:
        first, last = feature.observed
        return first, _year_after(str(last))
    return feature.usual or feature.observed


def _year_after(day: str) -> str:
    ordinal = date.fromisoformat(day).toordinal() + _YEAR
    return date.fromordinal(min(ordinal, date.max.toordinal())).isoformat()


Value = str | int | float | bool
"""A feature's value, as JSON has it: a date is text, YYYY-MM-DD."""


# slots=False: cached_property needs a __dict__
@frozen(slots=False)
class Feature:
    """One property of a house.

    A value outside `minimum` and `maximum` (inclusive, in `unit`) is invalid. `observed` is the range in the training
    sales (numbers, or dates as text), and `categories` are the categories in them: a value outside gets an estimate
    with a warning, unless `closed` declares the categories complete. So do values outside the `usual` range, and `rare`
    categories, which few of the sales had.
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
        """The categories, for look-up."""
        return frozenset(self.categories)

    @cached_property
    def _spellings(self) -> Mapping[str, str]:
        return {tidy(category): category for category in self.categories}

    def spelled(self, value: object) -> object:
        """A category as the sales spell it, without blanks around it; any other value unchanged."""
        if self.kind is not Kind.CATEGORY or not isinstance(value, str) or value in self.known_categories:
            return value
        text = tidy(value)
        return self._spellings.get(text, text)


class _SpelledHouse(dict[str, object]):
    """An unchecked house with the schema's spelling of names and categories, and the names that occurred twice."""

    repeated: list[str]


@frozen
class House:
    """A house that was checked against a schema: feature name to value, with missing features left out."""

    values: Mapping[str, Value] = field(hash=False)


@define(frozen=True, slots=False)
class FeatureSchema:
    """The features that a model knows, in order.

    `sale_date` names the feature that is the date of sale, if there is one; a house without it is estimated for
    `valuation_date`.
    """

    features: tuple[Feature, ...]
    sale_date: str | None = None
    valuation_date: date | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        """The features' names, for look-up."""
        return frozenset(feature.name for feature in self.features)

    def house(self, given: Mapping[str, object]) -> House:
        """Check one house. Raises InvalidHouses with every violation; pointers start at the house: `/size`."""
        try:
            return self.houses([given])[0]
        except InvalidHouses as error:
            raise error.alone() from None

    def houses(self, given: Sequence[object]) -> tuple[House, ...]:
        """Check a batch, all or nothing.

        Names that a mapping held more than once are read from its attribute `repeated`, if it has one.

        Raises:
            InvalidHouses: with every violation of every house; pointers start at the batch: `/3/size`.
        """
        if not given:
            raise InvalidHouses([Violation("", Rule.EMPTY, "must hold at least one house")])
        houses = [self._plain_house(house) for house in given]
        if None not in houses:
            return tuple(houses)  # type: ignore[arg-type]  # there is no None among them
        spelled = [self._spelled(house) for house in given]
        violations = [violation for row, house in enumerate(spelled) for violation in self._violations(house, row)]
        if violations:
            raise InvalidHouses(violations)
        return tuple(self._house(house) for house in spelled)  # type: ignore[arg-type]  # others have violations

    def named(self, name: object) -> Feature | None:
        """The feature of a name, also with blanks around it or in another Unicode form; None if there is none."""
        if not isinstance(name, str):
            return None
        return self._by_name.get(name) or self._by_tidy_name.get(tidy(name))

    def violations(self, given: object, *path: str | int) -> list[Violation]:
        """Every violation of one house; `path` is its place in the input."""
        return self._violations(self._spelled(given), *path)

    def _spelled(self, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        house = _SpelledHouse()
        house.repeated = [*getattr(given, "repeated", ())]
        for name, value in given.items():
            feature = self.named(name)
            known = name if feature is None else feature.name
            if known in house:
                house.repeated.append(name)
            house[known] = value if feature is None else feature.spelled(value)
        return house

    def _violations(self, given: object, *path: str | int) -> list[Violation]:
        if not isinstance(given, Mapping):
            return [Violation(pointer_to(*path), Rule.TYPE, "must be an object: feature names and values", given)]
        found = []
        for feature, rules in self._rules:
            value = given.get(feature.name)
            if value is not None:
                if broken := rules.broken(value):
                    found.append(Violation(pointer_to(*path, feature.name), *broken, value))
            elif feature.required:
                message = "is missing" if feature.name not in given else "is required and must not be null"
                found.append(Violation(pointer_to(*path, feature.name), Rule.MISSING, message))
        found.extend(
            Violation(pointer_to(*path, name), Rule.UNKNOWN, "is no feature of this model", given[name])
            for name in given
            if name not in self.names
        )
        found.extend(
            Violation(pointer_to(*path, name), Rule.DUPLICATE, "is given more than once", given.get(name))
            for name in getattr(given, "repeated", ())
        )
        return found

    @cached_property
    def usual_values(self) -> Sequence[tuple[Feature, frozenset[str] | None, Value, Value]]:
        """The usual values of each feature: some categories, or a range."""
        found: list[tuple[Feature, frozenset[str] | None, Value, Value]] = []
        for feature in self.features:
            if feature.kind is Kind.CATEGORY:
                found.append((feature, feature.known_categories.difference(feature.rare), "", ""))
            elif usual := usual_range(feature, is_sale_date=feature.name == self.sale_date):
                found.append((feature, None, *usual))
        return found

    def valued_on(self, house: House) -> date | None:
        """The date that the estimate of a house is for; None for a model without dates."""
        given = house.values.get(self.sale_date) if self.sale_date else None
        return date.fromisoformat(given) if isinstance(given, str) else self.valuation_date

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

    def _plain_house(self, given: object) -> House | None:
        """A house whose values all pass their plain tests; None for others, which may be valid as well."""
        if type(given) is not dict:
            return None
        values = {}
        for name, is_plain, required in self._plain_tests:
            if name in given:
                value = given[name]
                if not is_plain(value):
                    return None
                values[name] = value
            elif required:
                return None
        return House(values) if len(values) == len(given) else None

    def _house(self, given: Mapping[str, object]) -> House:
        return House(
            {
                feature.name: rules.stored(given[feature.name])
                for feature, rules in self._rules
                if given.get(feature.name) is not None
            }
        )


_LATITUDE = re.compile(r"^lat(t?itude)?$|[ _.]lat(itude)?$|^latt$", re.IGNORECASE)
_LONGITUDE = re.compile(r"^(lon|long|lng|longt?itude)$|[ _.](lon|long|lng|longitude)$", re.IGNORECASE)


def coordinates(schema: FeatureSchema) -> tuple[str, str] | None:
    """The names of the latitude and the longitude; None unless there is exactly one of each."""
    numbers = [feature.name for feature in schema.features if feature.kind is Kind.NUMBER]
    latitudes, longitudes = ([name for name in numbers if each.search(name)] for each in (_LATITUDE, _LONGITUDE))
    return (latitudes[0], longitudes[0]) if len(latitudes) == len(longitudes) == 1 else None


MAX_MAGNITUDE = 1e15
"""The largest absolute value of a number: below it whole numbers and their JSON are exact in every store."""


MAX_TEXT = 200
"""The longest text, in characters."""


class Kind(StrEnum):
    """What a feature's values are. (A boolean is neither a number nor a category: in JSON it is true or false.)"""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"


Broken = tuple[Rule, str]
"""A broken rule, and its message."""


@frozen
class FeatureRules:
    """The rules of a feature's values.

    `broken` returns the rule that a present value breaks, None if it is valid. `is_plain` is a quick test that most
    valid values pass, and nothing else: they are stored unchanged. `stored` is a valid value as JSON has it, also if it
    came as a NumPy scalar or a date.
    """

    broken: Callable[[object], Broken | None]
    is_plain: Callable[[object], bool]
    stored: Callable[[Any], Value]


def rules_of(feature: Feature) -> FeatureRules:
    """The rules of a feature's values."""
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
    """The rule that a present value breaks for a feature, with its message; None if it is valid."""
    return rules_of(feature).broken(value)


def _number(feature: Feature, value: object) -> Broken | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return Rule.TYPE, f"must be a number, not {_type_name(value)}"
    # an int may be too large for a float: it is compared as it is
    number = int(value) if isinstance(value, Integral) else float(value)
    if isinstance(number, float) and not math.isfinite(number):
        return Rule.FINITE, "must be a finite number"
    if abs(number) > MAX_MAGNITUDE:
        return Rule.BOUNDS, f"must lie between -{MAX_MAGNITUDE:.0e} and {MAX_MAGNITUDE:.0e}"
    if feature.minimum is not None and number < feature.minimum:
        return Rule.BOUNDS, f"must be at least {feature.minimum:g}"
    if feature.maximum is not None and number > feature.maximum:
        return Rule.BOUNDS, f"must be at most {feature.maximum:g}"
    if feature.kind is Kind.INTEGER and number % 1:
        return Rule.TYPE, "must be a whole number"
    return None


def _stored_number(value: Any) -> Value:
    if type(value) in (int, float):
        return value  # type: ignore[no-any-return]  # as the line above says
    return int(value) if isinstance(value, Integral) else float(value)


def _boolean(value: object) -> Broken | None:
    return None if isinstance(value, bool) else (Rule.TYPE, f"must be true or false, not {_type_name(value)}")


def _category(feature: Feature, value: object) -> Broken | None:
    # a code such as a zip code is a number in some files, and text to the model
    code = _whole_number(value)
    if code is not None and abs(code) > MAX_MAGNITUDE:
        return Rule.BOUNDS, f"must be text, or a whole number up to {MAX_MAGNITUDE:.0e}"
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
    """The whole number that a value is, also as JSON's 98178.0; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return int(number) if number.is_integer() else None


def text_problem(text: str) -> str | None:
    """The reason why not every store can hold a text; None if every store can."""
    if len(text) > MAX_TEXT:
        return f"must have at most {MAX_TEXT} characters"
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return "must be text without NUL characters or lone surrogates"
    return None


def _date(value: object) -> Broken | None:
    if isinstance(value, date):
        # pandas' NaT is a date to Python, and unequal to itself
        return None if value == value else (Rule.DATE, "must be a date")
    if not isinstance(value, str):
        return Rule.TYPE, f"must be a date as text, YYYY-MM-DD, not {_type_name(value)}"
    try:
        # fromisoformat alone also reads 20150527 and 2015-W22-3; one spelling keeps what is stored comparable
        canonical = date.fromisoformat(value).isoformat() == value
    except ValueError:
        canonical = False
    return None if canonical else (Rule.DATE, "must be a date of the calendar, YYYY-MM-DD")


def _stored_date(value: object) -> str:
    return iso_day(value) if isinstance(value, date) else str(value)


def _type_name(value: object) -> str:
    """The JSON name of a value's type, or Python's where JSON has none."""
    if value is None:
        return "null"
    for kind, name in ((bool, "a boolean"), (str, "text"), (Real, "a number"), (dict, "an object"), (list, "a list")):
        if isinstance(value, kind):
            return name
    return type(value).__name__
