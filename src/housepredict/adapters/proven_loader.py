"""Somebody else's loader of model versions, held to what housepredict's own promises."""

from __future__ import annotations

from attrs import define

from housepredict.domain.errors import HousepredictError, RefusedModel
from housepredict.domain.models import Artefact, ModelVersion, verify
from housepredict.domain.ports import Predictor, PredictorLoader
from housepredict.domain.self_test import require_self_test


@define
class ProvenLoader:
    """A PredictorLoader around the one of a plug-in.

    The files are looked at before that sees them, the self-test has to be passed, and whatever goes wrong refuses the
    version, so that the one in service stays.
    """

    _name: str
    _load: PredictorLoader

    def __call__(self, version: ModelVersion, artefact: Artefact) -> Predictor:
        """The predictor of a version. Raises RefusedModel."""
        verify(version, artefact)
        try:
            predictor = self._load(version, artefact)
            require_self_test(predictor)
        except HousepredictError:
            raise
        except Exception as error:  # of code that nobody here has seen
            raise RefusedModel(
                f"Model version {version.name} cannot be loaded by the plug-in {self._name}: {error!r}"
            ) from error
        return predictor
