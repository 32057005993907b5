"""The Open Inference Protocol, used with Triton's own client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput

from tests.integration.services import LAB_HOUSE, LAB_PRICE, Service, running, stored

DTYPES = {"size": ("FP64", np.float64), "bedrooms": ("INT64", np.int64), "age": ("FP32", np.float32)}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service"), "--demo") as made:
        yield made


@pytest.fixture
def client(service: Service) -> Iterator[Any]:
    with InferenceServerClient("{}:{}".format(*service.address)) as made:
        yield made


def inputs(houses: Sequence[dict[str, Any]], *, binary: bool) -> list[Any]:
    made = []
    for name, (datatype, dtype) in DTYPES.items():
        tensor = InferInput(name, [len(houses)], datatype)
        values = np.array([house[name] for house in houses], dtype)
        made.append(tensor.set_data_from_numpy(values, binary_data=binary))
    return made


def test_client_reads_model_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("housepredict")
    assert client.is_model_ready("housepredict", "demonstration")
    assert not client.is_model_ready("another")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("housepredict")
    assert [each["name"] for each in metadata["inputs"]] == list(LAB_HOUSE)


@pytest.mark.parametrize("binary", [True, False], ids=["in binary", "in JSON"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_client_infer_returns_stored_predictions(
    client: Any, service: Service, binary: bool, compression: str | None
) -> None:
    houses: list[dict[str, Any]] = [LAB_HOUSE, {**LAB_HOUSE, "size": 900.5}] * 500
    names = ["price", "id", "low_80", "warnings"]
    # without requested outputs, the client asks for all of them in binary
    requested = None if binary else [InferRequestedOutput(name, binary_data=False) for name in names]
    answer = client.infer(
        "housepredict",
        inputs(houses, binary=binary),
        outputs=requested,
        request_id="mine",
        model_version="demonstration",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert answer.get_response()["id"] == "mine"
    prices, ids, bounds, warnings = (answer.as_numpy(name) for name in names)
    assert prices.dtype == bounds.dtype == np.float64
    assert prices[0] == LAB_PRICE
    assert len(set(prices)) == 2
    assert np.isnan(bounds).all()
    assert {each.decode() if isinstance(each, bytes) else each for each in warnings} == {"demonstration"}
    stored_ids = {each.decode() if isinstance(each, bytes) else each for each in ids}
    assert len(stored_ids) == len(houses)
    assert stored_ids <= set(stored(service.log.parent))


def test_client_infer_reports_all_violations(client: Any) -> None:
    size = InferInput("size", [2], "FP64").set_data_from_numpy(np.array([np.nan, -1.0]))
    with pytest.raises(InferenceServerException) as refusal:
        client.infer("housepredict", [size, *inputs([LAB_HOUSE] * 2, binary=True)[1:]])
    assert refusal.value.status() == "400"
    assert "size[0]: required" in refusal.value.message()
    assert "size[1]: must be at least 0" in refusal.value.message()
    with pytest.raises(InferenceServerException, match="no model 'another'"):
        client.infer("another", inputs([LAB_HOUSE], binary=True))
