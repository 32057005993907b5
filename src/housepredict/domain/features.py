"""What a house is to a model: an ordered set of features, and the check of a house against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cached_property
from numbers import Integral, Real

from attrs import define, field, frozen

from housepredict.domain.caveats import Caveat, usual_range, why_unusual
from housepredict.domain.errors import InvalidHouses
from housepredict.domain.texts import tidy
from housepredict.domain.validation import Kind as Kind  # noqa: PLC0414  # features are where their kinds are looked for
from housepredict.domain.validation import Rule, Violation, check_value, iso_day, plain_check, pointer_to, whole_number

Value = str | int | float | bool
"""A feature's value, as JSON has it: a date is text, YYYY-MM-DD."""


# slots=False: cached_property needs a __dict__
@frozen(slots=False)
class Feature:
    """One property of a house.

    `minimum` and `maximum` (inclusive, in `unit`) are declared: a value outside them is refused. `observed` is
    the range seen in training (numbers, or dates as text) and `categories` the categories seen: both are open,
    a value outside gets an estimate with a caveat, unless `closed` declares the categories complete. So do values
    outside the `usual` range, and the categories that are `rare`: few of the sales had them.
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
        """Return a category as the sales spell it, without blanks around it; any other value as it is."""
        if self.kind is not Kind.CATEGORY or not isinstance(value, str) or value in self.known_categories:
            return value
        text = tidy(value)
        return self._spellings.get(text, text)


class _SpelledHouse(dict[str, object]):
    """What was given of a house, with names as the schema spells them, and those that it holds more than once."""

    repeated: list[str]


@frozen
class House:
    """A house that was checked against a schema: feature name to value, with missing features left out."""

    values: Mapping[str, Value] = field(hash=False)


@define(frozen=True, slots=False)
class FeatureSchema:
    """The features that a model knows, in order.

    `sale_date` names the date feature that says when the house is sold, where there is one; a house without it is
    estimated for `valuation_date`.
    """

    features: tuple[Feature, ...]
    sale_date: str | None = None
    valuation_date: date | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        """The features' names, for look-up."""
        return frozenset(feature.name for feature in self.features)

    def house(self, given: Mapping[str, object]) -> House:
        """One house; see `houses`. Pointers start at the house itself: `/size`."""
        spelled = self._spelled(given)
        violations = self._violations(spelled)
        if violations:
            raise InvalidHouses(violations)
        return self._house(spelled)

    def houses(self, given: Sequence[object]) -> tuple[House, ...]:
        """A batch, all or nothing.

        Raises InvalidHouses with every violation of every house; pointers start at the batch: `/3/size`. Names
        that a mapping held more than once are read from its attribute `repeated`, if it has one.
        """
        if not given:
            raise InvalidHouses([Violation("", Rule.EMPTY, "must hold at least one house")])
        houses = [self._plain_house(each) for each in given]
        if None not in houses:
            return tuple(houses)  # type: ignore[arg-type]  # there is no None among them
        spelled = [self._spelled(each) if isinstance(each, Mapping) else each for each in given]
        violations = [
            violation for position, each in enumerate(spelled) for violation in self._violations(each, position)
        ]
        if violations:
            raise InvalidHouses(violations)
        return tuple(self._house(each) for each in spelled)  # type: ignore[arg-type]  # _violations() refuses the rest

    def named(self, name: object) -> Feature | None:
        """Return the feature of a name, also if it has blanks around it or is in another Unicode form."""
        if not isinstance(name, str):
            return None
        return self._by_name.get(name) or self._by_tidy_name.get(tidy(name))

    def violations(self, given: object, *path: str | int) -> list[Violation]:
        """Everything wrong with one house; `path` is where it stands in what was given."""
        return self._violations(self._spelled(given) if isinstance(given, Mapping) else given, *path)

    def _spelled(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """A house with the names and categories of the schema, however it spells them."""
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
        for feature in self.features:
            value = given.get(feature.name)
            if value is not None:
                broken = check_value(feature, value)
                if broken:
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

    def caveats(self, house: House) -> tuple[Caveat, ...]:
        """What about a house lies outside what the model has seen, or has seen rarely."""
        found = []
        for feature, known, low, high in self._usual:
            value = house.values.get(feature.name)
            if value is None:
                continue
            # a kind's values compare with its range
            if value not in known if known is not None else not low <= value <= high:  # type: ignore[operator]
                found.append(why_unusual(feature, value, is_sale_date=feature.name == self.sale_date))
        return tuple(found)

    @cached_property
    def _usual(self) -> Sequence[tuple[Feature, frozenset[str] | None, Value, Value]]:
        """What is usual of a feature: some categories, or a range."""
        found: list[tuple[Feature, frozenset[str] | None, Value, Value]] = []
        for feature in self.features:
            if feature.kind is Kind.CATEGORY:
                found.append((feature, feature.known_categories.difference(feature.rare), "", ""))
            elif usual := usual_range(feature, is_sale_date=feature.name == self.sale_date):
                found.append((feature, None, *usual))
        return found

    def valued_on(self, house: House) -> date | None:
        """The date that the estimate of a house is for; None for a model that knows no dates."""
        given = house.values.get(self.sale_date) if self.sale_date else None
        return date.fromisoformat(given) if isinstance(given, str) else self.valuation_date

    @cached_property
    def _by_name(self) -> Mapping[str, Feature]:
        return {feature.name: feature for feature in self.features}

    @cached_property
    def _by_tidy_name(self) -> Mapping[str, Feature]:
        return {tidy(feature.name): feature for feature in self.features}

    @cached_property
    def _plain_checks(self) -> Sequence[tuple[str, Callable[[object], bool], bool]]:
        return [(feature.name, plain_check(feature), feature.required) for feature in self.features]

    def _plain_house(self, given: object) -> House | None:
        """A house of which it is seen at once that it breaks no rule; None for others, which may break none either."""
        if type(given) is not dict:
            return None
        values = {}
        for name, is_plain, required in self._plain_checks:
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
                feature.name: _plain(feature, given[feature.name])
                for feature in self.features
                if given.get(feature.name) is not None
            }
        )


def _plain(feature: Feature, value: object) -> Value:
    """A checked value as JSON has it, also where it came as a NumPy scalar or a date."""
    if isinstance(value, date):
        return iso_day(value)
    if feature.kind is Kind.CATEGORY:
        code = whole_number(value)
        return str(value if code is None else code)
    if feature.kind is Kind.INTEGER:
        return int(value)  # type: ignore[call-overload, no-any-return]  # just checked
    if type(value) in (int, float, str, bool):
        return value  # type: ignore[return-value]  # just checked
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    return str(value)
