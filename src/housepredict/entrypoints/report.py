"""What the command line prints of trainings and predictions: text for people, documents for programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import asdict

from housepredict.domain.estimates import Interval, Prediction
from housepredict.domain.explanations import ExplainedPrediction, Explanation, Unit
from housepredict.domain.usecases import Training
from housepredict.entrypoints.terminal import table
from housepredict.entrypoints.version_report import evaluation_text, intervals_text, model_document, verdict_lines


def training_text(training: Training) -> str:
    """What was decided, what was left out, and how good the model is."""
    version, sales = training.version, training.sales
    rows = [(each.column, each.use, each.kind or "", each.why) for each in sales.decisions]
    parts = [table(("column", "used as", "kind", "why"), rows)]
    parts += [f"The file: {note}" for note in sales.notes]
    parts += [
        f"{count} {'row' if count == 1 else 'rows'} rejected: {reason}" for reason, count in sales.rejected.items()
    ]
    parts += [
        f"{count} {'cell' if count == 1 else 'cells'} of {name} unreadable, taken as missing"
        for name, count in sales.unreadable.items()
    ]
    if day := version.valuation_date:
        parts.append(f"Estimates are for {day}, the latest sale used, unless a house says otherwise.")
    if version.source.recorded is not None:
        parts.append(f"{version.source.recorded} sales came back of houses that were estimated.")
    if version.source.synthetic:
        parts.append("These sales are synthetic: the model says nothing about real houses.")
    if version.irreproducible:
        parts.append(f"Training again may make another model: {version.irreproducible}.")
    # a verdict may give the same reasons
    with_reasons = version.intervals is not None and version.intervals.reasons != training.verdict.reasons
    parts += ["", evaluation_text(version.evaluation)]
    parts += [f"Intervals: {intervals_text(version.intervals, with_reasons=with_reasons)}", ""]
    parts.append(f"Model trained successfully. MSE: {version.evaluation.accuracy.mse:.2f}")
    parts += verdict_lines(version, training.verdict)
    return "\n".join(parts)


def training_document(training: Training) -> dict[str, Any]:
    """A training as JSON."""
    return {
        **model_document(training.version, training.version.name if training.verdict.promoted else None),
        "reasons": training.verdict.reasons,
        "comparison": asdict(training.verdict.comparison) if training.verdict.comparison else None,
        "decisions": [asdict(each) for each in training.sales.decisions],
        "unreadable_cells": dict(training.sales.unreadable),
    }


def prediction_document(prediction: Prediction) -> dict[str, Any]:
    """A prediction as JSON, with its explanation if it has one."""
    estimate = prediction.estimate
    document = {
        "id": str(prediction.id),
        "prediction": estimate.price,
        "input": dict(estimate.house.values),
        "interval": interval_document(estimate.intervals),
        "fsd": estimate.fsd,
        "model_version": estimate.model_version,
        "generation": estimate.generation,
        "valued_on": estimate.valued_on.isoformat() if estimate.valued_on else None,
        "created_at": prediction.created_at.isoformat(),
        "warnings": [asdict(caveat) for caveat in estimate.caveats],
    }
    if isinstance(prediction, ExplainedPrediction):
        document["explanation"] = explanation_document(prediction.explanation)
    return document


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON; a percentage for each contribution to a logarithm."""
    in_logarithms = explanation.unit is Unit.LOG_PRICE
    return {
        "unit": explanation.unit,
        "base": explanation.base,
        "base_price": round(explanation.base_price, 2),
        "contributions": [
            {
                "features": each.features,
                "contribution": each.amount,
                "percent": round(each.percent, 2) if in_logarithms else None,
            }
            for each in explanation.contributions
        ],
    }


def explanation_text(explanation: Explanation) -> str:
    """An explanation as a table, the largest contributions first."""
    in_logarithms = explanation.unit is Unit.LOG_PRICE
    largest_first = sorted(explanation.contributions, key=lambda each: -abs(each.amount))
    rows = [
        (each.name, f"{each.percent:+.1f} %" if in_logarithms else f"{each.amount:+,.2f}") for each in largest_first
    ]
    return table(("feature", "contribution"), [("(base)", f"{explanation.base_price:,.2f}"), *rows])


def interval_document(intervals: Iterable[Interval]) -> dict[str, dict[str, float]] | None:
    """Intervals as JSON, by level; None where there are none."""
    return {str(each.level): {"low": each.low, "high": each.high} for each in intervals} or None


def prediction_text(prediction: Prediction) -> str:
    """A prediction as a table of what was said and of which house."""
    estimate = prediction.estimate
    rows = [
        ("id", str(prediction.id)),
        ("time (UTC)", f"{prediction.created_at:%Y-%m-%d %H:%M:%S}"),
        ("model version", estimate.model_version),
        ("price", f"{prediction.price:,.2f}"),
        *((f"{each.level} % interval", f"{each.low:,.2f} to {each.high:,.2f}") for each in estimate.intervals),
        *((name, str(value)) for name, value in estimate.house.values.items()),
        *(("warning", each.message) for each in estimate.caveats),
    ]
    return table(("what", "value"), rows)


def predictions_text(predictions: Sequence[Prediction]) -> str:
    """Predictions as a table, newest first."""
    if not predictions:
        return "Nothing was estimated yet."
    rows = [
        (
            str(each.id),
            f"{each.created_at:%Y-%m-%d %H:%M:%S}",
            f"{each.price:,.2f}",
            each.estimate.model_version,
            _features(each.estimate.house.values),
        )
        for each in predictions
    ]
    return table(("id", "time (UTC)", "price", "model version", "house"), rows, whole=("id",))


def _features(values: Mapping[str, object]) -> str:
    text = " ".join(f"{name}={value}" for name, value in values.items())
    return text if len(text) <= 60 else text[:59] + "…"


def answer(options: argparse.Namespace, document: object, text: str) -> int:
    """Print a document with `--json`, else text. Returns the exit code of a command that is done."""
    if options.json:
        print_json(document)
    else:
        sys.stdout.write(f"{text}\n")
    return 0


def print_json(document: object) -> None:
    """Print a document for programs."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
