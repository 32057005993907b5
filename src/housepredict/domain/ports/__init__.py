"""What the core asks of the world. Adapters fit these protocols; they do not inherit from them.

Every port is synchronous and takes a batch; an append may be begun and asked for later, where a repository can.
"""

from housepredict.domain.ports.clock import Clock
from housepredict.domain.ports.keys import PredictionKeys
from housepredict.domain.ports.models import ModelStore
from housepredict.domain.ports.predictions import (
    AppendsInLoop,
    AppendsShared,
    Backlog,
    Backlogged,
    PredictionRepository,
    RepositoryOpener,
    TakenOver,
)
from housepredict.domain.ports.sales import SaleRepository
from housepredict.domain.ports.serving import (
    Explainer,
    InService,
    Predictor,
    PredictorLoader,
    PredictorSource,
    Valuation,
)
from housepredict.domain.ports.tables import HouseRows, Houses, HouseTable, Outcome, PriceTable
from housepredict.domain.ports.training import (
    Fitted,
    Learned,
    Progress,
    SalesSource,
    SalesSources,
    Trainer,
    no_progress,
)
from housepredict.domain.ports.training_log import TrainingLog

__all__ = [
    "AppendsInLoop",
    "AppendsShared",
    "Backlog",
    "Backlogged",
    "Clock",
    "Explainer",
    "Fitted",
    "HouseRows",
    "HouseTable",
    "Houses",
    "InService",
    "Learned",
    "ModelStore",
    "Outcome",
    "PredictionKeys",
    "PredictionRepository",
    "Predictor",
    "PredictorLoader",
    "PredictorSource",
    "PriceTable",
    "Progress",
    "RepositoryOpener",
    "SaleRepository",
    "SalesSource",
    "SalesSources",
    "TakenOver",
    "Trainer",
    "TrainingLog",
    "Valuation",
    "no_progress",
]
