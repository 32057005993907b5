"""The page of a model version: what it is, how good it is, what was decided, and how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import assert_never

from housepredict.domain.evaluation.held_out import HeldOut, Valued
from housepredict.domain.features import Feature, FeatureSchema, Value
from housepredict.domain.models import ModelVersion
from housepredict.domain.training_options import Algorithm
from housepredict.entrypoints.measure_labels import options_text, source_text
from housepredict.entrypoints.pages.evaluation import (
    accuracy_section,
    decision_section,
    key_figures,
    later_section,
    realized_section,
    segments_section,
)
from housepredict.entrypoints.pages.markup import Markup, day, facts, number, page, section, short, table, tag
from housepredict.entrypoints.pages.plots import calibration_plots, ratio_on_map, sale_plots
from housepredict.version import __version__

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


POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The Content-Security-Policy that the page works with."""


def version_page(
    version: ModelVersion, promoted: str | None, held_out: HeldOut | None, returned: Sequence[Valued] = ()
) -> str:
    """A whole HTML document, of one file; `promoted` is the name of the version that serves. Without the sales that it
    was evaluated on there are no plots of them, and a sentence that says why. `returned` are sales of houses that it
    estimated.
    """
    style = tag("style", Markup(files(__package__).joinpath("style.css").read_text(encoding="utf-8")))
    main = tag(
        "main",
        _header(version, is_promoted=version.name == promoted),
        key_figures(version.evaluation),
        _plots(version, held_out),
        accuracy_section(version.evaluation, version.intervals),
        later_section(version.evaluation),
        realized_section(returned, version.evaluation),
        decision_section(version),
        *segments_section(version.evaluation),
        features_section(version.schema),
        _origin(version),
        tag("footer", tag("p", f"Written by housepredict {__version__}. Prices are in the currency of the sales.")),
    )
    return page(f"Model version {version.name}", main, style, policy=POLICY)


def _header(version: ModelVersion, *, is_promoted: bool) -> Markup:
    evaluation = version.evaluation
    algorithm = _method(version.algorithm)
    made_up = "These sales are synthetic: the model says nothing about real houses."
    return tag(
        "header",
        tag("p", "Model version", class_="kicker"),
        tag(
            "h1",
            version.name,
            tag(
                "span", "promoted" if is_promoted else "not promoted", class_=f"badge {'on' if is_promoted else 'off'}"
            ),
        ),
        tag(
            "p",
            f"{algorithm}, trained on {number(evaluation.trained_on)} sales on "
            f"{day(version.created_at)} and evaluated on {number(evaluation.held_out)} others that it has not seen.",
            class_="lead",
        ),
        tag("p", made_up, class_="note") if version.source.synthetic else None,
    )


def _plots(version: ModelVersion, held_out: HeldOut | None) -> Markup:
    if held_out is None or not held_out.sales:
        why = (
            "There is nothing to plot: this version was trained before held-out sales were kept. Train again for plots."
        )
        return section("Held-out sales", tag("p", why))
    plots = [*sale_plots(held_out), ratio_on_map(held_out), *calibration_plots(held_out, version.calibration)]
    return section("Held-out sales", tag("div", *plots, class_="figures"))


def _origin(version: ModelVersion) -> Markup:
    rows: Sequence[tuple[str, str]] = [
        ("Trained", f"{day(version.created_at)}, {version.created_at:%H:%M:%S} UTC"),
        ("Sales", source_text(version.source)),
        ("SHA-256 of the sales", version.source.digest),
        ("Options", options_text(version.options)),
        ("Reproducible", f"no: {version.irreproducible}" if version.irreproducible else "yes"),
        ("Estimates are for", day(version.valuation_date) if version.valuation_date else "no date"),
        ("Libraries", ", ".join(f"{name} {release}" for name, release in sorted(version.libraries.items()))),
        *((f"SHA-256 of {name}", digest) for name, digest in sorted(version.digests.items())),
    ]
    return section("How it came about", facts(rows))


def _method(algorithm: Algorithm) -> str:
    match algorithm:
        case Algorithm.LINEAR:
            return "Least squares"
        case Algorithm.RIDGE:
            return "Ridge regression on the logarithm of the price"
        case Algorithm.BOOSTING:
            return "Gradient-boosted trees"
        case Algorithm.AUTO:
            return "auto"  # which no version is
        case _:
            assert_never(algorithm)
