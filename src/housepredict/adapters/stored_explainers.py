"""Explainers of the versions in a model store, loaded when one is first asked for: who asks for none pays for none."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from attrs import define, field

from housepredict.domain.models import Artefact, ModelVersion
from housepredict.domain.ports import Explainer, ModelStore


@define
class StoredExplainers:
    """Keeps the explainer that was asked for last. The demonstration's is in no store."""

    _models: ModelStore
    _load: Callable[[ModelVersion, Artefact], Explainer]
    _demonstration: Explainer | None = None
    _kept: Explainer | None = field(default=None, init=False)
    _lock: Lock = field(factory=Lock, repr=False, init=False)

    def __call__(self, version: ModelVersion) -> Explainer:
        """The explainer of a version. Raises NoExplanation if it has none, UnknownModel, RefusedModel or
        ModelStoreUnavailable.
        """
        if self._demonstration and version.name == self._demonstration.version.name:
            return self._demonstration
        with self._lock:
            if self._kept is None or self._kept.version.name != version.name:
                self._kept = self._load(*self._models.get(version.name))
            return self._kept
