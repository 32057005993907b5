"""Parsing of inference requests: the houses in the tensors, and the requested outputs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, assert_never

from attrs import define, evolve, field, frozen

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.features import Feature, FeatureSchema, Kind, check_value
from housepredict.domain.validation import Rule, Violation
from housepredict.entrypoints.http.requests import decode
from housepredict.entrypoints.http.v2.inference_answers import (
    DATATYPES,
    FLOATS,
    INTEGERS,
    OUTPUTS,
    InvalidTensor,
    datatype_of,
    element,
    from_binary,
    from_json,
)


@frozen
class Inference:
    """An inference request. `outputs` maps the name of each requested output to whether it is sent in binary."""

    id: str | None
    houses: Sequence[Mapping[str, object]]
    outputs: Mapping[str, bool]


def read_inference(schema: FeatureSchema, body: bytes, header_length: str | None, max_houses: int) -> Inference:
    """Parse an inference request.

    Args:
        schema: the schema of the model version in service.
        body: the body of the request.
        header_length: the value of `Inference-Header-Content-Length`: the length of the JSON in bytes, if binary
            tensors follow it.
        max_houses: the maximum number of houses.

    Raises:
        InvalidHouses: if the request is invalid. The error lists all violations. If there are too many houses, it lists
            this violation alone.
        Problem: if the body is not JSON.
    """
    head, rest = _split(body, header_length)
    reader = _Reader(schema, max_houses, rest)
    request = decode(head)
    if not isinstance(request, dict):
        raise InvalidHouses([Violation("", Rule.TYPE, "the request must be an object")])
    reader.reject_duplicates("the request", request)
    inference = Inference(reader.id(request), reader.houses(request), reader.outputs(request))
    if reader.violations:
        raise InvalidHouses(reader.violations)
    return inference


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not re.fullmatch(r"\d{1,18}", header_length, re.ASCII) or int(header_length) > len(body):
        message = f"must be a number of bytes from 0 to {len(body)}, the size of the body"
        raise InvalidHouses([Violation("Inference-Header-Content-Length", Rule.BOUNDS, message, header_length)])
    return body[: int(header_length)], memoryview(body)[int(header_length) :]


@define
class _Reader:
    """Parses a request, and collects violations. `rest` is the binary data that has not been read yet."""

    _schema: FeatureSchema
    _max_houses: int
    rest: memoryview
    violations: list[Violation] = field(factory=list)

    def reject(self, where: str, rule: Rule, message: str, value: object = None) -> None:
        """Add a violation. `where` names the part of the request that is invalid, such as `size[3]`."""
        self.violations.append(Violation(where, rule, message, value))

    def reject_duplicates(self, where: str, obj: Mapping[str, object]) -> None:
        """Add a violation for each duplicate name in a JSON object. `where` names the object."""
        for name in getattr(obj, "repeated", ()):
            self.reject(where, Rule.DUPLICATE, f"has {name!r} more than once")

    def id(self, request: Mapping[str, object]) -> str | None:
        """Return the id of the request, or None."""
        id_ = request.get("id")
        if id_ is not None and not isinstance(id_, str):
            self.reject("id", Rule.TYPE, "must be text", id_)
        return id_ if isinstance(id_, str) else None

    def houses(self, request: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """Return the houses in the input tensors (one tensor per feature), or no houses if there are violations."""
        tensors = self._by_name("inputs", request.get("inputs"))
        sent_features = [self._schema.named(name) for name in tensors]
        columns: dict[str, Sequence[object]] = {}
        counts = set()
        for name, tensor in tensors.items():
            feature = self._schema.named(name)
            values = self._tensor(name, tensor, feature)
            if values is None or feature is None:
                continue
            if feature.name in columns:
                self.reject(name, Rule.DUPLICATE, f"duplicate input for {feature.name}")
            counts.add(len(values))
            columns[feature.name] = [_value(feature, value) for value in values]
        if self.rest and not self.violations:
            self.reject("the body", Rule.BOUNDS, f"has {len(self.rest):,} B of binary data that no input uses")
        for feature in self._schema.features:
            if feature.required and feature not in sent_features:
                self.reject(feature.name, Rule.MISSING, f"is missing: send an input of {datatype_of(feature.kind)}")
        if len(counts) > 1:
            self.reject("inputs", Rule.TYPE, "must all have the same number of houses")
        if self.violations:
            self._check(columns)
            return ()
        houses: list[dict[str, object]] = [{} for _ in range(max(counts, default=0))]
        for name, values in columns.items():
            for house, value in zip(houses, values, strict=True):
                if value is not None:
                    house[name] = value
        return houses

    def outputs(self, request: Mapping[str, Any]) -> Mapping[str, bool]:
        """Return the name of each requested output, and whether it is sent in binary.

        If the request doesn't list outputs, all outputs are requested.
        """
        parameters = self._parameters("the request", request)
        binary = parameters.get("binary_data_output") is True
        if request.get("outputs") in (None, []):
            return dict.fromkeys(OUTPUTS, binary)
        requested = {}
        for name, output in self._by_name("outputs", request["outputs"]).items():
            if name not in OUTPUTS:
                self.reject(name, Rule.UNKNOWN, f"not an output of this model: use {', '.join(OUTPUTS)}")
            parameters = self._parameters(name, output)
            for unsupported in ("classification", "shared_memory_region"):
                if unsupported in parameters:
                    self.reject(name, Rule.UNKNOWN, f"{unsupported} is not supported")
            requested[name] = parameters.get("binary_data", binary) is True
        return requested

    def _by_name(self, list_name: str, items: object) -> Mapping[str, Mapping[str, Any]]:
        """Map the name of each tensor in `items` to the tensor. `list_name` is what error messages call `items`."""
        if not isinstance(items, list) or not items:
            self.reject(list_name, Rule.TYPE, "must be a list of tensors")
            return {}
        tensors: dict[str, Mapping[str, Any]] = {}
        for position, item in enumerate(items):
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(name, str):
                self.reject(element(list_name, position), Rule.TYPE, "must be an object with a name", item)
                continue
            self.reject_duplicates(name, item)
            if name in tensors:
                self.reject(name, Rule.DUPLICATE, f"appears more than once in {list_name}")
            tensors[name] = item
        return tensors

    def _parameters(self, where: str, obj: Mapping[str, Any]) -> Mapping[str, Any]:
        parameters = obj.get("parameters")
        if parameters is None or isinstance(parameters, dict):
            return parameters or {}
        self.reject(where, Rule.TYPE, "must have an object in `parameters`", parameters)
        return {}

    def _tensor(self, name: str, tensor: Mapping[str, Any], feature: Feature | None) -> Sequence[object] | None:
        """Return the values of an input tensor, or None if the tensor is invalid.

        `feature` is None if the model has no feature with the tensor's name.
        """
        try:
            binary = self._binary(name, tensor)
            if feature is None:
                self.reject(name, Rule.UNKNOWN, "not a feature of this model")
                return None
            datatype, count = _datatype(tensor, feature), _count(tensor)
            if count > self._max_houses:
                message = f"must have at most {self._max_houses:,} houses, not {count:,}"
                raise InvalidHouses([Violation("the batch", Rule.LIMIT, message)])
            if binary is not None:
                return from_binary(datatype, binary, count)
            values, violations = from_json(name, datatype, tensor.get("data"), count)
        except InvalidTensor as error:
            self.reject(name, Rule.TYPE, str(error))
            return None
        self.violations += violations
        return values

    def _binary(self, name: str, tensor: Mapping[str, Any]) -> bytes | None:
        """Read the binary data of an input tensor, or return None if the tensor has no binary data.

        Call this once for each input, in the order of the request.
        """
        size = self._parameters(name, tensor).get("binary_data_size")
        if size is None:
            return None
        if type(size) is not int or not 0 <= size <= len(self.rest):
            raise InvalidTensor(
                f"must have a `binary_data_size` from 0 to {len(self.rest)}, the bytes left in the body, not {size}"
            )
        if tensor.get("data") is not None:
            raise InvalidTensor("must not have both `data` and binary data")
        content, self.rest = self.rest[:size], self.rest[size:]
        return bytes(content)

    def _check(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Add violations for individual values, so that they are reported together with those for whole tensors.

        `columns` contains the values of each feature by name.
        """
        known = {violation.pointer for violation in self.violations}
        for feature in self._schema.features:
            for row, value in enumerate(columns.get(feature.name, ())):
                if element(feature.name, row) in known:
                    continue
                if value is None and feature.required:
                    self.reject(element(feature.name, row), Rule.MISSING, "is missing")
                elif value is not None and (broken := check_value(feature, value)):
                    self.reject(element(feature.name, row), *broken, value)


def _datatype(tensor: Mapping[str, Any], feature: Feature) -> str:
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise InvalidTensor(f"must have a datatype: {datatype_of(feature.kind)}")
    if datatype not in _accepted(feature.kind):
        raise InvalidTensor(f"must be {datatype_of(feature.kind)}, not {datatype}")
    return datatype


def _count(tensor: Mapping[str, Any]) -> int:
    match tensor.get("shape"):
        case [int(count)] | [int(count), 1] if type(count) is int and count >= 0:
            return count
    raise InvalidTensor("must have the shape [n], for n houses")


def _value(feature: Feature, value: object) -> object:
    """Convert a tensor element to a feature value, or to None if it is missing."""
    if value is None or value == "" or value != value:
        return None
    if feature.kind is Kind.INTEGER and isinstance(value, float) and value.is_integer():
        return int(value)
    if feature.kind is Kind.BOOLEAN and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    return value


def in_tensors(error: InvalidHouses) -> InvalidHouses:
    """Convert violation pointers from house form to tensor form: `/3/size` becomes `size[3]`."""
    return InvalidHouses([_in_tensors(violation) for violation in error.violations])


def _in_tensors(violation: Violation) -> Violation:
    _, row, name, *_ = [*violation.pointer.split("/"), "", ""]
    name = name.replace("~1", "/").replace("~0", "~")
    where = "the batch" if not row else element(name, int(row)) if name else f"house {row}"
    return evolve(violation, pointer=where)


def _accepted(kind: Kind) -> Collection[str]:
    """Return the datatypes that are accepted for the tensor of a feature of this kind."""
    match kind:
        case Kind.NUMBER | Kind.INTEGER:
            return FLOATS | INTEGERS
        case Kind.BOOLEAN:
            return {"BOOL", "BYTES"}  # unlike BOOL, BYTES can express missing values
        case Kind.CATEGORY:
            return {"BYTES"} | INTEGERS
        case Kind.DATE:
            return {"BYTES"}
        case _:
            assert_never(kind)
