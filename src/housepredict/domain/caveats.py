"""Why an estimate deserves less trust."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from housepredict.domain.features import Feature, Value

_YEAR = 365  # days


@frozen
class Caveat:
    """Why an estimate deserves less trust. `code` is for programs, `message` for people."""

    code: str
    message: str
    feature: str | None = None


def usual_range(feature: Feature, *, is_sale_date: bool) -> tuple[Value, Value] | None:
    """The range in which a value needs no caveat; None for a feature that has none."""
    if is_sale_date and feature.observed:
        first, last = feature.observed
        return first, _year_after(str(last))
    return feature.usual or feature.observed


def why_unusual(feature: Feature, value: Value, *, is_sale_date: bool) -> Caveat:
    """The caveat of a value outside the usual range, or of a category that is not a usual one."""
    name = feature.name
    if feature.observed is None:
        if value in feature.known_categories:
            return Caveat("rare_category", f"few sales that the model learned from have {name} {value!r}", name)
        return Caveat("unseen_category", f"{name} {value!r} does not occur in what the model learned from", name)
    low, high = feature.observed
    if is_sale_date and value > high:  # type: ignore[operator]  # a kind's values compare with its range
        message = f"{name} {value} is more than a year after the last sale that the model learned from, {high}"
        return Caveat("long_after_sales", message, name)
    if feature.usual and low <= value <= high:  # type: ignore[operator]
        low, high = feature.usual
        message = f"{name} {value} is rare: few sales that the model learned from lie outside {low} to {high}"
        return Caveat("rare_value", message, name)
    message = f"{name} {value} lies outside what the model learned from, {low} to {high}"
    return Caveat("outside_observed_range", message, name)


def _year_after(day: str) -> str:
    ordinal = date.fromisoformat(day).toordinal() + _YEAR
    return date.fromordinal(min(ordinal, date.max.toordinal())).isoformat()
