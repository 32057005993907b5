"""The demonstration model: an intercept and three coefficients, to try housepredict with.

Its files are what `housepredict train --synthetic` makes, but for the version's name and the estimator, which is left
out; `tests/integration/test_demonstration.py` holds them against a training.
"""

from __future__ import annotations

from importlib.resources import files

from housepredict.adapters.documents import from_json
from housepredict.adapters.serving.loader import (
    EXPLANATION_FILE,
    SERVING_FILE,
    ServingExplainer,
    ServingPredictor,
    load_explainer,
    load_predictor,
)
from housepredict.domain.models import Artifact, ModelVersion


def load_demonstration() -> ServingPredictor:
    """The demonstration model, checked as every other."""
    return load_predictor(*read_demonstration())


def load_demonstration_explainer() -> ServingExplainer:
    """What explains its estimates."""
    return load_explainer(*read_demonstration())


def read_demonstration() -> tuple[ModelVersion, Artifact]:
    """The version, and its files."""
    folder = files(__package__)
    manifest = from_json(folder.joinpath("manifest.json").read_bytes())
    return manifest, {name: folder.joinpath(name).read_bytes() for name in (SERVING_FILE, EXPLANATION_FILE)}
