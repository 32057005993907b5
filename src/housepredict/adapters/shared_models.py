"""A model store that others share, with copies in one of our own: a version once served needs the others no more."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager

from attrs import define, field

from housepredict.domain.errors import ModelStoreUnavailable, RefusedModel, UnknownModel
from housepredict.domain.models import Artefact, ModelVersion, Pointer
from housepredict.domain.ports import ModelStore

_log = logging.getLogger(__name__)


@define
class SharedModels:
    """Keeps model versions in `shared`, and copies of those that were asked for in `own`.

    While `shared` cannot be reached, the version that it pointed at last stays promoted. What `own` has promoted before
    anything is promoted in `shared` is handed over: whoever takes up a shared store goes on with the model in service.
    """

    _shared: ModelStore
    _own: ModelStore
    _cut_off: bool = field(default=False, init=False)
    _pointed_at: Pointer = field(default=Pointer(), init=False)

    def add(self, version: ModelVersion, artefact: Artefact) -> None:
        """Keep a version; see ModelStore."""
        self._shared.add(version, artefact)

    def versions(self) -> Sequence[ModelVersion]:
        """Every version, oldest first."""
        return self._shared.versions()

    def get(self, name: str) -> tuple[ModelVersion, Artefact]:
        """A version and its files, from the copy if there is one. Raises UnknownModel, or RefusedModel."""
        try:
            found = self._own.get(name)
        except (UnknownModel, RefusedModel, ModelStoreUnavailable):
            found = self._shared.get(name)
        try:
            self._own.add(*found)
            if name == self._pointed_at.name:
                self._own.promote(name)
        except ModelStoreUnavailable as error:
            _log.warning("model version %s is not kept here: %s", name, error)
        return found

    def promote(self, name: str) -> None:
        """Point at a version. Raises UnknownModel."""
        self._shared.promote(name)

    def rollback(self, name: str) -> None:
        """Point at a version of the history again. Raises UnknownModel."""
        self._shared.rollback(name)

    def history(self) -> Sequence[str]:
        """The promoted version, the one that was promoted before it, and so on."""
        return self._shared.history()

    def pointer(self) -> Pointer:
        """Which version is promoted."""
        try:
            pointer = self._shared.pointer()
            if pointer.name is None:
                pointer = self._handed_over() or pointer
        except ModelStoreUnavailable as error:
            name = self._own.pointer().name
            if name is None:
                raise
            if not self._cut_off:
                _log.warning("model version %s stays promoted until it can be asked which is: %s", name, error)
            self._cut_off = True
            return self._pointed_at if name == self._pointed_at.name else Pointer(name, None)
        self._cut_off, self._pointed_at = False, pointer
        return pointer

    def training(self) -> AbstractContextManager[None]:
        """Held by whoever trains. Raises TrainingInProgress."""
        return self._shared.training()

    def _handed_over(self) -> Pointer | None:
        name = self._own.pointer().name
        if name is None:
            return None
        self._shared.add(*self._own.get(name))
        self._shared.promote(name)
        _log.info("model version %s is handed over to the shared store", name)
        return self._shared.pointer()
