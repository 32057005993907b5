"""Tensors, in JSON and in binary, and the answers of the Open Inference Protocol."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, assert_never

from housepredict.domain.estimates import LEVELS, Prediction
from housepredict.domain.features import Kind
from housepredict.domain.validation import Rule, Violation
from housepredict.entrypoints.answers import Count
from housepredict.entrypoints.http.responses import encoded
from housepredict.entrypoints.json_documents import ITSELF, document, document_class, keywords, part

# How `struct` calls the datatypes of a fixed size; in tensors they are little-endian, without padding.
_CODES = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
FLOATS = frozenset({"FP16", "FP32", "FP64"})
INTEGERS = frozenset(name for name in _CODES if "INT" in name)
DATATYPES = frozenset({*_CODES, "BYTES"})
"""BF16 is not among them: it has neither a JSON form nor one in the standard library."""

_LENGTH = struct.Struct("<I")


class InvalidTensor(Exception):
    """A tensor's data are not what its datatype and its shape say; the message begins with a verb."""


def to_binary(datatype: str, values: Sequence[object]) -> bytes:
    """A tensor in binary: texts as UTF-8, a missing number as NaN."""
    if datatype == "BYTES":
        texts = [str(value).encode("utf-8", "replace") for value in values]
        return b"".join([part for text in texts for part in (_LENGTH.pack(len(text)), text)])
    return struct.pack(f"<{len(values)}{_CODES[datatype]}", *values)


def from_binary(datatype: str, content: bytes, count: int) -> Sequence[object]:
    """The values of a tensor in binary; BYTES that are no UTF-8 stay bytes. Raises InvalidTensor."""
    if datatype == "BYTES":
        return _texts(content, count)
    size = count * struct.calcsize(f"<{_CODES[datatype]}")
    if len(content) != size:
        raise InvalidTensor(f"has {len(content)} bytes of binary data, where {count} of {datatype} take {size}")
    return struct.unpack(f"<{count}{_CODES[datatype]}", content)


def _texts(content: bytes, count: int) -> Sequence[object]:
    values: list[object] = []
    at = 0
    while at < len(content) and len(values) < count:
        start = at + _LENGTH.size
        if start > len(content):
            break
        (length,) = _LENGTH.unpack_from(content, at)
        at = start + length
        values.append(_text(content[start:at]))
    if at != len(content) or len(values) != count:
        raise InvalidTensor(f"has binary data that are not {count} texts, each after its length in four bytes")
    return values


def _text(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def to_json(values: Sequence[object]) -> list[object]:
    """A tensor's data in JSON, which has no NaN: null stands for it."""
    return [None if value != value else value for value in values]


def from_json(name: str, datatype: str, data: object, count: int) -> tuple[Sequence[object], list[Violation]]:
    """The values of a tensor's data in JSON, flat or nested, None for null; and what is wrong with any of them.

    Raises InvalidTensor where there are not as many as the shape says.
    """
    flat = _flat(data)
    if len(flat) != count:
        raise InvalidTensor(f"has {len(flat)} values as its data, where its shape takes {count}")
    read = _READERS[datatype]
    values = [None if value is None else read(value) for value in flat]
    violations = [
        Violation(element(name, row), Rule.TYPE, f"must be {datatype}", given)
        for row, (value, given) in enumerate(zip(values, flat, strict=True))
        if value is None and given is not None
    ]
    return values, violations


def _flat(data: object) -> Sequence[object]:
    """A list, or one of lists of single values: shape [n, 1]."""
    if not isinstance(data, list):
        raise InvalidTensor("must have a list as its data")
    if data and all(isinstance(each, list) and len(each) == 1 for each in data):
        return [each[0] for each in data]
    return data


def element(name: str, row: int) -> str:
    """How a value is called in errors."""
    return f"{name}[{row}]"


def _range(datatype: str) -> tuple[int, int]:
    bits = int(datatype.lstrip("UINT"))
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _integer(low: int, high: int, value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and low <= value <= high else None


def _float(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


# What a value in JSON is to a datatype; None where it is none of it.
_READERS: Mapping[str, Callable[[object], object]] = {
    "BOOL": lambda value: value if isinstance(value, bool) else None,
    "BYTES": lambda value: value if isinstance(value, str) else None,
    **dict.fromkeys(FLOATS, _float),
    **{datatype: partial(_integer, *_range(datatype)) for datatype in INTEGERS},
}


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
