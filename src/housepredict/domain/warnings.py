"""Warnings about input values that are rare or absent in the training sales."""

from __future__ import annotations

from attrs import frozen

from housepredict.domain.features import Feature, FeatureSchema, House, Value


@frozen
class EstimateWarning:
    """A warning that an unusual input value makes an estimate less reliable.

    Attributes:
        code: a stable identifier for programs, such as `rare_category`.
        message: the text for people.
        feature: the name of the feature with the unusual value, or None if the warning is not about a single feature.
    """

    code: str
    message: str
    feature: str | None = None


def find_warnings(schema: FeatureSchema, house: House) -> tuple[EstimateWarning, ...]:
    """Return a warning for each value of a house that is rare or absent in the training sales."""
    warnings = []
    for feature, known, low, high in schema.usual_values:
        value = house.values.get(feature.name)
        if value is None:
            continue
        # The value and the range have the same kind, so they can be compared.
        if value not in known if known is not None else not low <= value <= high:  # type: ignore[operator]
            warnings.append(_warning(feature, value, is_sale_date=feature.name == schema.sale_date))
    return tuple(warnings)


def _warning(feature: Feature, value: Value, *, is_sale_date: bool) -> EstimateWarning:
    """Create the warning for a value outside the usual range, or for a rare or unknown category.

    Args:
        feature: the feature.
        value: the value, which must not be a usual one.
        is_sale_date: whether the feature is the sale date.
    """
    name = feature.name
    if feature.observed is None:
        if value in feature.known_categories:
            return EstimateWarning("rare_category", f"{name}: {value!r} is rare in the training sales", name)
        return EstimateWarning("unseen_category", f"{name}: {value!r} does not occur in the training sales", name)
    low, high = feature.observed
    if is_sale_date and value > high:  # type: ignore[operator]  # Both have the same kind.
        message = f"{name}: {value} is more than a year after the last training sale, {high}"
        return EstimateWarning("long_after_sales", message, name)
    if feature.usual and low <= value <= high:  # type: ignore[operator]
        low, high = feature.usual
        message = f"{name}: {value} is rare in the training sales; most are between {low} and {high}"
        return EstimateWarning("rare_value", message, name)
    message = f"{name}: {value} is outside the range of the training sales, {low} to {high}"
    return EstimateWarning("outside_observed_range", message, name)
