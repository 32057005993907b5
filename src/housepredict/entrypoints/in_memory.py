"""The application without any file or network: for tests, of this project and of those who use it."""

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
    """An application that keeps everything in memory, and trains in threads of this process.

    `model` is promoted, by the name of its version, whose files nobody asks for; without one, none is. `clock` is the
    system's if it is not given, and `settings` are those of Settings.
    """
    # a data folder that nothing can be written to, should anything try
    made = Application(Settings(data_dir=Path(os.devnull), database_url=IN_MEMORY, **settings))
    made.storage.model_store = InMemoryModels()
    made.storage.training_log = InMemoryTrainings()
    made.training_jobs = TrainingThreads(made.run_training, lambda: made.live_model.look())  # noqa: PLW0108  # made once it is asked for
    if clock is not None:
        made.clock = clock
    if model is not None:
        _promote(made, model)
    return made


def _promote(made: Application, model: Predictor) -> None:
    version = evolve(model.version, digests={})
    made.models.add(version, {})
    made.models.promote(version.name)

    def load(version: ModelVersion, artifact: Artifact) -> Predictor:
        if version.name == model.version.name:
            return model
        from housepredict.adapters.serving.loader import load_predictor

        return load_predictor(version, artifact)

    made.load_predictor = load
