"""housepredict estimates the sale prices of houses and stores each estimate. Start with `housepredict.open`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from housepredict.version import __version__ as __version__

# Names are imported on first use (PEP 562) so that importing housepredict is fast.
_NAMES_IN = {
    "adapters.training.regressor": "HousePriceRegressor",
    "domain.errors": (
        "BrokenRules ErasedPredictions ErasedSales HousepredictError InvalidHouses InvalidOptions "
        "InvalidSales InvalidSettings MissingExtra ModelStoreUnavailable NoExplanation NoModel NoSnapshot "
        "RefusedModel RepeatedKey RepositoryUnavailable TrainingCancelled TrainingInProgress UnknownModel "
        "UnknownPrediction UnreadableFile UnusablePlugin UnusableSales"
    ),
    "domain.estimates": ("Calibration Contribution Estimate ExplainedPrediction Explanation Interval Prediction Unit"),
    "domain.evaluation.coverage": "CoverageTest IntervalChoice IntervalKind",
    "domain.evaluation.drift": "BinShare Drift FeatureDrift Movement Shift",
    "domain.evaluation.held_out": "Valued",
    "domain.evaluation.measures": "Accuracy Bounds Coverage Evaluation OutOfTimeEvaluation Segment",
    "domain.evaluation.promotion": "PromotionPolicy",
    "domain.features": "Feature FeatureSchema House Kind",
    "domain.models": "Comparison ModelVersion Performance SelfTest TrainingSource Verdict",
    "domain.sales": "RecordedSale RealizedSale Sale",
    "domain.schema_inference.inference": "PreparedSales",
    "domain.schema_inference.roles": "Decision",
    "domain.training_options": "Algorithm Effort TrainingOptions",
    "domain.training_status": "TrainingOutcome TrainingState TrainingStatus",
    "domain.usecases.estimate_table": "EstimatedTable RefusedRow",
    "domain.usecases.manage_records": "Removed",
    "domain.usecases.review": "AccuracyReview Measured RealizedSales",
    "domain.usecases.train": "Training",
    "domain.validation": "Rule Violation",
    "domain.warnings": "EstimateWarning",
    "entrypoints.http.app": "asgi_app",
    "entrypoints.python": "Prices open",
    "entrypoints.settings": "Settings read_settings",
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _NAMES_IN.items() for name in names.split()}

# For each name that needs an optional extra: the extra, and what it is for.
_EXTRAS = {"asgi_app": ("serve", "Serving over HTTP"), "HousePriceRegressor": ("train", "Training")}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:  # Type checkers can't evaluate _NAMES_IN.
    from housepredict.adapters.training.regressor import HousePriceRegressor as HousePriceRegressor
    from housepredict.domain.errors import BrokenRules as BrokenRules
    from housepredict.domain.errors import ErasedPredictions as ErasedPredictions
    from housepredict.domain.errors import ErasedSales as ErasedSales
    from housepredict.domain.errors import HousepredictError as HousepredictError
    from housepredict.domain.errors import InvalidHouses as InvalidHouses
    from housepredict.domain.errors import InvalidOptions as InvalidOptions
    from housepredict.domain.errors import InvalidSales as InvalidSales
    from housepredict.domain.errors import InvalidSettings as InvalidSettings
    from housepredict.domain.errors import MissingExtra as MissingExtra
    from housepredict.domain.errors import ModelStoreUnavailable as ModelStoreUnavailable
    from housepredict.domain.errors import NoExplanation as NoExplanation
    from housepredict.domain.errors import NoModel as NoModel
    from housepredict.domain.errors import NoSnapshot as NoSnapshot
    from housepredict.domain.errors import RefusedModel as RefusedModel
    from housepredict.domain.errors import RepeatedKey as RepeatedKey
    from housepredict.domain.errors import RepositoryUnavailable as RepositoryUnavailable
    from housepredict.domain.errors import TrainingCancelled as TrainingCancelled
    from housepredict.domain.errors import TrainingInProgress as TrainingInProgress
    from housepredict.domain.errors import UnknownModel as UnknownModel
    from housepredict.domain.errors import UnknownPrediction as UnknownPrediction
    from housepredict.domain.errors import UnreadableFile as UnreadableFile
    from housepredict.domain.errors import UnusablePlugin as UnusablePlugin
    from housepredict.domain.errors import UnusableSales as UnusableSales
    from housepredict.domain.estimates import Calibration as Calibration
    from housepredict.domain.estimates import Contribution as Contribution
    from housepredict.domain.estimates import Estimate as Estimate
    from housepredict.domain.estimates import ExplainedPrediction as ExplainedPrediction
    from housepredict.domain.estimates import Explanation as Explanation
    from housepredict.domain.estimates import Interval as Interval
    from housepredict.domain.estimates import Prediction as Prediction
    from housepredict.domain.estimates import Unit as Unit
    from housepredict.domain.evaluation.coverage import CoverageTest as CoverageTest
    from housepredict.domain.evaluation.coverage import IntervalChoice as IntervalChoice
    from housepredict.domain.evaluation.coverage import IntervalKind as IntervalKind
    from housepredict.domain.evaluation.drift import BinShare as BinShare
    from housepredict.domain.evaluation.drift import Drift as Drift
    from housepredict.domain.evaluation.drift import FeatureDrift as FeatureDrift
    from housepredict.domain.evaluation.drift import Movement as Movement
    from housepredict.domain.evaluation.drift import Shift as Shift
    from housepredict.domain.evaluation.held_out import Valued as Valued
    from housepredict.domain.evaluation.measures import Accuracy as Accuracy
    from housepredict.domain.evaluation.measures import Bounds as Bounds
    from housepredict.domain.evaluation.measures import Coverage as Coverage
    from housepredict.domain.evaluation.measures import Evaluation as Evaluation
    from housepredict.domain.evaluation.measures import OutOfTimeEvaluation as OutOfTimeEvaluation
    from housepredict.domain.evaluation.measures import Segment as Segment
    from housepredict.domain.evaluation.promotion import PromotionPolicy as PromotionPolicy
    from housepredict.domain.features import Feature as Feature
    from housepredict.domain.features import FeatureSchema as FeatureSchema
    from housepredict.domain.features import House as House
    from housepredict.domain.features import Kind as Kind
    from housepredict.domain.models import Comparison as Comparison
    from housepredict.domain.models import ModelVersion as ModelVersion
    from housepredict.domain.models import Performance as Performance
    from housepredict.domain.models import SelfTest as SelfTest
    from housepredict.domain.models import TrainingSource as TrainingSource
    from housepredict.domain.models import Verdict as Verdict
    from housepredict.domain.sales import RealizedSale as RealizedSale
    from housepredict.domain.sales import RecordedSale as RecordedSale
    from housepredict.domain.sales import Sale as Sale
    from housepredict.domain.schema_inference.inference import PreparedSales as PreparedSales
    from housepredict.domain.schema_inference.roles import Decision as Decision
    from housepredict.domain.training_options import Algorithm as Algorithm
    from housepredict.domain.training_options import Effort as Effort
    from housepredict.domain.training_options import TrainingOptions as TrainingOptions
    from housepredict.domain.training_status import TrainingOutcome as TrainingOutcome
    from housepredict.domain.training_status import TrainingState as TrainingState
    from housepredict.domain.training_status import TrainingStatus as TrainingStatus
    from housepredict.domain.usecases.estimate_table import EstimatedTable as EstimatedTable
    from housepredict.domain.usecases.estimate_table import RefusedRow as RefusedRow
    from housepredict.domain.usecases.manage_records import Removed as Removed
    from housepredict.domain.usecases.review import AccuracyReview as AccuracyReview
    from housepredict.domain.usecases.review import Measured as Measured
    from housepredict.domain.usecases.review import RealizedSales as RealizedSales
    from housepredict.domain.usecases.train import Training as Training
    from housepredict.domain.validation import Rule as Rule
    from housepredict.domain.validation import Violation as Violation
    from housepredict.domain.warnings import EstimateWarning as EstimateWarning
    from housepredict.entrypoints.http.app import asgi_app as asgi_app
    from housepredict.entrypoints.python import Prices as Prices
    from housepredict.entrypoints.python import open as open
    from housepredict.entrypoints.settings import Settings as Settings
    from housepredict.entrypoints.settings import read_settings as read_settings


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
