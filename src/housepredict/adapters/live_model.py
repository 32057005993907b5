"""The predictor in service: it follows the promoted version, without a restart."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from threading import Lock

from attrs import define, field

from housepredict.domain.errors import HousepredictError, ModelStoreUnavailable, NoModel
from housepredict.domain.ports import ModelStore, Predictor, PredictorLoader

_log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between looks at the store's pointer."""


@define
class LiveModel:
    """Looks at the pointer at most once a second, loads a new version aside and swaps one reference.

    A version that is refused is logged, and what was in service stays. The demonstration serves only while nothing
    has been promoted: never in place of a version that could not be loaded.
    """

    _models: ModelStore
    _load: PredictorLoader
    _demonstration: Predictor | None = None
    _monotonic: Callable[[], float] = time.monotonic
    _serving: Predictor | None = None
    _refused: str | None = None
    _refusal: HousepredictError | None = None
    _looked_at: float = -math.inf
    _lock: Lock = field(factory=Lock, repr=False)

    def current(self) -> Predictor:
        """The predictor in service. Raises NoModel, or why the promoted version was refused if there is no other."""
        # whoever comes while another loads goes on with the version in service, if there is one
        if self._monotonic() - self._looked_at >= LOOK_EVERY and self._lock.acquire(blocking=self._serving is None):
            try:
                self._follow()
                self._looked_at = self._monotonic()
            finally:
                self._lock.release()
        return self.in_service()

    def in_service(self) -> Predictor:
        """The predictor in service as of the last look; see `current`. Costs nothing."""
        if self._serving is None:
            # without the trace of the last time, which would grow with each
            raise self._refusal.with_traceback(None) if self._refusal else NoModel
        return self._serving

    @property
    def refusal(self) -> HousepredictError | None:
        """Why what is in service may not be what is promoted, as of the last look; None if it is."""
        return self._refusal

    def refresh(self) -> None:
        """Look at the pointer at the next call, however recent the last look was."""
        self._looked_at = -math.inf

    def _follow(self) -> None:
        try:
            name = self._models.promoted()
        except ModelStoreUnavailable as error:
            _log.error("the model store cannot be read, the version in service stays: %s", error)
            self._refusal = error
            return
        if name is None:
            self._serving = self._serving or self._demonstration
        elif self._serving is not None and self._serving.version.name == name:
            self._refused, self._refusal = None, None
        elif name != self._refused:
            try:
                self._serving = self._load(*self._models.get(name))
            except HousepredictError as error:
                _log.error("model version %s is refused: %s", name, error)
                self._refusal = error
                # an outage may pass; a damaged version does not mend itself
                self._refused = None if isinstance(error, ModelStoreUnavailable) else name
            else:
                self._refused, self._refusal = None, None
                _log.info("model version %s is in service", name)
