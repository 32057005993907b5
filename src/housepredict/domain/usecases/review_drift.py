"""How far houses and estimates have moved from what the version in service was trained on."""

from __future__ import annotations

from attrs import define

from housepredict.domain.drift import Drift, drift
from housepredict.domain.errors import NoSnapshot, UnknownModel
from housepredict.domain.estimates import Prediction
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import ModelStore, PredictionRepository, PredictorSource
from housepredict.domain.snapshots import Snapshot, of_artefact

MOST_REVIEWED = 10_000
"""How many predictions are looked at, the newest."""

PAGE = 1000
"""How many are read at a time."""


@define
class ReviewDrift:
    """Compare recent predictions with the snapshot of the version in service."""

    _models: PredictorSource
    _store: ModelStore
    _predictions: PredictionRepository

    def __call__(self) -> Drift:
        """The drift as of now.

        Raises NoModel, NoSnapshot, RefusedModel, ModelStoreUnavailable or RepositoryUnavailable.
        """
        version = self._models.current().version
        return drift(version.name, self._snapshot(version), self._recent())

    def _snapshot(self, version: ModelVersion) -> Snapshot:
        try:
            _, artefact = self._store.get(version.name)
        except UnknownModel:
            raise NoSnapshot(f"{version.name} is in no store of models, and has no snapshot") from None
        found = of_artefact(artefact)
        if found is None:
            raise NoSnapshot
        return found

    def _recent(self) -> list[Prediction]:
        found: list[Prediction] = []
        while len(found) < MOST_REVIEWED:
            page = self._predictions.recent(PAGE, found[-1].id if found else None)
            found += page
            if len(page) < PAGE:
                break
        return found
