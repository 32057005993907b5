"""What the command line prints of trainings, models and predictions: text for people, documents for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from attrs import asdict

from housepredict.domain.accuracy import Accuracy
from housepredict.domain.estimates import Interval, Prediction
from housepredict.domain.models import Evaluation, ModelVersion
from housepredict.domain.ports import Progress
from housepredict.domain.usecases import Training


def progress_bar(stream: TextIO) -> Progress:
    """A progress bar, where somebody is there to see it."""

    def silent(_done: int, _total: int) -> None:
        """Nothing to show it on."""

    if not stream.isatty():
        return silent
    from tqdm import tqdm

    bar = tqdm(desc="training", file=stream, leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show


def training_text(training: Training) -> str:
    """What was decided, what was left out, and how good the model is."""
    version, sales = training.version, training.sales
    rows = [(each.column, each.use, each.kind or "", each.why) for each in sales.decisions]
    parts = [_table(("column", "used as", "kind", "why"), rows)]
    parts += [f"{count} rows rejected: {reason}" for reason, count in sales.rejected.items()]
    parts += [f"{count} cells of {name} unreadable, taken as missing" for name, count in sales.unreadable.items()]
    if version.valuation_date:
        parts.append(f"Estimates are for {version.valuation_date}, the latest sale, unless a house says otherwise.")
    if version.source.synthetic:
        parts.append("These sales are synthetic: the model says nothing about real houses.")
    parts += ["", evaluation_text(version.evaluation), ""]
    parts.append(f"Model trained successfully. MSE: {version.evaluation.accuracy.mse:.2f}")
    parts.append(f"Promoted {version.name} ({version.algorithm}).")
    return "\n".join(parts)


def evaluation_text(evaluation: Evaluation) -> str:
    """The measures, each with what it means."""
    measures: Accuracy = evaluation.accuracy
    rows = [
        ("MdAPE", _number(measures.mdape, 1, " %"), "half of the estimates are off by less"),
        ("PPE10", _number(measures.ppe10, 1, " %"), "estimates within 10 % of the price"),
        ("PPE20", _number(measures.ppe20, 1, " %"), "estimates within 20 % of the price"),
        ("median ratio", _number(measures.median_ratio, 3), "estimate / price; acceptable: 0.90 to 1.10"),
        ("COD", _number(measures.cod, 1), "spread of the ratios; acceptable: 5 to 15"),
        ("PRD", _number(measures.prd, 3), "above 1: dear houses estimated too low; acceptable: 0.98 to 1.03"),
        ("PRB", _number(measures.prb, 3), "change of the ratio as value doubles; acceptable: -0.05 to 0.05"),
        ("FSD", _number(measures.fsd, 1, " %"), "standard deviation of the errors in percent"),
        ("R²", _number(measures.r2, 3), "share of the prices' variance explained"),
        ("MAE", _number(measures.mae, 0), "mean error, in the currency of the prices"),
        ("RMSE", _number(measures.rmse, 0), "root of the mean squared error"),
    ]
    return f"Trained on {evaluation.trained_on} sales, evaluated on {evaluation.held_out} others:\n" + _table(
        ("measure", "value", "meaning"), rows
    )


def training_document(training: Training) -> dict[str, Any]:
    """A training as JSON."""
    return {
        **model_document(training.version, training.version.name),
        "decisions": [asdict(each) for each in training.sales.decisions],
        "rejected_rows": dict(training.sales.rejected),
        "unreadable_cells": dict(training.sales.unreadable),
    }


def model_document(version: ModelVersion, promoted: str | None) -> dict[str, Any]:
    """A version as JSON: what a program wants to know of it."""
    return {
        "model_version": version.name,
        "promoted": version.name == promoted,
        "created_at": version.created_at.isoformat(),
        "algorithm": version.algorithm,
        "source": version.source.location,
        "synthetic": version.source.synthetic,
        "valuation_date": version.valuation_date.isoformat() if version.valuation_date else None,
        "features": [
            {"name": each.name, "kind": each.kind, "unit": each.unit, "required": each.required}
            for each in version.schema.features
        ],
        "evaluation": evaluation_document(version.evaluation),
    }


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON: the measures as numbers, null where one is not defined."""
    return {"trained_on": evaluation.trained_on, "held_out": evaluation.held_out, **asdict(evaluation.accuracy)}


def models_text(versions: Sequence[ModelVersion], promoted: str | None) -> str:
    """The versions as a table; the promoted one is marked."""
    if not versions:
        return "No model yet: train one with `housepredict train SALES.csv --price COLUMN`."
    rows = [
        (
            "*" if version.name == promoted else "",
            version.name,
            version.algorithm,
            "synthetic" if version.source.synthetic else str(version.source.location),
            _number(version.evaluation.accuracy.mdape, 1, " %"),
            _number(version.evaluation.accuracy.ppe10, 1, " %"),
            _number(version.evaluation.accuracy.cod, 1),
        )
        for version in versions
    ]
    return _table(("", "version", "algorithm", "sales", "MdAPE", "PPE10", "COD"), rows) + "\n* promoted"


def prediction_document(prediction: Prediction) -> dict[str, Any]:
    """A prediction as JSON."""
    estimate = prediction.estimate
    return {
        "id": str(prediction.id),
        "prediction": estimate.price,
        "input": dict(estimate.house.values),
        "interval": interval_document(estimate.intervals),
        "fsd": estimate.fsd,
        "model_version": estimate.model_version,
        "valued_on": estimate.valued_on.isoformat() if estimate.valued_on else None,
        "created_at": prediction.created_at.isoformat(),
        "warnings": [asdict(caveat) for caveat in estimate.caveats],
    }


def interval_document(intervals: Iterable[Interval]) -> dict[str, dict[str, float]] | None:
    """Intervals as JSON, by level; None where there are none."""
    return {str(each.level): {"low": each.low, "high": each.high} for each in intervals} or None


def predictions_text(predictions: Sequence[Prediction]) -> str:
    """Predictions as a table, newest first."""
    if not predictions:
        return "Nothing was estimated yet."
    rows = [
        (
            f"{each.created_at:%Y-%m-%d %H:%M:%S}",
            f"{each.price:,.2f}",
            each.estimate.model_version,
            _features(each.estimate.house.values),
        )
        for each in predictions
    ]
    return _table(("time (UTC)", "price", "model version", "house"), rows)


def _features(values: Mapping[str, object]) -> str:
    text = " ".join(f"{name}={value}" for name, value in values.items())
    return text if len(text) <= 60 else text[:59] + "…"


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, [width * "-" for width in widths], *rows)
    )
