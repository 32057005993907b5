"""Request bodies: invalid JSON, media types, size limits and charsets."""

from __future__ import annotations

import json
from collections.abc import Iterator

import anyio
import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from starlette.types import Message

from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import read_body
from tests.http_service import (
    LAB_HOUSE,
    LAB_PRICE,
    application,
    assert_problem,
    lab_version,
    post,
    served,
)

MAX_BODY = 20_000

# The service has module scope, so tests must not change its state.


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(application(lab_version(), max_batch=20, max_body=MAX_BODY)) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "Line 1, column 2"),
        (b"{'size': 1}", "Line 1"),
        (b'{"size": 1} 2', "Extra data"),
        (b'{"size": 01}', "Line 1"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"size": 1}'.encode("utf-16"), "UTF-8"),
        ('{"size": 1}'.encode("utf-16-le"), "Line 1"),
        (b'{"a": "\xff"}', "byte 7 is invalid"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
        (b'{"size": %b,}' % (b"1" * 5000), "Line 1, column 501"),
        (b'{"size": %b' % (b"1" * 5000), "Line 1"),
        (b"[" * MAX_BODY, "nested"),
        (b"[" * 10_000 + b"]" * 10_000, "nested"),
    ],
)
def test_invalid_json_is_rejected_with_its_position(client: TestClient, body: bytes, message: str) -> None:
    assert message in assert_problem(post(client, body), 400, "not-json")["detail"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        'application/json ;charset="UTF-8"',
        "application/json; Charset=utf8",
        "application/vnd.house+json",
        "application/json;",
        "application/json; profile=house",
    ],
)
def test_json_media_types_are_accepted(client: TestClient, content_type: str) -> None:
    assert post(client, json.dumps(LAB_HOUSE), content_type).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=latin-1",
        "application/json; charset=",
        "application/json, text/plain",
        "json",
    ],
)
def test_other_media_types_are_rejected(client: TestClient, content_type: str | None) -> None:
    answer = post(client, json.dumps(LAB_HOUSE), content_type)
    assert_problem(answer, 415, "unsupported-media-type")
    assert answer.headers["Accept"] == "application/json, text/csv"


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "9" * 30, "9" * 5000])
def test_body_over_the_limit_is_rejected_by_content_length(client: TestClient, length: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": length}
    answer = client.post("/predict", content=b"{", headers=headers)
    assert_problem(answer, 413, "body-too-large")


def test_body_over_the_limit_is_rejected_while_streaming() -> None:
    chunks = [b"0123456789"] * 4

    async def receive() -> Message:
        return {"type": "http.request", "body": chunks.pop(), "more_body": True}

    with pytest.raises(Problem) as caught:
        anyio.run(read_body, Headers(), receive, 25)
    assert caught.value.status == 413
    assert len(chunks) == 1


def test_body_at_the_limit_is_read(client: TestClient) -> None:
    body = json.dumps(LAB_HOUSE)
    assert post(client, body + " " * (MAX_BODY - len(body))).status_code == 200


TABLE = "size,bedrooms,age\n2500,3,10\n"


@pytest.mark.parametrize("charset", ["utf-16", "UTF-8", "cp1252", '"gb18030"', "us-ascii"])
def test_csv_is_read_in_its_charset(client: TestClient, charset: str) -> None:
    body = TABLE.encode(charset.strip('"'))
    answer = client.post("/predict", content=body, headers={"Content-Type": f"text/csv; charset={charset}"})
    assert answer.status_code == 200
    assert [each["prediction"] for each in answer.json()["predictions"]] == [LAB_PRICE]


@pytest.mark.parametrize(
    ("charset", "status"), [("us-ascii", 422), ("utf-8", 422), ("zip", 415), ("nonsense", 415), ("hex", 415)]
)
def test_csv_in_unknown_or_wrong_charset_is_rejected(client: TestClient, charset: str, status: int) -> None:
    body = TABLE.replace("2500", "25\xff00").encode("cp1252")
    answer = client.post("/predict", content=body, headers={"Content-Type": f"text/csv; charset={charset}"})
    assert answer.status_code == status
