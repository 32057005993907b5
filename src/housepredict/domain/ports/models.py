"""Where model versions are kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from housepredict.domain.models import Artefact, ModelVersion, Pointer


class ModelStore(Protocol):
    """Keeps model versions, which never change, and one pointer to the promoted version.

    Raises ModelStoreUnavailable when it cannot.
    """

    def add(self, version: ModelVersion, artefact: Artefact) -> None:
        """Keep a version, wholly or not at all. A version that is there already is left as it is.

        Raises RefusedModel if the files are not those of the manifest (see models.verify).
        """

    def versions(self) -> Sequence[ModelVersion]:
        """Every version, oldest first; a damaged one is left out."""

    def get(self, name: str) -> tuple[ModelVersion, Artefact]:
        """A version and its files. Raises UnknownModel, or RefusedModel if it is damaged."""

    def promote(self, name: str) -> None:
        """Point at a version, and remember the one before. Raises UnknownModel, and then leaves the pointer.

        Promoting the promoted version changes nothing.
        """

    def rollback(self, name: str) -> None:
        """Point at a version of the history again, and forget those that were promoted after it.

        Raises UnknownModel, and then leaves the pointer, if it is not in the history or not kept.
        """

    def history(self) -> Sequence[str]:
        """The promoted version, the one that was promoted before it, and so on: at least a hundred, if so many were."""

    def pointer(self) -> Pointer:
        """Which version is promoted."""

    def training(self) -> AbstractContextManager[None]:
        """Held by whoever trains: raises TrainingInProgress at once if another does, in whatever process.

        One that was killed holds nothing any more.
        """
