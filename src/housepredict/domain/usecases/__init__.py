"""What housepredict does, in terms of its ports."""

from housepredict.domain.usecases.estimate_table import EstimatedTable, EstimateTable, RefusedRow
from housepredict.domain.usecases.manage_records import Forgotten, Records
from housepredict.domain.usecases.predict import DEMONSTRATION, Explain, Predict, PredictOnce, estimate
from housepredict.domain.usecases.record_sales import RecordSales
from housepredict.domain.usecases.review import AccuracyReview, Measured, ReturnedSales, ReviewAccuracy, ReviewDrift
from housepredict.domain.usecases.train import SELF_TEST_ROWS, Promote, Train, Training
from housepredict.domain.usecases.training_jobs import Begun, Trainings

__all__ = [
    "DEMONSTRATION",
    "SELF_TEST_ROWS",
    "AccuracyReview",
    "Begun",
    "EstimateTable",
    "EstimatedTable",
    "Explain",
    "Forgotten",
    "Measured",
    "Predict",
    "PredictOnce",
    "Promote",
    "RecordSales",
    "Records",
    "RefusedRow",
    "ReturnedSales",
    "ReviewAccuracy",
    "ReviewDrift",
    "Train",
    "Training",
    "Trainings",
    "estimate",
]
