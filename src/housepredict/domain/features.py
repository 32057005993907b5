"""The features of a model, the rules for their values, and houses that follow these rules."""

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
"""A house with more unknown names gets no suggestions: each takes 0.1 ms."""


def usual_range(feature: Feature, *, is_sale_date: bool) -> tuple[Value, Value] | None:
    """Return the range in which a value gets no warning, both ends included; None for a feature without a range."""
    if is_sale_date and feature.observed:
        first, last = feature.observed
        return first, _year_after(str(last))
    return feature.usual or feature.observed


def _year_after(day: str) -> str:
    ordinal = date.fromisoformat(day).toordinal() + _YEAR_DAYS
    return date.fromordinal(min(ordinal, date.max.toordinal())).isoformat()


Value = str | int | float | bool
"""The value of a feature, of a JSON type; a date is text, YYYY-MM-DD."""


# cached_property needs a __dict__, which slots don't have.
@frozen(slots=False)
class Feature:
    """A property of a house that a model uses.

    Attributes:
        minimum: the smallest valid value, in `unit`; None if there is no limit. `maximum` is the largest one.
        observed: the range of the training sales; None for other kinds than numbers and dates. A value outside gets
            a warning.
        categories: the categories in the training sales. Another category gets a warning, or is invalid if `closed`.
        closed: whether `categories` are complete.
        usual: the range beyond which training sales are rare, if it is narrower than `observed`. A value outside gets
            a warning.
        rare: the categories that are rare in the training sales, which get a warning.
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
        """The categories, as a set."""
        return frozenset(self.categories)

    @cached_property
    def _spellings(self) -> Mapping[str, str]:
        return {tidy(category): category for category in self.categories}

    def spelled(self, value: object) -> object:
        """Return a category in the spelling of the training sales; any other value unchanged."""
        if self.kind is not Kind.CATEGORY or not isinstance(value, str) or value in self.known_categories:
            return value
        text = tidy(value)
        return self._spellings.get(text, text)


class _SpelledHouse(dict[str, object]):
    """An unchecked house in the schema's spelling of names and categories, with the names that it `repeated`."""

    repeated: list[str]


@frozen
class House:
    """A house that is valid for a schema. `values` maps names of features to values, without missing ones."""

    values: Mapping[str, Value] = field(hash=False)


@define(frozen=True, slots=False)
class FeatureSchema:
    """The features of a model, in order.

    `sale_date` is the name of the feature that holds the date of sale, if there is one. A house without this date is
    estimated for `valuation_date`.
    """

    features: tuple[Feature, ...]
    sale_date: str | None = None
    valuation_date: date | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the features, as a set."""
        return frozenset(feature.name for feature in self.features)

    def house(self, values: Mapping[str, object]) -> House:
        """Validate one house. Raises InvalidHouses with every violation; pointers start at the house: `/size`."""
        try:
            return self.houses([values])[0]
        except InvalidHouses as error:
            raise error.alone() from None

    def houses(self, batch: Sequence[object]) -> tuple[House, ...]:
        """Validate a batch of houses, all or nothing.

        Args:
            batch: mappings of feature names to values. A mapping that was parsed from an object with duplicate names
                may list these in an attribute `repeated`.

        Raises:
            InvalidHouses: with every violation of every house; pointers start at the batch: `/3/size`.
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
        """Find a feature by its name, ignoring surrounding blanks and the Unicode form; None if there is none."""
        if not isinstance(name, str):
            return None
        return self._by_name.get(name) or self._by_tidy_name.get(tidy(name))

    def violations(self, values: object, *path: str | int) -> list[Violation]:
        """Return every violation of one house; pointers start with `path`, its place in the input."""
        return self._violations(self._spelled(values), *path)

    def _spelled(self, values: object) -> object:
        """Return a mapping in the schema's spelling of names and categories; anything else unchanged."""
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
        """For each feature, the values that get no warning: a set of categories, or None and both ends of a range."""
        usual_values: list[tuple[Feature, frozenset[str] | None, Value, Value]] = []
        for feature in self.features:
            if feature.kind is Kind.CATEGORY:
                usual_values.append((feature, feature.known_categories.difference(feature.rare), "", ""))
            elif usual := usual_range(feature, is_sale_date=feature.name == self.sale_date):
                usual_values.append((feature, None, *usual))
        return usual_values

    def valued_on(self, house: House) -> date | None:
        """Return the date that the estimate of a house is for; None for a model without dates."""
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
        """Validate a house whose values all pass the quick test; return None for others, which may be valid, too."""
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
    """Find the names of the latitude and the longitude; None unless there is exactly one of each."""
    numbers = [feature.name for feature in schema.features if feature.kind is Kind.NUMBER]
    latitudes, longitudes = ([name for name in numbers if part.search(name)] for part in (_LATITUDE, _LONGITUDE))
    return (latitudes[0], longitudes[0]) if len(latitudes) == len(longitudes) == 1 else None


MAX_MAGNITUDE = 1e15
"""The largest absolute value of a number: up to it, every store and every JSON reader keeps whole numbers exact."""

MAX_TEXT = 200
"""The longest valid text, in characters."""


class Kind(StrEnum):
    """The kind of a feature's values. In JSON, a boolean is true or false, and a date is text."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"


Broken = tuple[Rule, str]
"""The rule that a value violates, and the message about it."""


@frozen
class FeatureRules:
    """The rules for the values of a feature.

    Attributes:
        broken: returns the rule that a value violates, with a message, or None if the value is valid.
        is_plain: a quick test that only valid values pass, and that most do. They are stored unchanged.
        stored: converts a valid value, such as a NumPy scalar or a date, to its JSON type.
    """

    broken: Callable[[object], Broken | None]
    is_plain: Callable[[object], bool]
    stored: Callable[[Any], Value]


def rules_of(feature: Feature) -> FeatureRules:
    """Return the rules for the values of a feature."""
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
    """Return the rule that a value of a feature violates, with a message; None if the value is valid."""
    return rules_of(feature).broken(value)


def _number(feature: Feature, value: object) -> Broken | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return Rule.TYPE, f"must be a number, not {_type_name(value)}"
    # An int may be too large for a float.
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
    # Codes such as zip codes are numbers in some files, but text to the model.
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
    """Convert a number without decimals, such as 98178 or 98178.0, to an int; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return int(number) if number.is_integer() else None


def text_problem(text: str) -> str | None:
    """Return why some stores can't hold a text, as the message of a violation; None if every store can."""
    if len(text) > MAX_TEXT:
        return f"must have at most {MAX_TEXT} characters"
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return "must not contain NUL characters or lone surrogates"
    return None


def _date(value: object) -> Broken | None:
    if isinstance(value, date):
        # pandas' NaT is a datetime.date, but unequal to itself.
        return None if value == value else (Rule.DATE, "must be a valid date")
    if not isinstance(value, str):
        return Rule.TYPE, f"must be a date (YYYY-MM-DD), not {_type_name(value)}"
    try:
        # fromisoformat also accepts 20150527 and 2015-W22-3, but stored dates must compare as text.
        canonical = date.fromisoformat(value).isoformat() == value
    except ValueError:
        canonical = False
    return None if canonical else (Rule.DATE, "must be a valid date (YYYY-MM-DD)")


def _stored_date(value: object) -> str:
    return iso_day(value) if isinstance(value, date) else str(value)


def _type_name(value: object) -> str:
    """Name the type of a value in terms of JSON, or of Python if JSON doesn't have the type."""
    if value is None:
        return "null"
    for kind, name in ((bool, "a boolean"), (str, "text"), (Real, "a number"), (dict, "an object"), (list, "a list")):
        if isinstance(value, kind):
            return name
    return type(value).__name__
