"""What housepredict does, in terms of its ports."""

from housepredict.domain.usecases.estimate_table import EstimatedTable, EstimateTable, RefusedRow
from housepredict.domain.usecases.explain import Explain
from housepredict.domain.usecases.predict import DEMONSTRATION, Predict, estimate
from housepredict.domain.usecases.predict_once import PredictOnce
from housepredict.domain.usecases.promote import Promote
from housepredict.domain.usecases.record_sales import RecordSales
from housepredict.domain.usecases.records import Forgotten, Records
from housepredict.domain.usecases.review_accuracy import AccuracyReview, Measured, ReturnedSales, ReviewAccuracy
from housepredict.domain.usecases.review_drift import ReviewDrift
from housepredict.domain.usecases.train import SELF_TEST_ROWS, Train, Training
from housepredict.domain.usecases.trainings import Begun, Trainings

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
