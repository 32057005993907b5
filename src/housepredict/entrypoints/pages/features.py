"""What a version must know of a house."""

from __future__ import annotations

from housepredict.domain.features import Feature, FeatureSchema, Value
from housepredict.entrypoints.pages.markup import Markup, tag
from housepredict.entrypoints.pages.numbers import number, short
from housepredict.entrypoints.pages.tables import section, table

_NAMED = 5


def features_section(schema: FeatureSchema) -> Markup | None:
    """The features as a table."""
    if not schema.features:
        return None
    rows = [
        (
            each.name,
            each.kind,
            each.unit or "",
            "required" if each.required else "may be missing",
            _learned_from(each),
            _accepted(each),
        )
        for each in schema.features
    ]
    header = ("Feature", "Kind", "Unit", "In a request", "Learned from", "Accepted")
    said = "What lies beyond what the model learned from is estimated with a warning; what is not accepted is refused."
    return section(
        "Features",
        tag("p", said),
        table("What the version must know of a house", header, rows, of_words=True),
    )


def _learned_from(feature: Feature) -> str:
    if feature.observed:
        low, high = (_told(feature, each) for each in feature.observed)
        return f"{low} to {high}"
    names = ", ".join(feature.categories[:_NAMED])
    more = len(feature.categories) - _NAMED
    return f"{names}, and {number(more)} more" if more > 0 else names


def _accepted(feature: Feature) -> str:
    if feature.closed:
        return "these categories"
    match feature.minimum, feature.maximum:
        case float(low), None:
            return f"from {short(low)}"
        case None, float(high):
            return f"up to {short(high)}"
        case float(low), float(high):
            return f"{short(low)} to {short(high)}"
    return "any"


def _told(feature: Feature, value: Value) -> str:
    if isinstance(value, str):
        return value
    # what has no unit may be a year or a code
    return short(value) if feature.unit else short(value).replace(",", "")
