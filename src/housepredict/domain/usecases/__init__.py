"""What housepredict does, in terms of its ports."""

from housepredict.domain.usecases.estimate_table import EstimatedTable, EstimateTable, RefusedRow
from housepredict.domain.usecases.manage_records import Records, Removed
from housepredict.domain.usecases.predict import DEMONSTRATION, Explain, Predict, PredictOnce
from housepredict.domain.usecases.record_sales import RecordSales
from housepredict.domain.usecases.review import AccuracyReview, Measured, RealizedSales, ReviewAccuracy, ReviewDrift
from housepredict.domain.usecases.train import SELF_TEST_ROWS, Promote, Train, Training
from housepredict.domain.usecases.training_history import StartListener, TrainingHistory

__all__ = [
    "DEMONSTRATION",
    "SELF_TEST_ROWS",
    "AccuracyReview",
    "EstimateTable",
    "EstimatedTable",
    "Explain",
    "Measured",
    "Predict",
    "PredictOnce",
    "Promote",
    "RealizedSales",
    "RecordSales",
    "Records",
    "RefusedRow",
    "Removed",
    "ReviewAccuracy",
    "ReviewDrift",
    "StartListener",
    "Train",
    "Training",
    "TrainingHistory",
]
