"""The demonstration model: an intercept and three coefficients, to try housepredict with.

`manifest.json` and `serving.npz` are what `housepredict train --synthetic` makes, but for the version's name and the
estimator, which is left out; `tests/integration/test_demonstration.py` holds them against a training.
"""

from __future__ import annotations

from importlib.resources import files

from housepredict.adapters.manifests import from_json
from housepredict.adapters.serving.loader import SERVING_FILE, ServingPredictor, load_predictor


def load_demonstration() -> ServingPredictor:
    """The demonstration model, checked as every other."""
    folder = files(__package__)
    manifest = from_json(folder.joinpath("manifest.json").read_bytes())
    return load_predictor(manifest, {SERVING_FILE: folder.joinpath(SERVING_FILE).read_bytes()})
