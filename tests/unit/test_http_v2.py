"""The Open Inference Protocol over HTTP: routes, errors and agreement with `POST /predict`."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.v2.inference_answers import datatype_of, to_binary
from tests.factories import MIXED
from tests.http_service import (
    LAB_HOUSE,
    LAB_PRICE,
    LAB_SCHEMA,
    CalibratedLabModel,
    Faulty,
    application,
    calibrated_version,
    lab_version,
    served,
)

INFER = "/v2/models/housepredict/infer"
HEADER = "Inference-Header-Content-Length"
MAX_BODY = 20_000


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(application(lab_version(), max_batch=20, max_body=MAX_BODY)) as made:
        yield made


def tensor(name: str, values: Sequence[object], datatype: str | None = None) -> dict[str, Any]:
    kinds = {each.name: datatype_of(each.kind) for each in (*LAB_SCHEMA.features, *MIXED.features)}
    return {"name": name, "datatype": datatype or kinds[name], "shape": [len(values)], "data": values}


def lab_inputs(count: int = 1) -> list[dict[str, Any]]:
    return [tensor(name, [value] * count) for name, value in LAB_HOUSE.items()]


def infer(client: TestClient, *inputs: Mapping[str, Any], path: str = INFER, **more: object) -> Response:
    return client.post(path, json={"inputs": inputs, **more})


def binary_request(inputs: Sequence[Mapping[str, Any]], **more: object) -> tuple[bytes, dict[str, str]]:
    parts = [to_binary(each["datatype"], each["data"]) for each in inputs]
    heads = [
        {**{key: value for key, value in each.items() if key != "data"}, "parameters": {"binary_data_size": len(part)}}
        for each, part in zip(inputs, parts, strict=True)
    ]
    head = json.dumps({"inputs": heads, **more}).encode()
    return b"".join([head, *parts]), {HEADER: str(len(head))}


def outputs(answer: Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


def error(answer: Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert document.keys() == {"error"}
    message: str = document["error"]
    return message


def test_ready_requires_model_and_storage(client: TestClient) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/housepredict/ready"):
        assert client.get(path).status_code == 200
    made = application(lab_version())
    predictions = made.storage.predictions = Faulty()
    with served(made) as service:
        predictions.fault = RepositoryUnavailable()
        assert service.get("/v2/health/live").json() == {"live": True}
        for path in ("/v2/health/ready", "/v2/models/housepredict/ready"):
            answer = service.get(path)
            assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert error(infer(service, *lab_inputs()), 503)
        predictions.fault = None
        assert service.get("/v2/health/ready").json() == {"ready": True}
        service.app.state.service.stopping = True  # type: ignore[attr-defined]  # the app is a Starlette
        assert service.get("/v2/health/ready").status_code == 503


def test_inference_without_model_is_unavailable() -> None:
    with served(application()) as service:
        assert service.get("/v2/models/housepredict/ready").status_code == 503
        for answer in (service.get("/v2/models/housepredict"), infer(service, *lab_inputs())):
            assert "No model is promoted" in error(answer, 503)


def test_inference_is_recorded_as_prediction() -> None:
    with served(application(calibrated_version(), load=CalibratedLabModel)) as service:
        values = outputs(infer(service, *lab_inputs(2), id="mine"))
        stored = service.get("/predictions").json()["predictions"]
    assert values["price"] == [LAB_PRICE] * 2
    assert (values["low_80"], values["high_90"]) == ([224336.03] * 2, [326406.99] * 2)
    assert values["id"] == [each["id"] for each in reversed(stored)]
    assert stored[0]["predicted_price"] == LAB_PRICE
    assert {name: stored[0][name] for name in LAB_HOUSE} == LAB_HOUSE


def test_missing_bounds_are_null_or_nan(client: TestClient) -> None:
    assert outputs(infer(client, *lab_inputs()))["low_80"] == [None]
    asked = [{"name": "low_80", "parameters": {"binary_data": True}}]
    content = infer(client, *lab_inputs(), outputs=asked).content
    (value,) = struct.unpack("<d", content[-8:])
    assert value != value


def test_only_requested_outputs_are_returned(client: TestClient) -> None:
    asked = [{"name": "id"}, {"name": "price", "parameters": {"binary_data": True}}]
    answer = infer(client, *lab_inputs(2), outputs=asked)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    length = int(answer.headers[HEADER])
    ids, prices = json.loads(answer.content[:length])["outputs"]
    assert (ids["name"], len(ids["data"])) == ("id", 2)
    assert prices == {"name": "price", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}
    assert struct.unpack("<2d", answer.content[length:]) == (LAB_PRICE, LAB_PRICE)


def test_warnings_are_an_output(client: TestClient) -> None:
    inputs = [tensor("size", [9000, 2500]), tensor("bedrooms", [3, 3]), tensor("age", [10, 10])]
    assert outputs(infer(client, *inputs))["warnings"] == ["outside_observed_range", ""]


finite = st.floats(0, 1e4)
batches = st.lists(st.tuples(finite, st.integers(0, 20), st.integers(0, 200)), min_size=1, max_size=20)


@given(batches, st.sampled_from(["FP32", "FP64"]), st.sampled_from(["INT16", "UINT32", "INT64", "FP64"]))
def test_binary_and_json_tensors_match_plain_predictions(
    client: TestClient, batch: list[tuple[float, int, int]], size_datatype: str, other_datatype: str
) -> None:
    sizes = [
        struct.unpack("<f", struct.pack("<f", size))[0] if size_datatype == "FP32" else size for size, _, _ in batch
    ]
    inputs = [
        tensor("size", sizes, size_datatype),
        tensor("bedrooms", [each[1] for each in batch], other_datatype),
        tensor("age", [each[2] for each in batch], other_datatype),
    ]
    plain = [dict(zip(LAB_HOUSE, (size, *each[1:]), strict=True)) for size, each in zip(sizes, batch, strict=True)]
    expected = [each["prediction"] for each in client.post("/predict", json=plain).json()["predictions"]]
    assert outputs(infer(client, *inputs))["price"] == expected
    content, headers = binary_request(inputs, parameters={"binary_data_output": True}, outputs=[{"name": "price"}])
    answer = client.post(INFER, content=content, headers=headers)
    assert struct.unpack(f"<{len(batch)}d", answer.content[int(answer.headers[HEADER]) :]) == tuple(expected)


BESIDE_BINARY = lab_inputs()[0] | {"parameters": {"binary_data_size": 0}}
REFUSED: dict[str, tuple[object, list[str]]] = {
    "list": ([], ["the request must be an object"]),
    "number beyond float range": (
        {"inputs": [tensor("size", [10**400, -(10**400)]), *lab_inputs(2)[1:]]},
        ["size[0]", "size[1]"],
    ),
    "data beside binary data": ({"inputs": [BESIDE_BINARY, *lab_inputs()[1:]]}, ["size"]),
    "no inputs": ({}, ["inputs", "size", "bedrooms", "age"]),
    "inputs not a list": ({"inputs": {"size": 1}}, ["inputs", "size", "bedrooms", "age"]),
    "input without name": ({"inputs": [*lab_inputs(), {"shape": [1]}]}, ["inputs[3]"]),
    "unknown feature": ({"inputs": [*lab_inputs(), tensor("pool", [1], "FP64")]}, ["pool"]),
    "duplicate feature": ({"inputs": [*lab_inputs(), *lab_inputs()[:1]]}, ["size"]),
    "two-dimensional shape": ({"inputs": [lab_inputs()[0] | {"shape": [1, 2]}, *lab_inputs()[1:]]}, ["size"]),
    "invalid shape": ({"inputs": [lab_inputs()[0] | {"shape": [True]}, *lab_inputs()[1:]]}, ["size"]),
    "wrong datatype": ({"inputs": [tensor("size", ["1"], "BYTES"), *lab_inputs()[1:]]}, ["size"]),
    "unknown datatype": ({"inputs": [{**lab_inputs()[0], "datatype": "REAL"}, *lab_inputs()[1:]]}, ["size"]),
    "too few data": ({"inputs": [lab_inputs()[0] | {"shape": [2]}, *lab_inputs()[1:]]}, ["size"]),
    "no data": ({"inputs": [tensor("size", []) | {"shape": [1], "data": 7}, *lab_inputs()[1:]]}, ["size"]),
    "different numbers of houses": ({"inputs": [*lab_inputs(2)[:1], *lab_inputs()[1:]]}, ["inputs"]),
    "no houses": ({"inputs": lab_inputs(0)}, ["the batch"]),
    "too many houses": ({"inputs": lab_inputs(21)}, ["the batch"]),
    "huge shape": ({"inputs": [lab_inputs()[0] | {"shape": [10**30]}]}, ["the batch"]),
    "invalid values": (
        {"inputs": [tensor("size", [True, -1]), tensor("bedrooms", [2.5, 2**63]), tensor("age", [None, 1])]},
        ["size[0]", "bedrooms[0]", "bedrooms[1]", "size[1]", "age[0]"],
    ),
    "missing value": ({"inputs": [tensor("size", [None]), *lab_inputs()[1:]]}, ["size[0]"]),
    "house without estimate": ({"inputs": [tensor("size", [1e15]), *lab_inputs()[1:]]}, ["house 0"]),
    "unknown output": ({"inputs": lab_inputs(), "outputs": [{"name": "prize"}]}, ["prize"]),
    "outputs not a list": ({"inputs": lab_inputs(), "outputs": {}}, ["outputs"]),
    "classification": (
        {"inputs": lab_inputs(), "outputs": [{"name": "price", "parameters": {"classification": 2}}]},
        ["price"],
    ),
    "parameters not an object": ({"inputs": lab_inputs(), "parameters": []}, ["the request"]),
    "id not text": ({"inputs": lab_inputs(), "id": 7}, ["id"]),
}


@pytest.mark.parametrize(("document", "named"), REFUSED.values(), ids=REFUSED)
def test_error_names_all_invalid_parts(client: TestClient, document: object, named: list[str]) -> None:
    message = error(client.post(INFER, json=document))
    assert [each.partition(":")[0] for each in message.split("; ")] == named, message


def test_duplicate_json_names_are_rejected(client: TestClient) -> None:
    body = json.dumps({"inputs": lab_inputs()}).replace('"name": "size"', '"name": "size", "name": "size"')
    assert error(client.post(INFER, content=body)) == "size: has 'name' more than once"


BROKEN_BINARY = {
    "length not a number": (b"", {HEADER: "x"}, HEADER),
    "length beyond body": (b"{}", {HEADER: "3"}, HEADER),
    "truncated JSON": (b'{"inputs": []}', {HEADER: "5"}, "Unterminated"),
    "trailing data": (
        binary_request(lab_inputs())[0] + b"!",
        binary_request(lab_inputs())[1],
        "the body: has 1 B of binary data that no input uses",
    ),
    "truncated data": (
        binary_request(lab_inputs())[0][:-1],
        binary_request(lab_inputs())[1],
        "age: must have a `binary_data_size`",
    ),
    "binary data missing": (
        binary_request(lab_inputs())[0][: int(binary_request(lab_inputs())[1][HEADER])],
        {},
        "size",
    ),
}


@pytest.mark.parametrize(("body", "headers", "message"), BROKEN_BINARY.values(), ids=BROKEN_BINARY)
def test_malformed_binary_tensors_are_rejected(
    client: TestClient, body: bytes, headers: dict[str, str], message: str
) -> None:
    assert message in error(client.post(INFER, content=body, headers=headers))


@given(st.binary(max_size=200), st.none() | st.text("0123456789-x", max_size=3), st.integers(0, 300))
def test_inference_survives_any_body(client: TestClient, noise: bytes, length: str | None, at: int) -> None:
    whole, headers = binary_request(lab_inputs())
    broken = whole[:at] + noise + whole[at + len(noise) :]
    answer = client.post(INFER, content=broken, headers=headers if length is None else {HEADER: length})
    assert answer.status_code in (200, 400)


def test_unstarted_app_names_missing_lifespan() -> None:
    app = TestClient(asgi_app(application=application(lab_version())))  # without its lifespan
    assert "lifespan" in error(app.post(INFER, json={"inputs": lab_inputs()}), 503)


def test_other_media_types_and_oversized_bodies_are_rejected(client: TestClient) -> None:
    body = json.dumps({"inputs": lab_inputs()})
    long = json.dumps({"inputs": lab_inputs(), "parameters": {"comment": " " * 15_000}})
    assert client.post(INFER, content=long).status_code == 200
    for media_type, status in {"application/json": 200, "application/octet-stream": 200, "text/csv": 415}.items():
        assert client.post(INFER, content=body, headers={"Content-Type": media_type}).status_code == status
    assert "HOUSEPREDICT_MAX_BODY" in error(client.post(INFER, content=b" " * (MAX_BODY + 1)), 413)


def test_categories_dates_and_booleans_are_accepted_as_text() -> None:
    inputs = [
        tensor("size", [2500.0, 900.0]),
        tensor("area", ["north", "west"]),
        tensor("waterfront", ["true", "False"], "BYTES"),
        tensor("sold", ["2015-05-27", "2015-05-28"]),
        tensor("bedrooms", [3.0, 4.0], "FP64"),
        tensor("heating", [7, 8], "INT64"),
    ]
    with served(application(lab_version(schema=MIXED))) as service:
        assert outputs(infer(service, *inputs))["id"]
        newest, oldest = service.get("/predictions").json()["predictions"]
        refused = error(infer(service, tensor("area", ["", "\0"]), *inputs[:1], *inputs[2:]))
        content, headers = binary_request(inputs)
        broken = service.post(INFER, content=content.replace(b"north", b"n\xffrth"), headers=headers)
    assert {name: oldest[name] for name in MIXED.names} == {
        "size": 2500.0, "area": "north", "waterfront": True, "sold": "2015-05-27", "bedrooms": 3, "heating": "7",
    }  # fmt: skip
    assert newest["waterfront"] is False
    assert [each.partition(":")[0] for each in refused.split("; ")] == ["area[0]", "area[1]"]
    assert error(broken) == "area[0]: must be text or a whole number, not bytes"


def test_names_with_surrounding_whitespace_match_features(client: TestClient) -> None:
    inputs = [{**each, "name": f" {each['name']}\u00a0"} for each in lab_inputs()]
    (output, *_) = infer(client, *inputs).json()["outputs"]
    assert output["data"] == [LAB_PRICE]
    refused = infer(client, *lab_inputs(), inputs[0])
    assert (refused.status_code, "duplicate input for size" in refused.json()["error"]) == (400, True)
