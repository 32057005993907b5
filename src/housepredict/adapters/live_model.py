"""The model in service, which follows the promoted version in the model store."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from housepredict.domain.errors import HousepredictError, ModelStoreUnavailable, NoModel, RefusedModel
from housepredict.domain.evaluation.self_test import require_self_test
from housepredict.domain.models import Artifact, ModelVersion, Pointer, verify
from housepredict.domain.ports import Explainer, InService, ModelStore, Predictor, PredictorLoader

if TYPE_CHECKING:
    from housepredict.adapters.postgres.persistent_connection import PostgresAnnouncements

_log = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
"""How many seconds to wait between checks for a newly promoted version."""


@define
class LiveModel:
    """A PredictorSource that checks for a newly promoted version at most once a second.

    A new version is loaded completely before it replaces the version in service. If the new version can't be loaded,
    the reason is logged, and the version in service stays. If no version is promoted at startup, the demo model is put
    in service. If a version is promoted at startup but can't be loaded, no model is in service.
    """

    _models: ModelStore
    _load: PredictorLoader
    _demonstration: Predictor | None = None
    _monotonic: Callable[[], float] = time.monotonic
    serving: InService | None = None
    """The predictor in service as of the last check. None until the first predictor is loaded."""
    refusal: HousepredictError | None = None
    """The error that prevented the last check from putting the promoted version in service, or None."""
    _refused: Pointer | None = None
    _polled_at: float = -math.inf
    _lock: Lock = field(factory=Lock, repr=False)

    def current(self) -> InService:
        # While another thread loads a version, use the version in service. If there is none, wait for that thread.
        if self._monotonic() - self._polled_at >= POLL_INTERVAL_S and self._lock.acquire(blocking=self.serving is None):
            try:
                self._follow()
            finally:
                self._lock.release()
        return self.in_service()

    def in_service(self) -> InService:
        if self.serving is None:
            # Raising the same error again would add to its traceback each time.
            raise self.refusal.with_traceback(None) if self.refusal else NoModel
        return self.serving

    def look(self) -> None:
        """Check for a newly promoted version, even if the last check was recent. If there is one, put it in service."""
        with self._lock:
            self._follow()

    def _follow(self) -> None:
        try:
            pointer = self._models.pointer()
        except ModelStoreUnavailable as error:
            _log.error("the model store is unavailable, so the version in service stays: %s", error)
            self.refusal = error
        else:
            self._apply(pointer)
        self._polled_at = self._monotonic()

    def _apply(self, pointer: Pointer) -> None:
        if pointer.name is None:
            if self.serving is None and self._demonstration:
                self.serving = InService(self._demonstration)
        elif self.serving is not None and self.serving.version.name == pointer.name:
            if pointer.generation not in (None, self.serving.generation):
                self.serving = evolve(self.serving, generation=pointer.generation)
            self._refused, self.refusal = None, None
        elif pointer != self._refused:
            try:
                predictor = self._load(*self._models.get(pointer.name))
            except HousepredictError as error:
                _log.error("model version %s was refused: %s", pointer.name, error)
                self.refusal = error
                # An outage may end, but a damaged version stays damaged, so don't load it again.
                self._refused = None if isinstance(error, ModelStoreUnavailable) else pointer
            else:
                self.serving = InService(predictor, pointer.generation)
                self._refused, self.refusal = None, None
                _log.info("model version %s is in service, generation %s", pointer.name, pointer.generation)


@define
class Follower:
    """A thread that checks for a newly promoted version once a second, and whenever a promotion is announced.

    The thread calls `publish` after each check.
    """

    _live: LiveModel
    _publish: Callable[[], None]
    _announcements: PostgresAnnouncements | None = None
    _poll_interval_s: float = POLL_INTERVAL_S
    _stopping: Event = field(factory=Event, init=False, repr=False)
    _thread: Thread | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        self._thread = Thread(target=self._run, name="housepredict-follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and wait for it to exit."""
        self._stopping.set()
        if self._announcements:
            self._announcements.end()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._live.look()
            except Exception:  # noqa: BLE001  # the thread must outlive any error of a store
                _log.exception("polling the promoted version failed unexpectedly")
            self._publish()
            if self._announcements:
                self._announcements.wait(self._poll_interval_s)
            else:
                self._stopping.wait(self._poll_interval_s)
        if self._announcements:
            self._announcements.close()


@define
class StoredExplainers:
    """A source of explainers. It loads them from the model store and caches the last one used.

    The demo model isn't in the store, so the caller passes its explainer as `demonstration`.
    """

    _models: ModelStore
    _load: Callable[[ModelVersion, Artifact], Explainer]
    _demonstration: Explainer | None = None
    _cached: Explainer | None = field(default=None, init=False)
    _lock: Lock = field(factory=Lock, repr=False, init=False)

    def __call__(self, version: ModelVersion) -> Explainer:
        """Return the explainer for a version.

        Raises:
            NoExplanation: if the version was trained by a release that didn't support explanations.
            UnknownModel: if the version is not stored.
            RefusedModel: if the version is damaged.
            ModelStoreUnavailable: if the store can't be read.
        """
        if self._demonstration and version.name == self._demonstration.version.name:
            return self._demonstration
        with self._lock:
            if self._cached is None or self._cached.version.name != version.name:
                self._cached = self._load(*self._models.get(version.name))
            return self._cached


@define
class CheckedLoader:
    """A PredictorLoader that makes a plug-in's loader as safe as the built-in loader.

    It verifies the version's files before it calls the plug-in's loader, and then runs the self-test on the predictor.
    If the plug-in raises an exception that isn't a HousepredictError, this loader raises RefusedModel instead, so that
    the version in service stays. `name` is the name of the plug-in for messages.
    """

    _name: str
    _load: PredictorLoader

    def __call__(self, version: ModelVersion, artifact: Artifact) -> Predictor:
        verify(version, artifact)
        try:
            predictor = self._load(version, artifact)
            require_self_test(predictor)
        except HousepredictError:
            raise
        except Exception as error:  # a plug-in may raise anything
            raise RefusedModel(
                f"Model version {version.name} could not be loaded by the plug-in {self._name}: {error!r}"
            ) from error
        return predictor
