"""Run `housepredict` with a bug: batches are estimated by the last loaded version instead of the one they name.

Tests use it to show that they detect such a bug.

python -m tests.integration.mixing_service serve …
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property

from attrs import define, frozen

from housepredict.adapters.live_model import LiveModel
from housepredict.adapters.serving.loader import load_predictor
from housepredict.domain.features import House
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.domain.ports import Predictor, Valuation
from housepredict.entrypoints.cli import main as cli
from housepredict.entrypoints.composition import Application


@define
class Loader:
    """Loads predictors that all predict like the last one loaded."""

    last: Predictor | None = None

    def __call__(self, version: ModelVersion, artifact: Artifact) -> Predictor:
        self.last = load_predictor(version, artifact)
        return Mixed(version, self)


@frozen
class Mixed:
    version: ModelVersion
    _loader: Loader

    def predict(self, houses: Sequence[House]) -> Valuation:
        assert self._loader.last
        return self._loader.last.predict(houses)


class MixingApplication(Application):
    @cached_property
    def live_model(self) -> LiveModel:
        return LiveModel(self.models, Loader())


if __name__ == "__main__":
    sys.exit(cli.main(application=MixingApplication))
