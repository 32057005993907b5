"""What estimates and explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from housepredict.domain.explanations import Explanation
from housepredict.domain.features import House
from housepredict.domain.models import Artefact, ModelVersion


@frozen
class Valuation:
    """What a model says of a batch: prices, one for each house in order, neither rounded nor cut off.

    `spreads`, in the same order, say how uncertain each is beside the others (see Calibration); None if the model
    cannot tell.
    """

    prices: Sequence[float]
    spreads: Sequence[float] | None = None


class Predictor(Protocol):
    """A model version that was loaded."""

    @property
    def version(self) -> ModelVersion:
        """The version that this is."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Prices, and how sure they are; a house's does not depend on the others."""


@frozen
class InService:
    """A predictor, and which generation of the pointer put it in service (see Pointer).

    The generation is None for the demonstration, which nobody promoted.
    """

    predictor: Predictor
    generation: int | None = None

    @property
    def version(self) -> ModelVersion:
        """The version that serves."""
        return self.predictor.version


class PredictorSource(Protocol):
    """Where the predictor in service comes from."""

    def current(self) -> InService:
        """What is in service, looked for if that is due. Raises NoModel, or why the version was refused."""

    def in_service(self) -> InService:
        """What is in service as of the last look: no I/O. Raises as `current` does."""


class PredictorLoader(Protocol):
    """Makes predictors of what a model store keeps."""

    def __call__(self, version: ModelVersion, artefact: Artefact) -> Predictor:
        """Load a version's serving form. Raises RefusedModel if anything about it is not as the manifest says."""


class Explainer(Protocol):
    """Says what moved the estimates of a model version."""

    @property
    def version(self) -> ModelVersion:
        """The version whose estimates these are."""

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        """An explanation for each house, in order."""
