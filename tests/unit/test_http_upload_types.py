"""Content types of uploads: every route uses a body or rejects it with instructions."""

from __future__ import annotations

import gzip
import io
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.http_service import FakeTrainer, application, assert_problem, lab_version, served
from tests.unit.test_http_uploads import SALES, sending

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=xyz"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

AS_CSV = (
    None,
    "",
    "text/csv",
    "TEXT/CSV; charset=utf-8",
    "text/csv; header=present",
    "application/csv",
    "text/comma-separated-values",
    "application/vnd.ms-excel",
    "text/tab-separated-values",
    "text/plain",
    "text/plain;charset=UTF-8",
    "application/octet-stream",
    "binary/octet-stream",
)
REFUSED = (
    FORM,
    MULTIPART,
    "application/json",
    "application/x-ndjson",
    "application/xml",
    "text/html",
    "image/png",
    "application/zip",
    "application/x-bzip2",
    XLSX,
    "nonsense",
    "text/csv, text/plain",
    "text/csv; charset=foo",
    "text/plain; charset=zip",
    "text/csv; charset=",
)
EMPTY_BODY_TYPES = (
    *(None, "", FORM, "application/json", "text/plain", "application/octet-stream", "image/png"),
    *("text/csv", "application/vnd.ms-excel", "application/gzip", "application/vnd.apache.parquet"),
)


def workbook() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return content.getvalue()


def parquet() -> bytes:
    rows = range(1, 60)
    columns = {"size": [100 * row for row in rows], "price": [15_000 * row for row in rows]}
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


def content_headers(content_type: str | None, **more: str) -> dict[str, str]:
    return more if content_type is None else {"Content-Type": content_type, **more}


@pytest.fixture(params=["with length", "chunked"])
def chunked(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "chunked")


def request_body(content: bytes, chunked: bool) -> bytes | Iterator[bytes]:
    return (content[start : start + 7] for start in range(0, len(content), 7)) if chunked else content


@pytest.mark.parametrize("content_type", AS_CSV)
def test_csv_is_accepted_under_common_content_types(tmp_path: Path, content_type: str | None, chunked: bool) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path, trainer)) as client:
        answer = client.post(
            "/train?price=price", content=request_body(SALES, chunked), headers=content_headers(content_type)
        )
    assert answer.status_code == 200, answer.text
    assert len(trainer.seen) + answer.json()["evaluation"]["held_out"] == 59
    (file,) = (tmp_path / "uploads").iterdir()
    assert (file.suffix, file.read_bytes()) == (".csv", SALES)


@pytest.mark.parametrize(
    "content_type", ["text/csv", "text/plain", "application/octet-stream", "application/gzip", None]
)
@pytest.mark.parametrize(
    ("content", "suffix", "coding"),
    [(gzip.compress(SALES), ".csv.gz", {}), (parquet(), ".parquet", {})],
    ids=["gzip", "parquet"],
)
def test_compressed_sales_are_detected_by_magic_bytes(
    tmp_path: Path, content_type: str | None, content: bytes, suffix: str, coding: Mapping[str, str]
) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path, trainer)) as client:
        answer = client.post("/train", content=content, headers=content_headers(content_type, **coding))
    assert answer.status_code == 200, answer.text
    (file,) = (tmp_path / "uploads").iterdir()
    assert file.name.endswith(suffix)
    assert len(trainer.seen) > 40


@pytest.mark.parametrize("content_type", REFUSED)
@pytest.mark.parametrize("content", [SALES, b"price\n1\n"], ids=["long", "short"])
def test_other_content_type_is_rejected_with_working_command(
    tmp_path: Path, content_type: str, content: bytes, chunked: bool
) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path, trainer)) as client:
        answer = client.post(
            "/train?price=price", content=request_body(content, chunked), headers=content_headers(content_type)
        )
        problem = assert_problem(answer, 415, "unsupported-media-type")
        assert client.get("/trainings").json()["trainings"] == []
    command = shlex.split(problem["detail"].split("`")[-2])
    assert command == [
        *("curl", "--data-binary", "@sales.csv", "-H", "Content-Type: text/csv"),
        "http://localhost:5000/train?price=price",
    ]
    assert "text/csv" in answer.headers["Accept"].split(", ")
    assert not trainer.seen
    assert not (tmp_path / "uploads").exists()


@pytest.mark.parametrize("content_type", ["text/csv", "text/plain", "application/octet-stream", None, XLSX])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (workbook(), "export"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "export"),
        (b'[{"size": 1, "price": 2}]', "JSON"),
        (b'{"size": [1], "price": [2]}', "JSON"),
        (b'\xef\xbb\xbf [["size"], [1]]', "JSON"),
    ],
    ids=["xlsx", "xls", "rows", "columns", "lists"],
)
def test_workbooks_and_json_are_rejected_under_any_type(
    tmp_path: Path, content_type: str | None, content: bytes, says: str
) -> None:
    with served(sending(tmp_path)) as client:
        answer = client.post("/train", content=content, headers=content_headers(content_type))
    detail = assert_problem(answer, 415, "unsupported-media-type")["detail"]
    assert says in detail or (content_type == XLSX and "export" in detail)


@pytest.mark.parametrize("content_type", EMPTY_BODY_TYPES)
@pytest.mark.parametrize("content", [b"", b"{}", b" {\n} ", b"\n"], ids=["empty", "object", "spaced", "blank"])
def test_empty_body_of_any_type_retrains_on_original_sales(
    tmp_path: Path, content_type: str | None, content: bytes, chunked: bool
) -> None:
    trainer = FakeTrainer()
    made = sending(tmp_path, trainer)
    with served(made) as client:
        answer = client.post("/train", content=request_body(content, chunked), headers=content_headers(content_type))
        # The original sales don't exist. The error shows that the route looked for them.
        assert "/sales.csv" in assert_problem(answer, 409, "unusable-sales")["detail"]
        query = client.post(
            "/train?from_sales=no", content=request_body(content, chunked), headers=content_headers(content_type)
        )
        assert_problem(query, 422, "invalid-query")
    assert not (tmp_path / "uploads").exists()


@pytest.mark.parametrize("content_type", ["text/csv", "application/vnd.ms-excel", "application/octet-stream"])
def test_empty_body_with_query_options_is_an_empty_file(tmp_path: Path, content_type: str) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path, trainer)) as client:
        answer = client.post("/train?price=price", content=b"", headers=content_headers(content_type))
        assert "is empty" in assert_problem(answer, 409, "unusable-sales")["detail"]
    assert not trainer.seen


@pytest.mark.parametrize("content_type", [None, FORM, "application/json"])
def test_query_options_without_body_are_invalid(tmp_path: Path, content_type: str | None) -> None:
    with served(sending(tmp_path)) as client:
        answer = client.post("/train?price=price", content=b"", headers=content_headers(content_type))
        assert_problem(answer, 422, "invalid-query")


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, br", "zstd"])
@pytest.mark.parametrize("content_type", ["text/csv", "text/plain", None])
def test_unknown_content_encoding_is_rejected(tmp_path: Path, content_type: str | None, coding: str) -> None:
    with served(sending(tmp_path)) as client:
        headers = content_headers(content_type, **{"Content-Encoding": coding})
        answer = client.post("/train", content=SALES, headers=headers)
    assert "Content-Encoding" in assert_problem(answer, 415, "unsupported-media-type")["detail"]
    assert answer.headers["Accept-Encoding"] == "gzip"


def test_suggested_command_is_quoted_for_shell(tmp_path: Path) -> None:
    with served(sending(tmp_path, token="t" * 16)) as client:
        headers = content_headers(FORM, Host="localhost:5000", Authorization="Bearer " + "t" * 16)
        answer = client.post("/train?exclude=$(x)&exclude=a'b;c", content=SALES, headers=headers)
    command = shlex.split(assert_problem(answer, 415, "unsupported-media-type")["detail"].split("`")[-2])
    assert len(command) == 6


@given(
    content=st.binary(min_size=1, max_size=200).filter(lambda body: b"".join(body.split()) not in (b"", b"{}")),
    content_type=st.sampled_from([*AS_CSV, *REFUSED]),
    path=st.sampled_from(["/train", "/sales", "/models/rollback", "/models/lab/promote", "/predict"]),
)
def test_body_is_never_ignored(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, content_type: str | None, path: str
) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path_factory.mktemp("data"), trainer)) as client:
        answer = client.post(path, content=content, headers=content_headers(content_type))
    assert answer.status_code in (400, 409, 415, 422), answer.text
    assert not trainer.seen


ROUTES = ("/sales", "/predict")
TABLES = {"/sales": b"prediction,price,date\n", "/predict": b"size,bedrooms,age\n2500,3,10\n"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(application(lab_version())) as made:
        yield made


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "content_type", ["text/csv", "application/csv", "text/comma-separated-values", "application/vnd.ms-excel"]
)
def test_csv_routes_accept_common_csv_types(client: TestClient, path: str, content_type: str) -> None:
    answer = client.post(path, content=TABLES[path], headers=content_headers(content_type))
    expected = (422, True) if path == "/sales" else (200, False)  # a table without rows
    assert (answer.status_code, "at least one" in answer.text) == expected, answer.text
    refused = client.post(path, content=workbook(), headers=content_headers(content_type))
    assert "export the sheet as CSV" in refused.json()["detail"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("content_type", [None, FORM, MULTIPART, "text/plain", "application/octet-stream", XLSX])
def test_csv_routes_reject_other_types_with_command(client: TestClient, path: str, content_type: str | None) -> None:
    answer = client.post(path, content=TABLES[path], headers=content_headers(content_type))
    problem = assert_problem(answer, 415, "unsupported-media-type")
    assert "curl --data-binary @file.csv -H 'Content-Type: text/csv'" in problem["detail"]
