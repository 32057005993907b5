"""An application that uses neither files nor the network, for testing housepredict and programs that use it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from attrs import evolve

from housepredict.adapters.memory import InMemoryModels, InMemoryTrainings
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.domain.ports import Clock, Predictor
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import IN_MEMORY, Settings
from housepredict.entrypoints.training_processes import TrainingThreads


def in_memory(model: Predictor | None = None, clock: Clock | None = None, **settings: Any) -> Application:
    """Return an application that stores everything in memory and trains models in threads of this process.

    Args:
        model: the model to promote, or None to have no model in service.
        clock: the clock; by default, the system clock.
        **settings: further settings, named like the fields of Settings.
    """
    # no file can be created in this data directory
    application = Application(Settings(data_dir=Path(os.devnull), database_url=IN_MEMORY, **settings))
    application.storage.model_store = InMemoryModels()
    application.storage.training_log = InMemoryTrainings()
    application.training_jobs = TrainingThreads(application.run_training, lambda: application.live_model.look())  # noqa: PLW0108  # live_model is created on first use
    if clock is not None:
        application.clock = clock
    if model is not None:
        _promote(application, model)
    return application


def _promote(application: Application, model: Predictor) -> None:
    version = evolve(model.version, digests={})
    application.models.add(version, {})
    application.models.promote(version.name)

    def load(version: ModelVersion, artifact: Artifact) -> Predictor:
        if version.name == model.version.name:
            return model
        from housepredict.adapters.serving.loader import load_predictor

        return load_predictor(version, artifact)

    application.load_predictor = load
