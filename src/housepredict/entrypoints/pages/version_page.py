"""The page of a model version: its accuracy, plots, promotion decision, features and origin."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import assert_never

from attrs import asdict

from housepredict.domain.evaluation.held_out import HeldOut, Valued
from housepredict.domain.features import Feature, FeatureSchema, Value
from housepredict.domain.models import ModelVersion
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.entrypoints.cli.texts import source_text
from housepredict.entrypoints.pages.evaluation import (
    accuracy_section,
    decision_section,
    key_figures,
    out_of_time_section,
    realized_section,
    segment_sections,
)
from housepredict.entrypoints.pages.markup import Markup, day, facts, number, page, section, short, table, tag
from housepredict.entrypoints.pages.plots import calibration_plots, ratio_on_map, sale_plots
from housepredict.version import __version__

_MAX_CATEGORIES = 5  # named in the table of features


def _features(schema: FeatureSchema) -> Markup | None:
    if not schema.features:
        return None
    rows = [
        (
            feature.name,
            feature.kind,
            feature.unit or "",
            "required" if feature.required else "may be missing",
            _observed(feature),
            _accepted(feature),
        )
        for feature in schema.features
    ]
    header = ("Feature", "Kind", "Unit", "In a request", "Learned from", "Accepted")
    said = "What lies beyond what the model learned from is estimated with a warning; what is not accepted is refused."
    content = table("What the version must know of a house", header, rows, of_words=True)
    return section("Features", tag("p", said), content)


def _observed(feature: Feature) -> str:
    if feature.observed:
        return " to ".join(_bound(feature, value) for value in feature.observed)
    names = ", ".join(feature.categories[:_MAX_CATEGORIES])
    more = len(feature.categories) - _MAX_CATEGORIES
    return f"{names}, and {number(more)} more" if more > 0 else names


def _bound(feature: Feature, value: Value) -> str:
    if isinstance(value, str):
        return value
    # a number without a unit may be a year or a code
    return short(value) if feature.unit else short(value).replace(",", "")


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


POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The Content-Security-Policy of the page."""


def version_page(
    version: ModelVersion, promoted: str | None, held_out: HeldOut | None, returned: Sequence[Valued] = ()
) -> str:
    """Return a self-contained HTML document about a version.

    Args:
        version: the version.
        promoted: the name of the promoted version.
        held_out: the sales that the version was evaluated on; without them, the page says why there are no plots.
        returned: realized sales of houses that the version estimated.
    """
    style = tag("style", Markup(files(__package__).joinpath("style.css").read_text(encoding="utf-8")))
    main = tag(
        "main",
        _header(version, is_promoted=version.name == promoted),
        key_figures(version.evaluation),
        _plots(version, held_out),
        accuracy_section(version.evaluation, version.intervals),
        out_of_time_section(version.evaluation),
        realized_section(returned, version.evaluation),
        decision_section(version),
        *segment_sections(version.evaluation),
        _features(version.schema),
        _origin(version),
        tag("footer", tag("p", f"Written by housepredict {__version__}. Prices are in the currency of the sales.")),
    )
    return page(f"Model version {version.name}", main, style, policy=POLICY)


def _header(version: ModelVersion, *, is_promoted: bool) -> Markup:
    evaluation = version.evaluation
    said = (
        f"{_method(version.algorithm)}, trained on {number(evaluation.trained_on)} sales on "
        f"{day(version.created_at)} and evaluated on {number(evaluation.held_out)} others that it has not seen."
    )
    made_up = "These sales are synthetic: the model says nothing about real houses."
    state, class_ = ("promoted", "badge on") if is_promoted else ("not promoted", "badge off")
    return tag(
        "header",
        tag("p", "Model version", class_="kicker"),
        tag("h1", version.name, tag("span", state, class_=class_)),
        tag("p", said, class_="lead"),
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
    usual = asdict(TrainingOptions())
    given = {name: value for name, value in asdict(version.options).items() if value != usual[name]}
    rows: Sequence[tuple[str, str]] = [
        ("Trained", f"{day(version.created_at)}, {version.created_at:%H:%M:%S} UTC"),
        ("Sales", source_text(version.source)),
        ("SHA-256 of the sales", version.source.digest),
        ("Options", ", ".join(f"{name}={value}" for name, value in given.items()) or "none"),
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
