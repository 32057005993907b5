"""What housepredict does, in terms of its ports."""

from housepredict.domain.usecases.explain import Explain
from housepredict.domain.usecases.predict import DEMONSTRATION, Predict, estimate
from housepredict.domain.usecases.promote import Promote
from housepredict.domain.usecases.train import SELF_TEST_ROWS, Train, Training
from housepredict.domain.usecases.trainings import Begun, Trainings

__all__ = [
    "DEMONSTRATION",
    "SELF_TEST_ROWS",
    "Begun",
    "Explain",
    "Predict",
    "Promote",
    "Train",
    "Training",
    "Trainings",
    "estimate",
]
