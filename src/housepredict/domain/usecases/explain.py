"""Estimates with what moved them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from housepredict.domain.explanations import ExplainedPrediction
from housepredict.domain.features import House
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import Explainer, InService
from housepredict.domain.usecases.predict import Predict


@define
class Explain(Predict):
    """Estimate houses, remember having done so, and say what moved each estimate."""

    _explainer_of: Callable[[ModelVersion], Explainer] = field(kw_only=True)

    @property
    def records_in_loop(self) -> bool:
        """False: to explain takes long."""
        return False

    def record(self, serving: InService, houses: Sequence[House]) -> Sequence[ExplainedPrediction]:
        """As of Predict. What cannot be explained is not recorded either."""
        explanations = self._explainer_of(serving.version).explain(houses)
        predictions = super().record(serving, houses)
        return [
            ExplainedPrediction(each.id, each.created_at, each.estimate, explanation)
            for each, explanation in zip(predictions, explanations, strict=True)
        ]
