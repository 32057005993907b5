"""Tensors of the Open Inference Protocol are read back, in JSON and binary."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.v2.inference_answers import (
    DATATYPES,
    INTEGERS,
    OUTPUTS,
    InvalidTensor,
    datatype_of,
    from_binary,
    from_json,
    to_binary,
    to_json,
)
from housepredict.entrypoints.http.v2.inference_requests import read_inference
from tests.factories import MIXED

whole = st.integers(-(10**15), 10**15)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.NUMBER: st.floats(-1e15, 1e15),
    Kind.INTEGER: whole,
    Kind.BOOLEAN: st.booleans(),
    Kind.CATEGORY: st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20),
    Kind.DATE: st.dates().map(date.isoformat),
}
OPTIONAL = FeatureSchema(tuple(Feature(each.name, each.kind, required=False) for each in MIXED.features))
houses = st.lists(
    st.fixed_dictionaries({}, optional={each.name: VALUES[each.kind] for each in OPTIONAL.features}), min_size=1
)
bits = {"FP16": 16, "FP32": 32, "FP64": 64}


def values_of(datatype: str) -> st.SearchStrategy[Any]:
    if datatype in INTEGERS:
        size = 8 * len(to_binary(datatype, [0]))
        low = 0 if datatype.startswith("U") else -(2 ** (size - 1))
        return st.integers(low, low + 2**size - 1)
    if datatype in bits:
        return st.floats(width=bits[datatype], allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    return st.booleans() if datatype == "BOOL" else st.text(st.characters(codec="utf-8"))


def request_for(batch: list[dict[str, Any]], *, binary: bool) -> tuple[bytes, str | None]:
    """Return houses as a request, one tensor per column. Binary columns with missing values may be widened."""
    inputs, parts = [], []
    for feature in OPTIONAL.features:
        column = [house.get(feature.name) for house in batch]
        datatype = datatype_of(feature.kind)
        if binary and None in column and datatype == "INT64":
            # FP64 represents all of these whole numbers exactly.
            datatype, column = "FP64", [math.nan if each is None else float(each) for each in column]
        elif binary and None in column and datatype == "BOOL":
            datatype, column = "BYTES", ["" if each is None else str(each).lower() for each in column]
        elif binary:
            missing: object = "" if datatype == "BYTES" else math.nan
            column = [missing if each is None else each for each in column]
        tensor: dict[str, Any] = {"name": feature.name, "datatype": datatype, "shape": [len(batch)]}
        if binary:
            parts.append(to_binary(datatype, column))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            tensor["data"] = to_json(column)
        inputs.append(tensor)
    head = json.dumps({"inputs": inputs}).encode()
    return b"".join([head, *parts]), str(len(head)) if binary else None


@given(houses, st.booleans())
def test_houses_are_read_back_from_tensors(batch: list[dict[str, Any]], binary: bool) -> None:
    inference = read_inference(OPTIONAL, *request_for(batch, binary=binary), 1000)
    assert inference.houses == batch
    assert [{name: type(value) for name, value in house.items()} for house in inference.houses] == [
        {name: type(value) for name, value in house.items()} for house in batch
    ]


@given(st.sampled_from(sorted(DATATYPES)).flatmap(lambda each: st.tuples(st.just(each), st.lists(values_of(each)))))
def test_datatypes_are_read_back_in_json_and_binary(drawn: tuple[str, list[Any]]) -> None:
    datatype, values = drawn
    assert list(from_binary(datatype, to_binary(datatype, values), len(values))) == values
    sent = json.loads(json.dumps(to_json(values)))
    assert from_json("x", datatype, sent, len(values)) == (values, [])
    assert from_json("x", datatype, [[each] for each in sent], len(values)) == (values, [])


@given(st.lists(st.floats()))
def test_nan_is_null_in_json(values: list[float]) -> None:
    assert [each is None for each in to_json(values)] == [math.isnan(each) for each in values]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([*[each.name for each in MIXED.features], *OUTPUTS, "pool"])
parameters = st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40) | anything})
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": names | anything,
        "datatype": st.sampled_from(sorted(DATATYPES)) | anything,
        "shape": st.lists(st.integers(-1, 3), max_size=2) | anything,
        "data": st.lists(anything, max_size=3) | anything,
        "parameters": parameters | anything,
    },
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "id": anything,
        "inputs": st.lists(tensors | anything, max_size=4) | anything,
        "outputs": st.lists(tensors | anything, max_size=3) | anything,
        "parameters": anything,
    },
)


@given(requests.map(json.dumps).map(str.encode) | st.binary(), st.binary(max_size=60), st.none() | st.integers(-5, 5))
def test_random_request_is_read_or_rejected(head: bytes, rest: bytes, off: int | None) -> None:
    length = None if off is None else str(len(head) + off)
    try:
        inference = read_inference(MIXED, head + rest, length, 1000)
    except (InvalidHouses, Problem):
        pass
    else:
        assert set(inference.outputs) <= set(OUTPUTS)


@given(st.sampled_from(sorted(DATATYPES)), st.binary(max_size=40), st.integers(0, 2**70))
def test_binary_data_of_wrong_length_is_rejected(datatype: str, content: bytes, count: int) -> None:
    try:
        values = from_binary(datatype, content, count)
    except InvalidTensor:
        pass
    else:
        assert len(values) == count
        if datatype != "BYTES" and not any(value != value for value in values) and datatype != "BOOL":
            assert to_binary(datatype, values) == content


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_datatype(kind: Kind) -> None:
    assert datatype_of(kind) in DATATYPES
