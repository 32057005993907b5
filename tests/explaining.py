"""A double that explains prices as those of `tests.training` and `tests.http_service` come about: by the size alone."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from housepredict.domain.estimates import Contribution, Explanation, Unit
from housepredict.domain.features import House
from housepredict.domain.models import ModelVersion


@frozen
class ExplainedBySize:
    """Says that all of a price is the size's."""

    version: ModelVersion

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        return [
            Explanation(Unit.PRICE, 0.0, (Contribution(("size",), 1000 * float(each.values["size"])),))
            for each in houses
        ]
