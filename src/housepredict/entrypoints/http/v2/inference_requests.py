"""Inference requests: the houses that tensors describe, and the outputs that are asked for."""

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
    """A request that was read. `outputs` are those that it asks for, True for one in binary."""

    id: str | None
    houses: Sequence[Mapping[str, object]]
    outputs: Mapping[str, bool]


def read_inference(schema: FeatureSchema, body: bytes, header_length: str | None, most: int) -> Inference:
    """A request, whose JSON ends after `header_length` bytes where tensors in binary follow it.

    A batch of more than `most` houses is not looked at any further. Raises InvalidHouses with every violation, those
    of values included, or a Problem for what is no JSON.
    """
    head, rest = _parted(body, header_length)
    reading = _Reading(schema, most, rest)
    given = decode(head)
    if not isinstance(given, dict):
        raise InvalidHouses([Violation("", Rule.TYPE, "the request must be an object")])
    reading.refuse_repeated("the request", given)
    inference = Inference(reading.id(given), reading.houses(given), reading.outputs(given))
    if reading.violations:
        raise InvalidHouses(reading.violations)
    return inference


def _parted(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not re.fullmatch(r"\d{1,18}", header_length, re.ASCII) or int(header_length) > len(body):
        message = f"must be a number of bytes, at most the {len(body)} of the body"
        raise InvalidHouses([Violation("Inference-Header-Content-Length", Rule.BOUNDS, message, header_length)])
    return body[: int(header_length)], memoryview(body)[int(header_length) :]


@define
class _Reading:
    """What was found while a request is read."""

    _schema: FeatureSchema
    _most: int
    rest: memoryview
    """Binary data that no tensor has had yet."""
    violations: list[Violation] = field(factory=list)

    def refuse(self, where: str, rule: Rule, message: str, value: object = None) -> None:
        """Note what is wrong."""
        self.violations.append(Violation(where, rule, message, value))

    def refuse_repeated(self, where: str, given: Mapping[str, object]) -> None:
        """Note names that an object holds more than once."""
        for name in getattr(given, "repeated", ()):
            self.refuse(where, Rule.DUPLICATE, f"has {name!r} more than once")

    def id(self, given: Mapping[str, object]) -> str | None:
        """What the client calls the request."""
        id_ = given.get("id")
        if id_ is not None and not isinstance(id_, str):
            self.refuse("id", Rule.TYPE, "must be text", id_)
        return id_ if isinstance(id_, str) else None

    def houses(self, given: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """The houses that the inputs describe, a tensor a feature."""
        tensors = self._named("inputs", given.get("inputs"))
        given_features = [self._schema.named(name) for name in tensors]
        columns: dict[str, Sequence[object]] = {}
        counts = set()
        for name, tensor in tensors.items():
            feature = self._schema.named(name)
            read = self._tensor(name, tensor, feature)
            if read is None or feature is None:
                continue
            if feature.name in columns:
                self.refuse(name, Rule.DUPLICATE, f"is more than one input for {feature.name}")
            counts.add(len(read))
            columns[feature.name] = [_value(feature, value) for value in read]
        if self.rest and not self.violations:
            self.refuse("the body", Rule.BOUNDS, f"has {len(self.rest)} bytes of binary data that no input has")
        for feature in self._schema.features:
            if feature.required and feature not in given_features:
                self.refuse(feature.name, Rule.MISSING, f"is missing: an input of {datatype_of(feature.kind)}")
        if len(counts) > 1:
            self.refuse("inputs", Rule.TYPE, "must all describe as many houses")
        if self.violations:
            self._check(columns)
            return ()
        houses: list[dict[str, object]] = [{} for _ in range(max(counts, default=0))]
        for name, values in columns.items():
            for house, value in zip(houses, values, strict=True):
                if value is not None:
                    house[name] = value
        return houses

    def outputs(self, given: Mapping[str, Any]) -> Mapping[str, bool]:
        """The outputs that are asked for, all if none is."""
        parameters = self._parameters("the request", given)
        binary = parameters.get("binary_data_output") is True
        if given.get("outputs") in (None, []):
            return dict.fromkeys(OUTPUTS, binary)
        asked = {}
        for name, output in self._named("outputs", given["outputs"]).items():
            if name not in OUTPUTS:
                self.refuse(name, Rule.UNKNOWN, f"is no output: there are {', '.join(OUTPUTS)}")
            own = self._parameters(name, output)
            for unsupported in ("classification", "shared_memory_region"):
                if unsupported in own:
                    self.refuse(name, Rule.UNKNOWN, f"{unsupported} is not possible here")
            asked[name] = own.get("binary_data", binary) is True
        return asked

    def _named(self, what: str, given: object) -> Mapping[str, Mapping[str, Any]]:
        """A list of objects by their names."""
        if not isinstance(given, list) or not given:
            self.refuse(what, Rule.TYPE, "must be a list of tensors")
            return {}
        found: dict[str, Mapping[str, Any]] = {}
        for position, each in enumerate(given):
            name = each.get("name") if isinstance(each, dict) else None
            if not isinstance(name, str):
                self.refuse(element(what, position), Rule.TYPE, "must be an object with a name", each)
                continue
            self.refuse_repeated(name, each)
            if name in found:
                self.refuse(name, Rule.DUPLICATE, f"is more than once among the {what}")
            found[name] = each
        return found

    def _parameters(self, where: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        parameters = given.get("parameters")
        if parameters is None or isinstance(parameters, dict):
            return parameters or {}
        self.refuse(where, Rule.TYPE, "must have an object as its parameters", parameters)
        return {}

    def _tensor(self, name: str, given: Mapping[str, Any], feature: Feature | None) -> Sequence[object] | None:
        """The values of an input; None for one that has none to speak of."""
        try:
            binary = self._binary(name, given)
            if feature is None:
                self.refuse(name, Rule.UNKNOWN, "is no feature of this model")
                return None
            datatype, count = _datatype(given, feature), _count(given)
            if count > self._most:
                message = f"must hold at most {self._most} houses, not {count}"
                raise InvalidHouses([Violation("the batch", Rule.LIMIT, message)])
            if binary is not None:
                return from_binary(datatype, binary, count)
            values, violations = from_json(name, datatype, given.get("data"), count)
        except InvalidTensor as error:
            self.refuse(name, Rule.TYPE, str(error))
            return None
        self.violations += violations
        return values

    def _binary(self, name: str, given: Mapping[str, Any]) -> bytes | None:
        """The binary data of an input; they stand in the body in the order of the inputs."""
        size = self._parameters(name, given).get("binary_data_size")
        if size is None:
            return None
        if type(size) is not int or not 0 <= size <= len(self.rest):
            raise InvalidTensor(f"says that it has {size} bytes of binary data, where there are {len(self.rest)} more")
        if given.get("data") is not None:
            raise InvalidTensor("has data beside its binary data")
        content, self.rest = self.rest[:size], self.rest[size:]
        return bytes(content)

    def _check(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Find what is wrong with values, too, where the request is refused in any case."""
        known = {each.pointer for each in self.violations}
        for feature in self._schema.features:
            for row, value in enumerate(columns.get(feature.name, ())):
                if element(feature.name, row) in known:
                    continue
                if value is None and feature.required:
                    self.refuse(element(feature.name, row), Rule.MISSING, "is missing")
                elif value is not None and (broken := check_value(feature, value)):
                    self.refuse(element(feature.name, row), *broken, value)


def _datatype(given: Mapping[str, Any], feature: Feature) -> str:
    datatype = given.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise InvalidTensor(f"must have a datatype: {datatype_of(feature.kind)}")
    if datatype not in _accepted(feature.kind):
        raise InvalidTensor(f"must be {datatype_of(feature.kind)}, not {datatype}")
    return datatype


def _count(given: Mapping[str, Any]) -> int:
    match given.get("shape"):
        case [int(count)] | [int(count), 1] if type(count) is int and count >= 0:
            return count
    raise InvalidTensor("must have the shape [n], for n houses")


def _value(feature: Feature, value: object) -> object:
    """A tensor's value as a house has it; None where it is missing."""
    if value is None or value == "" or value != value:
        return None
    if feature.kind is Kind.INTEGER and isinstance(value, float) and value.is_integer():
        return int(value)
    if feature.kind is Kind.BOOLEAN and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    return value


def in_tensors(error: InvalidHouses) -> InvalidHouses:
    """Violations of houses, `/3/size`, as those of tensors: `size[3]`."""
    return InvalidHouses([_in_tensors(each) for each in error.violations])


def _in_tensors(violation: Violation) -> Violation:
    _, row, name, *_ = [*violation.pointer.split("/"), "", ""]
    name = name.replace("~1", "/").replace("~0", "~")
    where = "the batch" if not row else element(name, int(row)) if name else f"house {row}"
    return evolve(violation, pointer=where)


def _accepted(kind: Kind) -> Collection[str]:
    """The datatypes that a feature's tensor may have."""
    match kind:
        case Kind.NUMBER | Kind.INTEGER:
            return FLOATS | INTEGERS
        case Kind.BOOLEAN:
            return {"BOOL", "BYTES"}  # a tensor of BOOL has no way to say that one is missing
        case Kind.CATEGORY:
            return {"BYTES"} | INTEGERS
        case Kind.DATE:
            return {"BYTES"}
        case _:
            assert_never(kind)
