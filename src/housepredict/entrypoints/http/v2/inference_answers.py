"""Tensors in JSON and in binary, and the response documents of the Open Inference Protocol."""

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
from housepredict.entrypoints.http.responses import encode_json
from housepredict.entrypoints.json_documents import ITSELF, document, document_class, keywords, part

# The `struct` codes of the datatypes with a fixed size. Tensors are little-endian, without padding.
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
"""The supported datatypes: all except BF16, which neither JSON nor the Python standard library supports."""

_LENGTH = struct.Struct("<I")


class InvalidTensor(Exception):
    """A tensor's data don't match its datatype or shape. Error responses prefix the message with the tensor's name."""


def to_binary(datatype: str, values: Sequence[object]) -> bytes:
    """Encode the values of a tensor in binary. Strings are encoded as UTF-8. Pass missing numbers as NaN."""
    if datatype == "BYTES":
        texts = [str(value).encode("utf-8", "replace") for value in values]
        return b"".join([part for text in texts for part in (_LENGTH.pack(len(text)), text)])
    return struct.pack(f"<{len(values)}{_CODES[datatype]}", *values)


def from_binary(datatype: str, content: bytes, count: int) -> Sequence[object]:
    """Decode a binary tensor.

    Returns:
        The values. BYTES values are returned as strings, or as bytes if they aren't valid UTF-8.

    Raises:
        InvalidTensor: if the content doesn't consist of `count` values.
    """
    if datatype == "BYTES":
        return _texts(content, count)
    size = count * struct.calcsize(f"<{_CODES[datatype]}")
    if len(content) != size:
        raise InvalidTensor(f"must have binary data of size {size} for {count} {datatype}, not {len(content)}")
    return struct.unpack(f"<{count}{_CODES[datatype]}", content)


def _texts(content: bytes, count: int) -> Sequence[object]:
    values: list[object] = []
    position = 0
    while position < len(content) and len(values) < count:
        start = position + _LENGTH.size
        if start > len(content):
            break
        (length,) = _LENGTH.unpack_from(content, position)
        position = start + length
        values.append(_text(content[start:position]))
    if position != len(content) or len(values) != count:
        raise InvalidTensor(f"must have {count} strings to match its shape, each preceded by its length (4 bytes)")
    return values


def _text(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def to_json(values: Sequence[object]) -> list[object]:
    """Return the values of a tensor for JSON, with None in place of NaN."""
    return [None if value != value else value for value in values]


def from_json(name: str, datatype: str, data: object, count: int) -> tuple[Sequence[object], list[Violation]]:
    """Convert a tensor's JSON data, which is a list of values or of one-element lists.

    Returns:
        The values (None for null and for invalid values), and the violations.

    Raises:
        InvalidTensor: if the data is not a list of `count` values.
    """
    flat = _flat(data)
    if len(flat) != count:
        raise InvalidTensor(f"must have {count} values in `data` to match its shape, not {len(flat)}")
    read = _READERS[datatype]
    values = [None if value is None else read(value) for value in flat]
    violations = [
        Violation(element(name, row), Rule.TYPE, f"must be {datatype}", item)
        for row, (value, item) in enumerate(zip(values, flat, strict=True))
        if value is None and item is not None
    ]
    return values, violations


def _flat(data: object) -> Sequence[object]:
    """Return data as a list of values. Data of shape [n, 1] is flattened."""
    if not isinstance(data, list):
        raise InvalidTensor("must have a list as `data`")
    if data and all(isinstance(row, list) and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return data


def element(name: str, row: int) -> str:
    """Return the name of a tensor element for error messages, such as `size[3]`."""
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


# Convert a JSON value to a datatype, or return None if it is invalid.
_READERS: Mapping[str, Callable[[object], object]] = {
    "BOOL": lambda value: value if isinstance(value, bool) else None,
    "BYTES": lambda value: value if isinstance(value, str) else None,
    **dict.fromkeys(FLOATS, _float),
    **{datatype: partial(_integer, *_range(datatype)) for datatype in INTEGERS},
}


MODEL = "housepredict"
"""The name of the only model that this protocol serves. Its only version is the model version in service."""


def _bound(level: int, name: str) -> Callable[[Prediction], object]:
    def bound(prediction: Prediction) -> object:
        intervals = prediction.estimate.intervals
        return next((getattr(interval, name) for interval in intervals if interval.level == level), math.nan)

    return bound


OUTPUTS: Mapping[str, tuple[str, Callable[[Prediction], object]]] = {
    "price": ("FP64", lambda prediction: prediction.price),
    **{f"{name}_{level}": ("FP64", _bound(level, name)) for level in LEVELS for name in ("low", "high")},
    "id": ("BYTES", lambda prediction: str(prediction.id)),
    "warnings": ("BYTES", lambda prediction: " ".join(warning.code for warning in prediction.estimate.warnings)),
}
"""Maps each output name to a datatype, and to a function that returns the output's value for a prediction."""


def datatype_of(kind: Kind) -> str:
    """Return the recommended datatype for the tensor of a feature of this kind."""
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
    error: str = part(about="What is wrong. Lists every violation.")


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
    shape: Sequence[int] = part(lambda _: [-1], "Always [-1], for any number of houses.")
    parameters: InputParametersPart = part(ITSELF)


@document_class
class OutputPart:
    name: OutputName
    datatype: Datatype
    shape: Sequence[int] = part(lambda _: [-1], "Always [-1], for any number of houses.")


@document_class
class InferenceModelAnswer:
    name: str = part(lambda _: MODEL)
    versions: Sequence[str] = part(lambda version: [version.name], "Only the version in service.")
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


def encode_answer(
    id_: str | None, requested: Mapping[str, bool], version: str, predictions: Sequence[Prediction]
) -> tuple[bytes, int | None]:
    """Encode an inference response. `requested` maps the name of each output to whether it is encoded in binary.

    Returns:
        The response body, and the length of its JSON in bytes (None if no binary outputs follow the JSON).
    """
    outputs, binary = [], []
    for name, is_binary in requested.items():
        datatype, read = OUTPUTS[name]
        values = [read(prediction) for prediction in predictions]
        parameters = None
        if is_binary:
            binary.append(to_binary(datatype, values))
            parameters = OutputParametersPart(binary_data_size=len(binary[-1]))
        data = None if is_binary else to_json(values)
        outputs.append(TensorPart(name=name, datatype=datatype, shape=[len(values)], data=data, parameters=parameters))
    answer = InferenceResponseAnswer(model_name=MODEL, model_version=version, id=id_, outputs=outputs)
    head = encode_json(document(answer))
    return b"".join([head, *binary]), len(head) if binary else None
