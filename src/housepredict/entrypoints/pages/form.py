"""The form of a house: a field for each feature of a schema, labelled, and filled with a house to begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import assert_never

from housepredict.domain.caveats import usual_range
from housepredict.domain.features import Feature, FeatureSchema, Kind, Value
from housepredict.entrypoints.pages.markup import Markup, tag
from housepredict.entrypoints.pages.numbers import MINUS, day, number

CHOICES = 12
"""Of more categories, a list to type into takes the place of a list to choose from."""

_MOST_SUGGESTED = 2000


def house_form(schema: FeatureSchema, house: Mapping[str, Value]) -> Markup:
    """The whole form; `house` is what stands in it at first. What a script needs of a field is in its `data-`."""
    fields = [_field(f"f{at}", each, schema, house.get(each.name)) for at, each in enumerate(schema.features)]
    return tag(
        "form",
        tag("p", id="broken", class_="broken", role="alert", hidden="hidden"),
        tag("div", *fields, class_="fields"),
        tag("button", "Estimate", type="submit", class_="main"),
        id="house",
        novalidate="novalidate",
        autocomplete="off",
    )


def label(name: str) -> str:
    """A feature's name as words: `lot_size` is Lot size."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:] or name


def _field(id_: str, feature: Feature, schema: FeatureSchema, value: Value | None) -> Markup:
    hint = _hint(feature, schema)
    described = f"{id_}-hint {id_}-error" if hint else f"{id_}-error"
    common = {
        "id": id_,
        "data_feature": feature.name,
        "data_kind": feature.kind.value,
        "data_sale": "true" if feature.name == schema.sale_date else None,
        "aria_describedby": described,
        "aria_required": "true" if feature.required else None,
    }
    unit = tag("span", f" {feature.unit}", class_="unit") if feature.unit else None
    optional = None if feature.required else tag("span", " optional", class_="unit")
    return tag(
        "div",
        tag("label", label(feature.name), unit, optional, for_=id_),
        *_control(feature, value, common),
        tag("p", hint, id=f"{id_}-hint", class_="hint") if hint else None,
        tag("p", id=f"{id_}-error", class_="error", hidden="hidden"),
        class_="field tick" if _is_tick(feature) else "field",
    )


def _is_tick(feature: Feature) -> bool:
    # a box knows two states: what may be missing takes a third
    return feature.kind is Kind.BOOLEAN and feature.required


def _control(feature: Feature, value: Value | None, common: Mapping[str, str | None]) -> Sequence[Markup]:
    text = "" if value is None else plain(value)
    match feature.kind:
        case Kind.BOOLEAN:
            if feature.required:
                return [tag("input", type="checkbox", checked="checked" if value is True else None, **common)]
            choices = [("", "Not known"), ("true", "Yes"), ("false", "No")]
            return [_select(choices, str(value).lower(), common)]
        case Kind.CATEGORY:
            if 0 < len(feature.categories) <= CHOICES:
                unknown = [] if feature.required else [("", "Not known")]
                return [_select([*unknown, *((each, each) for each in feature.categories)], text, common)]
            suggested = [tag("option", value=each) for each in feature.categories[:_MOST_SUGGESTED]]
            list_id = f"{common['id']}-list"
            return [
                tag("input", type="text", value=text, list=list_id, **common),
                tag("datalist", *suggested, id=list_id),
            ]
        case Kind.DATE:
            return [tag("input", type="date", value=text, **common)]
        case Kind.NUMBER | Kind.INTEGER:
            # type=number would hide from the service, which says what is wrong with it, whatever is no number
            keyboard = "numeric" if feature.kind is Kind.INTEGER else "decimal"
            mode = keyboard if _never_negative(feature) else "text"
            return [tag("input", type="text", inputmode=mode, value=text, **common)]
        case _:
            assert_never(feature.kind)


def _never_negative(feature: Feature) -> bool:
    """Whether a phone may show a keyboard without a minus."""
    lowest = feature.minimum if feature.observed is None else feature.observed[0]
    return isinstance(lowest, int | float) and lowest >= 0


def _select(choices: Sequence[tuple[str, str]], chosen: str, common: Mapping[str, str | None]) -> Markup:
    options = [
        tag("option", name, value=value, selected="selected" if value == chosen else None) for value, name in choices
    ]
    return tag("select", *options, **common)


def _hint(feature: Feature, schema: FeatureSchema) -> str | None:
    """What the model knows of a feature, in a few words."""
    if feature.name == schema.sale_date and schema.valuation_date:
        return f"empty: {day(schema.valuation_date)}"
    if feature.kind is Kind.CATEGORY:
        if 0 < len(feature.categories) <= CHOICES:
            return None
        count = number(len(feature.categories))
        return f"one of {count}" if feature.closed else f"{count} are known"
    seen = usual_range(feature, is_sale_date=False)
    return f"{_told(seen[0])} to {_told(seen[1])}" if seen else None


def _told(value: Value) -> str:
    if isinstance(value, str):
        return day(date.fromisoformat(value))
    if abs(value) < 1000:
        return plain(float(f"{value:.4g}")).replace("-", MINUS)
    # four digits may be a year
    return number(value) if abs(value) >= 10_000 else plain(round(value)).replace("-", MINUS)


def plain(value: Value) -> str:
    """A value as a person would type it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
