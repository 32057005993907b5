"""From the files of a model version to what moved its estimates, or to the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from attrs import define

from housepredict.adapters.serving.attribution import Contributions
from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.loader import EXPLANATION_FILE, SERVING_FILE, PackedAttribution, Unpack, unpack
from housepredict.domain.errors import NoExplanation, RefusedModel
from housepredict.domain.explanations import Contribution, Explanation, Unit
from housepredict.domain.features import House
from housepredict.domain.models import Algorithm, Artefact, ModelVersion, verify


@define
class ServingExplainer:
    """Explains with a version's serving form and the file beside it."""

    version: ModelVersion
    _contributions: Contributions
    _encode: Encoder

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        """An explanation for each house, in order; see ports.Explainer."""
        unit = _unit_of(self.version.algorithm)
        players = self._contributions.players
        names = [
            tuple(
                feature.name
                for feature, own in zip(self.version.schema.features, players, strict=True)
                if own == player
            )
            for player in range(players.max(initial=-1) + 1)
        ]
        return [
            Explanation(unit, self._contributions.base, tuple(map(Contribution, names, amounts)))
            for amounts in self._contributions(self._encode(houses)).tolist()
        ]


def load_explainer(version: ModelVersion, artefact: Artefact, unpack: Unpack = unpack) -> ServingExplainer:
    """The explainer of a version.

    Raises NoExplanation if it has none, and RefusedModel unless the files are those of the manifest, fit each other,
    and explain the houses of the self-test.
    """
    verify(version, artefact)
    if EXPLANATION_FILE not in artefact:
        raise NoExplanation
    form = unpack(artefact[SERVING_FILE], version.algorithm)
    try:
        contributions = Contributions.of(form, PackedAttribution(artefact[EXPLANATION_FILE]))
    except ValueError as error:
        raise RefusedModel(f"{EXPLANATION_FILE} is of another model than {SERVING_FILE}: {error}") from error
    encode = Encoder(version.schema)
    contributions.prove(encode([test.house for test in version.self_test]))
    return ServingExplainer(version, contributions, encode)


def _unit_of(algorithm: Algorithm) -> Unit:
    match algorithm:
        case Algorithm.LINEAR:
            return Unit.PRICE
        case Algorithm.RIDGE | Algorithm.BOOSTING:
            return Unit.LOG_PRICE
        case Algorithm.AUTO:
            raise ValueError("auto is a training option, not the algorithm of a model")
        case _:
            assert_never(algorithm)
