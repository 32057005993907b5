"""Every answer as a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from attrs import asdict, fields

from housepredict.domain.estimates import ExplainedPrediction, Explanation, Interval, Prediction, Unit
from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.drift import Drift, Shift
from housepredict.domain.evaluation.measures import Evaluation, OutOfTimeEvaluation
from housepredict.domain.features import EstimateWarning
from housepredict.domain.models import ModelVersion, Pointer
from housepredict.domain.ports import Backlog
from housepredict.domain.sales import RealizedSale
from housepredict.domain.training_status import TrainingStatus
from housepredict.domain.usecases.review import AccuracyReview, Measured
from housepredict.domain.usecases.train import Training
from housepredict.entrypoints.settings import IN_MEMORY, SECRETS, Settings, scheme_of, shown_database


def model_document(version: ModelVersion, promoted: str | None) -> dict[str, Any]:
    """A version as JSON: what a program wants to know of it."""
    return {
        "model_version": version.name,
        "promoted": version.name == promoted,
        "created_at": version.created_at.isoformat(),
        "algorithm": version.algorithm,
        "source": version.source.location,
        "synthetic": version.source.synthetic,
        "recorded": version.source.recorded,
        "rejected_rows": dict(version.source.rejected),
        "notes": version.source.notes,
        "valuation_date": version.valuation_date.isoformat() if version.valuation_date else None,
        "reproducible": version.irreproducible is None,
        "irreproducible": version.irreproducible,
        "intervals": intervals_document(version.intervals),
        "features": [
            {"name": each.name, "kind": each.kind, "unit": each.unit, "required": each.required}
            for each in version.schema.features
        ],
        "evaluation": evaluation_document(version.evaluation),
    }


def intervals_document(choice: IntervalChoice | None) -> dict[str, Any] | None:
    """Which intervals a version has, with the tests that led there, as JSON."""
    return asdict(choice) if choice else None


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON: the measures as numbers, null where one is not defined."""
    return {
        "trained_on": evaluation.trained_on,
        "held_out": evaluation.held_out,
        **asdict(evaluation.accuracy),
        "bounds": {name: asdict(each) for name, each in evaluation.bounds.items()},
        "coverage": [asdict(each) for each in evaluation.coverage],
        "out_of_range": evaluation.out_of_range,
        "price_tenths": [asdict(each) for each in evaluation.price_tenths],
        "category": evaluation.category,
        "categories": [asdict(each) for each in evaluation.categories],
        "out_of_time": _later_document(evaluation.out_of_time) if evaluation.out_of_time else None,
        "out_of_time_skipped": evaluation.out_of_time_skipped,
    }


def _later_document(later: OutOfTimeEvaluation) -> dict[str, Any]:
    return {
        "since": later.since.isoformat(),
        "trained_on": later.trained_on,
        "held_out": later.held_out,
        **asdict(later.accuracy),
        "coverage": [asdict(each) for each in later.coverage],
        "out_of_range": later.out_of_range,
    }


def version_document(version: ModelVersion, promoted: str | None) -> dict[str, Any]:
    """A version as JSON, with how it came about."""
    schema = version.schema
    return {
        **model_document(version, promoted),
        "features": [asdict(each) for each in schema.features],
        "sale_date": schema.sale_date,
        "options": asdict(version.options),
        "source_digest": version.source.digest,
        "digests": dict(version.digests),
        "libraries": dict(version.libraries),
        "calibration": asdict(version.calibration) if version.calibration else None,
        "self_test": [{"house": dict(each.house.values), "price": each.price} for each in version.self_test],
    }


def models_document(versions: Sequence[ModelVersion], pointer: Pointer) -> dict[str, Any]:
    """The versions as JSON, and which of them is promoted."""
    return {
        "models": [model_document(each, pointer.name) for each in versions],
        "promoted": pointer.name,
        "generation": pointer.generation,
    }


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
        "warnings": [asdict(warning) for warning in estimate.warnings],
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


def interval_document(intervals: Iterable[Interval]) -> dict[str, dict[str, float]] | None:
    """Intervals as JSON, by level; None where there are none."""
    return {str(each.level): {"low": each.low, "high": each.high} for each in intervals} or None


def recorded_document(prediction: Prediction) -> dict[str, Any]:
    """A prediction in the list of those remembered, with its features beside what was said of them."""
    return {
        "id": str(prediction.id),
        **prediction.estimate.house.values,
        "predicted_price": prediction.price,
        "created_at": prediction.created_at.isoformat(),
        **_origin(prediction),
    }


def backlog_document(backlog: Backlog) -> dict[str, Any]:
    """What has not reached the database, without where that is."""
    return {
        "pending": backlog.pending,
        "oldest": backlog.oldest.isoformat() if backlog.oldest else None,
        "dead_letters": backlog.dead_letters,
        "database": "unavailable" if backlog.reason else "available",
    }


def _origin(prediction: Prediction) -> dict[str, Any]:
    estimate = prediction.estimate
    return {
        "interval": interval_document(estimate.intervals),
        "fsd": estimate.fsd,
        "model_version": estimate.model_version,
        "generation": estimate.generation,
        "valued_on": estimate.valued_on.isoformat() if estimate.valued_on else None,
        "warnings": [warning_document(warning) for warning in estimate.warnings],
    }


def warning_document(warning: EstimateWarning) -> dict[str, str]:
    """A warning, as answers have it."""
    about = {} if warning.feature is None else {"feature": warning.feature}
    return {"code": warning.code, "message": warning.message, **about}


def sale_document(returned: RealizedSale) -> dict[str, Any]:
    """A sale as JSON, with what was estimated if that is known."""
    sale, prediction = returned.sale, returned.prediction
    return {
        "id": str(sale.id),
        "prediction": str(sale.prediction),
        "price": sale.price,
        "date": sale.sold_on.isoformat(),
        "recorded_at": sale.recorded_at.isoformat(),
        "status": "matched" if prediction else "unmatched",
        "estimate": prediction.price if prediction else None,
        "ratio": returned.ratio,
        "model_version": prediction.estimate.model_version if prediction else None,
    }


def sales_document(returned: Sequence[RealizedSale]) -> dict[str, Any]:
    """Sales as JSON, and how many of them are unmatched."""
    return {"sales": [sale_document(each) for each in returned], "unmatched": unmatched(returned)}


def unmatched(returned: Sequence[RealizedSale]) -> int:
    """How many are sales of predictions that nobody knows yet."""
    return sum(each.prediction is None for each in returned)


def accuracy_document(review: AccuracyReview, since: date | None, until: date | None) -> dict[str, Any]:
    """A review as JSON: the measures as numbers, null where one is not defined."""
    returned = review.returned
    return {
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "sales": returned.sales,
        "unmatched": returned.unmatched,
        "estimated_after_sale": returned.estimated_after_sale,
        "truncated": returned.truncated,
        "overall": _measured_document(review.overall) if review.overall else None,
        "by_version": {name: _measured_document(each) for name, each in review.by_version.items()},
    }


def _measured_document(measured: Measured) -> dict[str, Any]:
    return {
        **asdict(measured.accuracy),
        "bounds": {name: asdict(each) for name, each in measured.bounds.items()},
        "coverage": [asdict(each) for each in measured.coverage],
        "out_of_range": measured.out_of_range,
    }


_PSI_DIGITS = 4


_PERCENT_DIGITS = 2


def drift_document(drift: Drift) -> dict[str, Any]:
    """A drift as JSON."""
    return {
        "model_version": drift.model_version,
        "examined": drift.examined,
        "n": drift.n,
        "since": drift.since.isoformat() if drift.since else None,
        "out_of_range": _rounded(drift.out_of_range, _PERCENT_DIGITS),
        "estimates": _shift_document(drift.estimates),
        "features": {
            each.name: {
                **_shift_document(each.shift),
                "out_of_range": _rounded(each.out_of_range, _PERCENT_DIGITS),
            }
            for each in drift.features
        },
    }


def _shift_document(shift: Shift) -> dict[str, Any]:
    return {
        "psi": _rounded(shift.psi, _PSI_DIGITS),
        "chance": _rounded(shift.chance, _PSI_DIGITS),
        "movement": shift.movement,
        "bins": [
            {
                "bin": each.label,
                "expected": _rounded(each.expected, _PERCENT_DIGITS),
                "actual": _rounded(each.actual, _PERCENT_DIGITS),
            }
            for each in shift.bins
        ],
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def training_record_document(record: TrainingStatus) -> dict[str, Any]:
    """A training as JSON."""
    outcome = record.outcome
    return {
        "id": str(record.id),
        "state": record.state,
        "started_at": record.started_at.isoformat(),
        "ended_at": record.ended_at.isoformat() if record.ended_at else None,
        "progress": {"done": record.done, "total": record.total},
        "source": record.location,
        "synthetic": record.synthetic,
        "with_recorded": record.with_recorded,
        "cancelling": record.cancelling,
        "model_version": outcome.version if outcome else None,
        "promoted": outcome.promoted if outcome and outcome.version else None,
        "reasons": outcome.reasons if outcome else (),
        "error": outcome.error if outcome else None,
    }


_HIDDEN = "(hidden)"


_NAMES = {"given": "command line"}


Origins = Mapping[str, Sequence[str]]


def settings_document(settings: Settings, origins: Origins) -> list[dict[str, Any]]:
    """Each setting with its value, None where there is none, and where that is from; see settings_and_origins."""
    return [
        {
            "setting": each.name,
            "value": _shown(each.name, getattr(settings, each.name)),
            "from": [_NAMES.get(origin, origin) for origin in origins.get(each.name, ())] or ["default"],
        }
        for each in fields(Settings)
    ]


def _shown(name: str, value: Any) -> Any:
    if name in SECRETS and value and value != IN_MEMORY:
        return f"{scheme_of(value)}://{shown_database(value) or _HIDDEN}" if name.endswith("_url") else _HIDDEN
    if isinstance(value, tuple):
        return list(value) or None
    return str(value) if isinstance(value, Path) else value
