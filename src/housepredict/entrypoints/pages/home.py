"""The home page of a service: a form that estimates a house, monitoring, and training."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, assert_never
from urllib.parse import quote

from housepredict.domain.features import Feature, FeatureSchema, Kind, Value, usual_range
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.measure_labels import SYNTHETIC, counted
from housepredict.entrypoints.pages.assets import assets
from housepredict.entrypoints.pages.markup import MINUS, Markup, day, join, number, page, tag
from housepredict.entrypoints.pages.version_page import key_figures
from housepredict.version import __version__

CHOICES = 12
"""Maximum number of categories in a drop-down list. Features with more categories get a text field with suggestions."""

_MAX_SUGGESTED = 2000


def _house_form(schema: FeatureSchema, house: Mapping[str, Value]) -> Markup:
    """Return the form, filled with `house`. The page's script reads the `data-` attributes of the fields."""
    fields = [_field(f"f{at}", feature, schema, house.get(feature.name)) for at, feature in enumerate(schema.features)]
    return tag(
        "form",
        tag("p", id="broken", class_="broken", role="alert", hidden="hidden"),
        tag("div", *fields, class_="fields"),
        tag("button", "Estimate", type="submit", class_="main"),
        id="house",
        novalidate="novalidate",
        autocomplete="off",
    )


def _field(id_: str, feature: Feature, schema: FeatureSchema, value: Value | None) -> Markup:
    hint = _hint(feature, schema)
    common = {
        "id": id_,
        "data_feature": feature.name,
        "data_kind": feature.kind.value,
        "data_sale": "true" if feature.name == schema.sale_date else None,
        "aria_describedby": f"{id_}-hint {id_}-error" if hint else f"{id_}-error",
        "aria_required": "true" if feature.required else None,
    }
    words = feature.name.replace("_", " ").strip()
    # A checkbox has only two states, but an optional feature needs a third (no value).
    is_tick = feature.kind is Kind.BOOLEAN and feature.required
    return tag(
        "div",
        tag(
            "label",
            words[:1].upper() + words[1:] or feature.name,
            tag("span", f" {feature.unit}", class_="unit") if feature.unit else None,
            None if feature.required else tag("span", " optional", class_="unit"),
            for_=id_,
        ),
        *_control(feature, value, common),
        tag("p", hint, id=f"{id_}-hint", class_="hint") if hint else None,
        tag("p", id=f"{id_}-error", class_="error", hidden="hidden"),
        class_="field tick" if is_tick else "field",
    )


def _control(feature: Feature, value: Value | None, common: Mapping[str, str | None]) -> Sequence[Markup]:
    text = "" if value is None else _typed(value)
    match feature.kind:
        case Kind.BOOLEAN if feature.required:
            return [tag("input", type="checkbox", checked="checked" if value is True else None, **common)]
        case Kind.BOOLEAN:
            return [_select([("", "Unknown"), ("true", "Yes"), ("false", "No")], str(value).lower(), common)]
        case Kind.CATEGORY if 0 < len(feature.categories) <= CHOICES:
            unknown = [] if feature.required else [("", "Unknown")]
            return [_select([*unknown, *((name, name) for name in feature.categories)], text, common)]
        case Kind.CATEGORY:
            suggested = [tag("option", value=name) for name in feature.categories[:_MAX_SUGGESTED]]
            list_id = f"{common['id']}-list"
            field = tag("input", type="text", value=text, list=list_id, **common)
            return [field, tag("datalist", *suggested, id=list_id)]
        case Kind.DATE:
            return [tag("input", type="date", value=text, **common)]
        case Kind.NUMBER | Kind.INTEGER:
            lowest = feature.minimum if feature.observed is None else feature.observed[0]
            mode = "text"  # The number keyboards of some phones have no minus key.
            if isinstance(lowest, int | float) and lowest >= 0:
                mode = "numeric" if feature.kind is Kind.INTEGER else "decimal"
            # With type=number, the browser would discard invalid text, and the service couldn't explain the error.
            return [tag("input", type="text", inputmode=mode, value=text, **common)]
        case _:
            assert_never(feature.kind)


def _select(choices: Sequence[tuple[str, str]], chosen: str, common: Mapping[str, str | None]) -> Markup:
    options = [
        tag("option", name, value=value, selected="selected" if value == chosen else None) for value, name in choices
    ]
    return tag("select", *options, **common)


def _hint(feature: Feature, schema: FeatureSchema) -> str | None:
    """Return a short hint about the typical values of a feature, or None if there is nothing to say."""
    if feature.name == schema.sale_date and schema.valuation_date:
        return f"default: {day(schema.valuation_date)}"
    if feature.kind is Kind.CATEGORY:
        if 0 < len(feature.categories) <= CHOICES:
            return None
        known = counted(len(feature.categories), "known value")
        return f"one of {known}" if feature.closed else known
    usual = usual_range(feature, is_sale_date=False)
    return " to ".join(map(_bound, usual)) if usual else None


def _bound(value: Value) -> str:
    if isinstance(value, str):
        return day(date.fromisoformat(value))
    if abs(value) < 1000:
        return _typed(float(f"{value:.4g}")).replace("-", MINUS)
    # A four-digit number may be a year, so it gets no comma.
    return number(value) if abs(value) >= 10_000 else _typed(round(value)).replace("-", MINUS)


def _typed(value: Value) -> str:
    """Format a value as a person would type it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


HOME_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page."""


def home_page(version: ModelVersion | None, house: Mapping[str, Value]) -> str:
    """Render the home page. Its links are relative to the URL of the page.

    Args:
        version: the version in service. If None, the page asks the reader to train a model.
        house: initial values of the form.
    """
    folder = f"assets/{assets().digest}"
    head = (
        tag("link", rel="icon", href=f"{folder}/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href=f"{folder}/style.css"),
        tag("link", rel="stylesheet", href=f"{folder}/page.css"),
        tag("script", type="module", src=f"{folder}/page.js"),
    )
    kicker, title = tag("p", "housepredict", class_="kicker"), tag("h1", "What will a house sell for?")
    currency = "Prices are in the currency of the training sales."
    main = tag(
        "main",
        tag("header", kicker, title, _lead(version)),
        _estimating(version, house) if version else _untrained(),
        _section("recent", "Recent estimates", tag("div", id="recent")),
        _in_service(version) if version else None,
        _monitoring() if version else None,
        _training(),
        tag("footer", tag("p", f"housepredict {__version__}. {currency}")),
    )
    return page("House price estimates", main, *head)


def _lead(version: ModelVersion | None) -> Markup:
    if version is None:
        return tag("p", "No model is in service yet.", class_="lead")
    sales = counted(version.evaluation.trained_on, "synthetic sale" if version.source.synthetic else "sale")
    until = f" up to {day(version.schema.valuation_date)}" if version.schema.valuation_date else ""
    lead = f"Describe a house to get an estimate, its range, and what drives it. Trained on {sales}{until}."
    return join(tag("p", lead, class_="lead"), tag("p", SYNTHETIC, class_="note") if version.source.synthetic else None)


def _estimating(version: ModelVersion, house: Mapping[str, Value]) -> Markup:
    request = f"curl -X POST ADDRESS/predict -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(house))}"
    without_script = tag(
        "div",
        tag(
            "p",
            "This form needs JavaScript. Or run this in a terminal, with ADDRESS replaced by the address of this page:",
        ),
        tag("pre", request, tabindex="0"),
        class_="note",
    )
    placeholder = "Your estimate, its range and what drives it will appear here."
    result = tag(
        "section",
        tag("h2", "Estimate", id="result-title"),
        tag("div", tag("p", placeholder, class_="soft"), id="result"),
        tag("p", id="announcement", class_="unseen", role="status"),
        aria_labelledby="result-title",
        class_="result",
    )
    hint = "The typical range is shown below each field. Houses with values outside it are estimated with a warning."
    form = tag(
        "section",
        tag("h2", "House", id="house-title"),
        tag("p", hint, class_="soft"),
        _house_form(version.schema, house),
        aria_labelledby="house-title",
        class_="asked",
    )
    return join(tag("noscript", without_script), tag("div", form, result, class_="estimate"))


def _untrained() -> Markup:
    command = "housepredict train SALES.csv --price COLUMN"
    advice = tag("p", "Train a model on a sales file, with the form below or in a terminal:")
    return tag("div", advice, tag("pre", command, tabindex="0"), class_="note")


def _in_service(version: ModelVersion) -> Markup:
    link = tag("a", "Details and plots", href=f"models/{quote(version.name, safe='')}")
    evaluated = f"Evaluated on {counted(version.evaluation.held_out, 'held-out sale')}. "
    return tag(
        "section",
        tag("h2", "Model in service", tag("span", version.name, class_="name"), id="model-title"),
        tag("p", evaluated, link),
        key_figures(version.evaluation),
        aria_labelledby="model-title",
    )


def _monitoring() -> Markup:
    accuracy = _section("accuracy", "Accuracy over time", tag("div", id="accuracy"))
    return tag("div", accuracy, _section("drift", "Drift", tag("div", id="drift")), class_="pair")


def _training() -> Markup:
    token_error = tag("p", id="token-error", class_="error", hidden="hidden")
    token_attributes = {"type": "password", "id": "token", "autocomplete": "off", "aria_describedby": "token-error"}
    token = tag(
        "form",
        _field_of_row("Token", None, token_error, **token_attributes),
        tag("button", "Use token", type="submit"),
        id="access",
        class_="row",
        hidden="hidden",
    )
    hint = "Without a file, the model in service is retrained on the current content of its own sales file."
    training = tag(
        "form",
        _field_of_row("Sales", " CSV or Parquet, optional", type="file", id="sales", accept=".csv,.gz,.parquet"),
        _field_of_row("Price column", " detected if empty", type="text", id="price", autocomplete="off"),
        _field_of_row("Include recorded sales", None, type="checkbox", id="recorded"),
        tag("button", "Train", type="submit"),
        id="train",
        class_="row",
    )
    content = join(tag("p", hint), training, tag("div", id="progress"), tag("div", id="trainings"))
    opened = tag("div", content, id="open", hidden="hidden")
    return _section("training", "Training", tag("div", id="closed"), token, opened)


def _field_of_row(title: str, note: str | None, *messages: Markup, **attributes: str) -> Markup:
    unit = tag("span", note, class_="unit") if note else None
    label = tag("label", title, unit, for_=attributes["id"])
    class_ = "field tick" if attributes["type"] == "checkbox" else "field"
    return tag("div", label, tag("input", **attributes), *messages, class_=class_)


def _section(name: str, title: str, *content: Markup) -> Markup:
    return tag(
        "section", tag("h2", title, id=f"{name}-title", tabindex="-1"), *content, aria_labelledby=f"{name}-title"
    )
