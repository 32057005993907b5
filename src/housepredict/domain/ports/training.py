"""What models are trained with, and on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from housepredict.domain.estimates import Calibration
from housepredict.domain.features import FeatureSchema, House
from housepredict.domain.models import Algorithm, Artefact, TrainingOptions
from housepredict.domain.ports.serving import Valuation
from housepredict.domain.sales import Sale, SalesTable

Progress = Callable[[int, int], None]
"""Is told how many steps of how many are done."""


@frozen
class Learned:
    """What a serving form predicts (see Predictor.predict), and how sure it is."""

    predict: Callable[[Sequence[House]], Valuation]
    calibration: Calibration | None


@frozen
class Fitted(Learned):
    """What a training made: the artefact, the algorithm that was chosen, and the versions of the libraries.

    `again` learns from other sales of the same schema, and from these nothing but the recipe that the search found.
    `irreproducible` is as in ModelVersion. `plain` makes the same model with plain intervals, without another fit; None
    if its intervals are plain (see IntervalKind).
    """

    artefact: Artefact
    algorithm: Algorithm
    libraries: Mapping[str, str]
    again: Callable[[Sequence[Sale]], Learned]
    irreproducible: str | None = None
    plain: Callable[[], Fitted] | None = None


class Trainer(Protocol):
    """Fits models."""

    def fit(self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress) -> Fitted:
        """Fit a model to sales with the options' algorithm, effort, seed and time limit, and prove that its serving
        form predicts as the model itself does.

        Raises RefusedModel if it does not.
        """


class SalesSource(Protocol):
    """A file of sales, or whatever stands for one."""

    @property
    def location(self) -> str | None:
        """Where the sales are, to read them again; None if they are in no file."""

    @property
    def with_recorded(self) -> bool:
        """Whether sales that came back are among them."""

    def read(self) -> SalesTable:
        """Read all of it. Raises UnusableSales if there is nothing to read."""


SalesSources = Callable[[str | None, TrainingOptions, bool], SalesSource]
"""Gives the sales at a location (see SalesSource.location) for a training with these options; reading them may fail.

With True, recorded sales are among them; without a location, they are all there is.
"""


def no_progress(_done: int, _total: int) -> None:
    """A Progress that nobody looks at."""
