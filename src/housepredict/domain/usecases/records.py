"""The predictions that are remembered, one by one."""

from __future__ import annotations

import re
from uuid import UUID

from attrs import define

from housepredict.domain.errors import UnknownPrediction
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import PredictionRepository, TakenOver

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LAB_ID = re.compile(r"[1-9]\d{0,9}", re.ASCII)
_MAX_LAB_ID = 2**31 - 1  # the tutorial's column is an integer


@define
class Records:
    """Look up what was estimated."""

    _predictions: PredictionRepository

    def one(self, id: UUID | str | int) -> Prediction:  # noqa: A002  # what it is called everywhere
        """The prediction with an id, or with the number that it had in the tutorial's table.

        Raises UnknownPrediction, or RepositoryUnavailable.
        """
        text = str(id)
        if _UUID.fullmatch(text):
            found = next(iter(self._predictions.find([UUID(text)])), None)
        elif _LAB_ID.fullmatch(text) and int(text) <= _MAX_LAB_ID and isinstance(self._predictions, TakenOver):
            found = self._predictions.of_lab(int(text))
        else:
            found = None
        if found is None:
            raise UnknownPrediction(f"no prediction {text[:100]} is remembered")
        return found
