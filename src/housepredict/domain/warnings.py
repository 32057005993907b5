"""Warnings: notes on inputs that the training sales lack or rarely have."""

from __future__ import annotations

from attrs import frozen

from housepredict.domain.features import Feature, FeatureSchema, House, Value


@frozen
class EstimateWarning:
    """A note on an unusual input: the estimate deserves less trust. `code` is for programs, `message` for people."""

    code: str
    message: str
    feature: str | None = None


def find_warnings(schema: FeatureSchema, house: House) -> tuple[EstimateWarning, ...]:
    """Return a warning for each value of a house that the training sales lack or rarely have."""
    found = []
    for feature, known, low, high in schema.usual_values:
        value = house.values.get(feature.name)
        if value is None:
            continue
        # a kind's values compare with its range
        if value not in known if known is not None else not low <= value <= high:  # type: ignore[operator]
            found.append(_warning(feature, value, is_sale_date=feature.name == schema.sale_date))
    return tuple(found)


def _warning(feature: Feature, value: Value, *, is_sale_date: bool) -> EstimateWarning:
    """The warning for a value outside the usual range, or for a rare or unknown category."""
    name = feature.name
    if feature.observed is None:
        if value in feature.known_categories:
            return EstimateWarning(
                "rare_category", f"few sales that the model learned from have {name} {value!r}", name
            )
        return EstimateWarning(
            "unseen_category", f"{name} {value!r} does not occur in what the model learned from", name
        )
    low, high = feature.observed
    if is_sale_date and value > high:  # type: ignore[operator]  # a kind's values compare with its range
        message = f"{name} {value} is more than a year after the last sale that the model learned from, {high}"
        return EstimateWarning("long_after_sales", message, name)
    if feature.usual and low <= value <= high:  # type: ignore[operator]
        low, high = feature.usual
        message = f"{name} {value} is rare: few sales that the model learned from lie outside {low} to {high}"
        return EstimateWarning("rare_value", message, name)
    message = f"{name} {value} lies outside what the model learned from, {low} to {high}"
    return EstimateWarning("outside_observed_range", message, name)
