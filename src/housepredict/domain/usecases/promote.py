"""Which version serves, by a person's decision."""

from __future__ import annotations

from attrs import define

from housepredict.domain.errors import UnknownModel
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import ModelStore, PredictorLoader


@define
class Promote:
    """Point at another version, which is loaded first: one that is damaged is refused, and the pointer stays."""

    _load: PredictorLoader
    _models: ModelStore

    def __call__(self, name: str) -> ModelVersion:
        """Promote a version. Raises UnknownModel, RefusedModel or ModelStoreUnavailable."""
        version = self._loaded(name)
        self._models.promote(name)
        return version

    def rollback(self) -> ModelVersion:
        """Go back to the version that was promoted before, and so on with each call.

        Raises UnknownModel if there was none, RefusedModel or ModelStoreUnavailable.
        """
        history = self._models.history()
        if len(history) < 2:
            raise UnknownModel("No version was promoted before this one: there is nothing to go back to")
        version = self._loaded(history[1])
        self._models.rollback(version.name)
        return version

    def _loaded(self, name: str) -> ModelVersion:
        version, artefact = self._models.get(name)
        self._load(version, artefact)
        return version
