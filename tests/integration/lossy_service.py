"""`housepredict`, but of each batch that it acknowledges it has forgotten one: what a test of a promise must notice.

python -m tests.integration.lossy_service serve …
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from attrs import frozen

from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import Appending, PredictionRepository
from housepredict.entrypoints import cli
from housepredict.entrypoints.bootstrap import Application


@frozen
class Forgetful:
    """A repository, all of it but the first prediction of each batch."""

    _whole: Any

    def append(self, predictions: Sequence[Prediction]) -> None:
        self._whole.append(predictions[1:])

    def begin(self, predictions: Sequence[Prediction]) -> Appending | None:
        begun: Appending | None = self._whole.begin(predictions[1:])
        return begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


class LossyApplication(Application):
    @cached_property
    def predictions(self) -> PredictionRepository:
        return Forgetful(super().predictions)


if __name__ == "__main__":
    sys.exit(cli.main(application=LossyApplication))
