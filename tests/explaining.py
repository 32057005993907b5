"""An explainer for the models of `tests.training` and `tests.http_service`, whose prices depend only on the size."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from housepredict.domain.estimates import Contribution, Explanation, Unit
from housepredict.domain.features import House
from housepredict.domain.models import ModelVersion


@frozen
class ExplainedBySize:
    """Attributes the whole price to the size."""

    version: ModelVersion

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        return [
            Explanation(Unit.PRICE, 0.0, (Contribution(("size",), 1000 * float(each.values["size"])),))
            for each in houses
        ]
