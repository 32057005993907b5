"""The answers of the Open Inference Protocol, as `answers` describes those of other routes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, assert_never

from housepredict.domain.estimates import LEVELS, Prediction
from housepredict.domain.features import Kind
from housepredict.entrypoints.answers import Count
from housepredict.entrypoints.http.responses import encoded
from housepredict.entrypoints.http.v2.tensors import DATATYPES, to_binary, to_json
from housepredict.entrypoints.json_documents import ITSELF, document, document_class, keywords, part

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
    "warnings": ("BYTES", lambda prediction: " ".join(each.code for each in prediction.estimate.warnings)),
}
"""The outputs: name to datatype, and what it is of a prediction."""


def datatype_of(kind: Kind) -> str:
    """The datatype that a feature's tensor should have."""
    match kind:
        case Kind.NUMBER:
            return "FP64"
        case Kind.INTEGER:
            return "INT64"
        case Kind.BOOLEAN:
            return "BOOL"
        case Kind.CATEGORY | Kind.DATE:
            return "BYTES"
        case _:
            assert_never(kind)


Datatype = Annotated[str, keywords(enum=tuple(sorted(DATATYPES)))]
OutputName = Annotated[str, keywords(enum=tuple(OUTPUTS))]


@document_class
class InferenceErrorAnswer:
    error: str = part(about="All that is wrong, in words.")


@document_class
class InferenceServerAnswer:
    name: str
    version: str
    extensions: Sequence[str]


@document_class
class InferenceLivenessAnswer:
    live: bool


@document_class
class InferenceReadinessAnswer:
    ready: bool


@document_class
class InferenceModelReadinessAnswer:
    name: str
    ready: bool


@document_class
class InputParametersPart:
    kind: Kind
    required: bool


@document_class
class InputPart:
    name: str
    datatype: Datatype = part(lambda feature: datatype_of(feature.kind))
    shape: Sequence[int] = part(lambda _: [-1], "[-1]: any number of houses.")
    parameters: InputParametersPart = part(ITSELF)


@document_class
class OutputPart:
    name: OutputName
    datatype: Datatype
    shape: Sequence[int] = part(lambda _: [-1], "[-1]: any number of houses.")


@document_class
class InferenceModelAnswer:
    name: str = part(lambda _: MODEL)
    versions: Sequence[str] = part(lambda version: [version.name], "The version in service alone.")
    platform: str = part(lambda version: f"housepredict_{version.algorithm}")
    inputs: Sequence[InputPart] = part("schema.features")
    outputs: Sequence[OutputPart] = part(
        lambda _: [OutputPart(name=name, datatype=datatype, shape=()) for name, (datatype, _read) in OUTPUTS.items()]
    )


@document_class
class OutputParametersPart:
    binary_data_size: Count


@document_class
class TensorPart:
    name: OutputName
    datatype: Datatype
    shape: Sequence[Count]
    data: Sequence[Annotated[Any, keywords(type=("number", "string", "null"))]] | None = part(optional=True)
    parameters: OutputParametersPart | None = part(optional=True)


@document_class
class InferenceResponseAnswer:
    model_name: str
    model_version: str
    id: str | None = part(optional=True)
    outputs: Sequence[TensorPart]


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
        parameters = None
        if is_binary:
            binary.append(to_binary(datatype, values))
            parameters = OutputParametersPart(binary_data_size=len(binary[-1]))
        data = None if is_binary else to_json(values)
        outputs.append(TensorPart(name=name, datatype=datatype, shape=[len(values)], data=data, parameters=parameters))
    answer = InferenceResponseAnswer(model_name=MODEL, model_version=version, id=id_, outputs=outputs)
    head = encoded(document(answer))
    return b"".join([head, *binary]), len(head) if binary else None
