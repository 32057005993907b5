"""The model in service, which follows the promoted version."""

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

LOOK_EVERY = 1.0
"""Seconds between looks at the store's pointer."""


@define
class LiveModel:
    """Looks at the pointer at most once a second, loads a new version aside and swaps one reference.

    If a version is refused, the log has the reason, and the version in service stays. The demonstration serves only
    while nothing has been promoted, never instead of a version that cannot be loaded.
    """

    _models: ModelStore
    _load: PredictorLoader
    _demonstration: Predictor | None = None
    _monotonic: Callable[[], float] = time.monotonic
    serving: InService | None = None
    """What is in service as of the last look; None before there is anything."""
    refusal: HousepredictError | None = None
    """Why what is in service may not be the promoted version, as of the last look; None if it is."""
    _refused: Pointer | None = None
    _looked_at: float = -math.inf
    _lock: Lock = field(factory=Lock, repr=False)

    def current(self) -> InService:
        # while another thread loads a version, the one in service goes on, if there is one
        if self._monotonic() - self._looked_at >= LOOK_EVERY and self._lock.acquire(blocking=self.serving is None):
            try:
                self._follow()
            finally:
                self._lock.release()
        return self.in_service()

    def in_service(self) -> InService:
        if self.serving is None:
            # without the traceback of the last time, which would grow each time
            raise self.refusal.with_traceback(None) if self.refusal else NoModel
        return self.serving

    def look(self) -> None:
        """Look at the pointer now, however recent the last look was. What was promoted before is in service then."""
        with self._lock:
            self._follow()

    def _follow(self) -> None:
        try:
            pointer = self._models.pointer()
        except ModelStoreUnavailable as error:
            _log.error("the model store cannot be read, the version in service stays: %s", error)
            self.refusal = error
        else:
            self._take_up(pointer)
        self._looked_at = self._monotonic()

    def _take_up(self, pointer: Pointer) -> None:
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
                _log.error("model version %s is refused: %s", pointer.name, error)
                self.refusal = error
                # an outage may end; a damaged version stays damaged
                self._refused = None if isinstance(error, ModelStoreUnavailable) else pointer
            else:
                self.serving = InService(predictor, pointer.generation)
                self._refused, self.refusal = None, None
                _log.info("model version %s is in service, generation %s", pointer.name, pointer.generation)


@define
class Follower:
    """A thread that looks at the pointer once a second, and at once if there are `announcements`, until it is closed.

    It calls `publish` after each look.
    """

    _live: LiveModel
    _publish: Callable[[], None]
    _announcements: PostgresAnnouncements | None = None
    _look_every: float = LOOK_EVERY
    _stopping: Event = field(factory=Event, init=False, repr=False)
    _thread: Thread | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Follow, in a thread."""
        self._thread = Thread(target=self._run, name="housepredict-follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._stopping.set()
        if self._announcements:
            self._announcements.end()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._live.look()
            except Exception:  # noqa: BLE001  # the thread must outlive whatever a store raises
                _log.exception("following the promoted version failed unexpectedly")
            self._publish()
            if self._announcements:
                self._announcements.wait(self._look_every)
            else:
                self._stopping.wait(self._look_every)
        if self._announcements:
            self._announcements.close()


@define
class StoredExplainers:
    """Keeps the explainer that was used last. That of the demonstration is in no store."""

    _models: ModelStore
    _load: Callable[[ModelVersion, Artifact], Explainer]
    _demonstration: Explainer | None = None
    _kept: Explainer | None = field(default=None, init=False)
    _lock: Lock = field(factory=Lock, repr=False, init=False)

    def __call__(self, version: ModelVersion) -> Explainer:
        """Load the explainer of a version.

        Raises: NoExplanation, UnknownModel, RefusedModel, ModelStoreUnavailable.
        """
        if self._demonstration and version.name == self._demonstration.version.name:
            return self._demonstration
        with self._lock:
            if self._kept is None or self._kept.version.name != version.name:
                self._kept = self._load(*self._models.get(version.name))
            return self._kept


@define
class CheckedLoader:
    """A PredictorLoader around that of a plug-in, held to the promises of housepredict's own.

    It verifies the files before the plug-in sees them, requires the self-test, and refuses the version whatever the
    plug-in raises, so that the one in service stays.
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
        except Exception as error:  # the plug-in may raise anything
            raise RefusedModel(
                f"Model version {version.name} cannot be loaded by the plug-in {self._name}: {error!r}"
            ) from error
        return predictor
