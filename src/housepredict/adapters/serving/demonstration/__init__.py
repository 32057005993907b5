"""The demonstration model: a linear model with three coefficients, for trying out housepredict.

Its files are identical to those that `housepredict train --synthetic` writes, except that the version has another name
and the estimator is omitted. `tests/integration/test_demonstration.py` verifies this.
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
    """Load the predictor of the demonstration model, with the same checks as for any other model."""
    return load_predictor(*read_demonstration())


def load_demonstration_explainer() -> ServingExplainer:
    """Load the explainer of the demonstration model."""
    return load_explainer(*read_demonstration())


def read_demonstration() -> tuple[ModelVersion, Artifact]:
    """Return the demonstration model version and the contents of its files."""
    folder = files(__package__)
    manifest = from_json(folder.joinpath("manifest.json").read_bytes())
    return manifest, {name: folder.joinpath(name).read_bytes() for name in (SERVING_FILE, EXPLANATION_FILE)}
