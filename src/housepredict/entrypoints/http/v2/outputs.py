"""The outputs: the tensors that estimates are, and the answers that hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from housepredict.domain.estimates import LEVELS, Prediction
from housepredict.entrypoints.http.answers import encoded
from housepredict.entrypoints.http.v2.tensors import to_binary, to_json

MODEL = "housepredict"
"""The one model's name; its version is the name of the model version in service."""


def _bound(level: int, name: str) -> Callable[[Prediction], object]:
    def bound(prediction: Prediction) -> object:
        intervals = prediction.estimate.intervals
        return next((getattr(each, name) for each in intervals if each.level == level), math.nan)

    return bound


OUTPUTS: Mapping[str, tuple[str, Callable[[Prediction], object]]] = {
    "price": ("FP64", lambda prediction: prediction.price),
    **{f"{name}_{level}": ("FP64", _bound(level, name)) for level in LEVELS for name in ("low", "high")},
    "id": ("BYTES", lambda prediction: str(prediction.id)),
    "warnings": ("BYTES", lambda prediction: " ".join(each.code for each in prediction.estimate.caveats)),
}
"""The outputs: name to datatype, and what it is of a prediction."""


def answer_to(
    id_: str | None, asked: Mapping[str, bool], version: str, predictions: Sequence[Prediction]
) -> tuple[bytes, int | None]:
    """The body of an answer with the outputs asked for, True for one in binary; and where its JSON ends if such
    follow it.
    """
    outputs, binary = [], []
    for name, is_binary in asked.items():
        datatype, of = OUTPUTS[name]
        values = [of(each) for each in predictions]
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [len(values)]}
        if is_binary:
            binary.append(to_binary(datatype, values))
            output["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            output["data"] = to_json(values)
        outputs.append(output)
    named = {} if id_ is None else {"id": id_}
    document = {"model_name": MODEL, "model_version": version, **named, "outputs": outputs}
    head = encoded(document)
    return b"".join([head, *binary]), len(head) if binary else None
