"""A model store that lives as long as the process: for tests, and for whoever keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from types import MappingProxyType

from attrs import define, field

from housepredict.domain.errors import TrainingInProgress, UnknownModel
from housepredict.domain.models import Artefact, ModelVersion, Pointer, verify


@define
class InMemoryModels:
    """Keeps model versions in memory, for any number of threads."""

    _kept: dict[str, tuple[ModelVersion, Artefact]] = field(init=False, factory=dict, repr=False)
    _history: list[str] = field(init=False, factory=list)
    _generation: int = field(init=False, default=0)
    _lock: Lock = field(init=False, factory=Lock, repr=False)
    _training: Lock = field(init=False, factory=Lock, repr=False)

    def add(self, version: ModelVersion, artefact: Artefact) -> None:
        """Keep a version; see ModelStore."""
        verify(version, artefact)
        with self._lock:
            self._kept.setdefault(version.name, (version, MappingProxyType(dict(artefact))))

    def versions(self) -> Sequence[ModelVersion]:
        """Every version, oldest first."""
        with self._lock:
            versions = [version for version, _ in self._kept.values()]
        return sorted(versions, key=lambda version: (version.created_at, version.name))

    def get(self, name: str) -> tuple[ModelVersion, Artefact]:
        """A version and its files. Raises UnknownModel."""
        with self._lock:
            if name not in self._kept:
                raise UnknownModel(f"There is no model version {name!r}")
            return self._kept[name]

    def promote(self, name: str) -> None:
        """Point at a version. Raises UnknownModel."""
        with self._lock:
            if name not in self._kept:
                raise UnknownModel(f"There is no model version {name!r}")
            if self._history[:1] != [name]:
                self._history.insert(0, name)
                self._generation += 1

    def rollback(self, name: str) -> None:
        """Point at a version of the history again. Raises UnknownModel."""
        with self._lock:
            if name not in self._history:
                raise UnknownModel(f"Model version {name!r} was not promoted before")
            if self._history[0] != name:
                del self._history[: self._history.index(name)]
                self._generation += 1

    def history(self) -> Sequence[str]:
        """The promoted version, the one that was promoted before it, and so on."""
        with self._lock:
            return tuple(self._history)

    def pointer(self) -> Pointer:
        """Which version is promoted."""
        with self._lock:
            return Pointer(next(iter(self._history), None), self._generation)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Held by whoever trains. Raises TrainingInProgress."""
        if not self._training.acquire(blocking=False):
            raise TrainingInProgress
        try:
            yield
        finally:
            self._training.release()
