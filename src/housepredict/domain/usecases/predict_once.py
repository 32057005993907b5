"""Estimates that may be asked for more than once, and are given once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from housepredict.domain.deliveries import Delivery, demand_key
from housepredict.domain.errors import ErasedPredictions, InvalidHouses
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import AppendsShared, PredictionKeys
from housepredict.domain.usecases.predict import Predict, estimate


@define
class PredictOnce(Predict):
    """Estimate houses for an idempotency key, and whenever it comes again say what was said first.

    The ids of predictions are kept with their key before the predictions are recorded, and a prediction whose id is
    known is not recorded again. So whatever is cut off between the two, and whoever asks at the same time: what is
    recorded first counts for all.
    """

    _keys: PredictionKeys = field(kw_only=True)

    def for_key(self, read: Callable[[], Sequence[object]], delivery: Delivery) -> Sequence[Prediction]:
        """As `Predict` does; houses whose predictions are recorded for the key are not even read.

        Raises RepeatedKey for a key that came with something else, ErasedPredictions where some of what was recorded
        for it is no more, what Predict raises and what `read` does; a key with houses that are refused stays free.
        """
        demand_key(delivery.key, InvalidHouses)
        known = self._keys.find(delivery)
        if known is not None:
            found = self._predictions.find(known)
            if len(found) == len(known):
                return found
        serving = self._models.current()
        estimates = estimate(serving, self.check(serving, read()))
        now = self._clock.now()
        ids = self._keys.reserve(delivery, self._ids.take(len(estimates), now))
        self._append([Prediction(id_, now, each) for id_, each in zip(ids, estimates, strict=True)])
        # somebody else's may have been recorded first, and what was erased is ignored
        found = self._predictions.find(ids)
        if len(found) < len(ids):
            raise ErasedPredictions
        return found

    def _append(self, predictions: Sequence[Prediction]) -> None:
        # in a spool it would answer here, while another replica stores and answers something else for the same id
        if isinstance(self._predictions, AppendsShared):
            self._predictions.append_shared(predictions)
        else:
            self._predictions.append(predictions)
