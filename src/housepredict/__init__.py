"""housepredict estimates what houses sell for, and remembers what it said: begin with `housepredict.open`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names are loaded when they are first used (PEP 562): importing housepredict costs next to nothing.
_NAMES_IN = {
    "adapters.sklearn_model.regressor": "HousePriceRegressor",
    "domain.accuracy": "Accuracy",
    "domain.caveats": "Caveat",
    "domain.drift": "BinShare Drift FeatureDrift Movement Shift",
    "domain.errors": (
        "BrokenRules ErasedPredictions ErasedSales HousepredictError InvalidHouses InvalidOptions "
        "InvalidSales InvalidSettings MissingExtra ModelStoreUnavailable NoExplanation NoModel NoSnapshot "
        "RefusedModel RepeatedKey RepositoryUnavailable TrainingCancelled TrainingInProgress UnknownModel "
        "UnknownPrediction UnreadableFile UnusablePlugin UnusableSales"
    ),
    "domain.estimates": "Calibration Estimate Interval Prediction",
    "domain.evaluation": "Valued",
    "domain.explanations": "Contribution ExplainedPrediction Explanation Unit",
    "domain.features": "Feature FeatureSchema House Kind",
    "domain.inference": "PreparedSales",
    "domain.intervals": "CoverageTest IntervalChoice IntervalKind",
    "domain.models": (
        "Algorithm Bounds Coverage Effort Evaluation LaterEvaluation ModelVersion Segment SelfTest "
        "TrainingOptions TrainingSource"
    ),
    "domain.promotion": "PromotionPolicy",
    "domain.recorded_sales": "RecordedSale ReturnedSale",
    "domain.roles": "Decision",
    "domain.sales": "Sale",
    "domain.trainings": "Outcome TrainingRecord TrainingState",
    "domain.usecases": "AccuracyReview EstimatedTable Forgotten Measured RefusedRow ReturnedSales Training",
    "domain.validation": "Rule Violation",
    "domain.verdicts": "Comparison Performance Verdict",
    "entrypoints.api": "Prices open",
    "entrypoints.http.app": "asgi_app",
    "entrypoints.settings": "Settings read_settings",
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _NAMES_IN.items() for name in names.split()}

# What these need comes with extras.
_EXTRAS = {"asgi_app": ("serve", "Serving over HTTP"), "HousePriceRegressor": ("train", "Training")}

__all__ = [
    "Accuracy",
    "AccuracyReview",
    "Algorithm",
    "BinShare",
    "Bounds",
    "BrokenRules",
    "Calibration",
    "Caveat",
    "Comparison",
    "Contribution",
    "Coverage",
    "CoverageTest",
    "Decision",
    "Drift",
    "Effort",
    "ErasedPredictions",
    "ErasedSales",
    "Estimate",
    "EstimatedTable",
    "Evaluation",
    "ExplainedPrediction",
    "Explanation",
    "Feature",
    "FeatureDrift",
    "FeatureSchema",
    "Forgotten",
    "House",
    "HousePriceRegressor",
    "HousepredictError",
    "Interval",
    "IntervalChoice",
    "IntervalKind",
    "InvalidHouses",
    "InvalidOptions",
    "InvalidSales",
    "InvalidSettings",
    "Kind",
    "LaterEvaluation",
    "Measured",
    "MissingExtra",
    "ModelStoreUnavailable",
    "ModelVersion",
    "Movement",
    "NoExplanation",
    "NoModel",
    "NoSnapshot",
    "Outcome",
    "Performance",
    "Prediction",
    "PreparedSales",
    "Prices",
    "PromotionPolicy",
    "RecordedSale",
    "RefusedModel",
    "RefusedRow",
    "RepeatedKey",
    "RepositoryUnavailable",
    "ReturnedSale",
    "ReturnedSales",
    "Rule",
    "Sale",
    "Segment",
    "SelfTest",
    "Settings",
    "Shift",
    "Training",
    "TrainingCancelled",
    "TrainingInProgress",
    "TrainingOptions",
    "TrainingRecord",
    "TrainingSource",
    "TrainingState",
    "Unit",
    "UnknownModel",
    "UnknownPrediction",
    "UnreadableFile",
    "UnusablePlugin",
    "UnusableSales",
    "Valued",
    "Verdict",
    "Violation",
    "asgi_app",
    "open",
    "read_settings",
]

if TYPE_CHECKING:
    from housepredict.adapters.sklearn_model.regressor import HousePriceRegressor
    from housepredict.domain.accuracy import Accuracy
    from housepredict.domain.caveats import Caveat
    from housepredict.domain.drift import BinShare, Drift, FeatureDrift, Movement, Shift
    from housepredict.domain.errors import (
        BrokenRules,
        ErasedPredictions,
        ErasedSales,
        HousepredictError,
        InvalidHouses,
        InvalidOptions,
        InvalidSales,
        InvalidSettings,
        MissingExtra,
        ModelStoreUnavailable,
        NoExplanation,
        NoModel,
        NoSnapshot,
        RefusedModel,
        RepeatedKey,
        RepositoryUnavailable,
        TrainingCancelled,
        TrainingInProgress,
        UnknownModel,
        UnknownPrediction,
        UnreadableFile,
        UnusablePlugin,
        UnusableSales,
    )
    from housepredict.domain.estimates import Calibration, Estimate, Interval, Prediction
    from housepredict.domain.evaluation import Valued
    from housepredict.domain.explanations import Contribution, ExplainedPrediction, Explanation, Unit
    from housepredict.domain.features import Feature, FeatureSchema, House, Kind
    from housepredict.domain.inference import PreparedSales
    from housepredict.domain.intervals import CoverageTest, IntervalChoice, IntervalKind
    from housepredict.domain.models import (
        Algorithm,
        Bounds,
        Coverage,
        Effort,
        Evaluation,
        LaterEvaluation,
        ModelVersion,
        Segment,
        SelfTest,
        TrainingOptions,
        TrainingSource,
    )
    from housepredict.domain.promotion import PromotionPolicy
    from housepredict.domain.recorded_sales import RecordedSale, ReturnedSale
    from housepredict.domain.roles import Decision
    from housepredict.domain.sales import Sale
    from housepredict.domain.trainings import Outcome, TrainingRecord, TrainingState
    from housepredict.domain.usecases import (
        AccuracyReview,
        EstimatedTable,
        Forgotten,
        Measured,
        RefusedRow,
        ReturnedSales,
        Training,
    )
    from housepredict.domain.validation import Rule, Violation
    from housepredict.domain.verdicts import Comparison, Performance, Verdict
    from housepredict.entrypoints.api import Prices, open
    from housepredict.entrypoints.http.app import asgi_app
    from housepredict.entrypoints.settings import Settings, read_settings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'housepredict' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ImportError as error:
        if name not in _EXTRAS:
            raise
        from housepredict.domain.errors import MissingExtra

        raise MissingExtra.named(*_EXTRAS[name]) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
