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
from housepredict.domain.ports.processes import LiveProcesses
from housepredict.domain.ports.sales import SaleRepository
from housepredict.domain.ports.serving import (
    Explainer,
    ExplainerLoader,
    ExplainerSource,
    InService,
    Predictor,
    PredictorLoader,
    PredictorSource,
    Valuation,
)
from housepredict.domain.ports.tables import HouseRows, Houses, HouseTable, Outcome, PriceTable
from housepredict.domain.ports.training import Fitted, Learned, Progress, Room, SalesSource, SalesSources, Trainer
from housepredict.domain.ports.training_log import TrainingLog

__all__ = [
    "AppendsInLoop",
    "AppendsShared",
    "Backlog",
    "Backlogged",
    "Clock",
    "Explainer",
    "ExplainerLoader",
    "ExplainerSource",
    "Fitted",
    "HouseRows",
    "HouseTable",
    "Houses",
    "InService",
    "Learned",
    "LiveProcesses",
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
    "Room",
    "SaleRepository",
    "SalesSource",
    "SalesSources",
    "TakenOver",
    "Trainer",
    "TrainingLog",
    "Valuation",
]
