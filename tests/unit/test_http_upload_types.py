"""A body that is sent is used, or refused with how to send it: by every route that takes one, whatever its type."""

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
NO_BODY = (
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


def typed(content_type: str | None, **more: str) -> dict[str, str]:
    return more if content_type is None else {"Content-Type": content_type, **more}


@pytest.fixture(params=["with a length", "in pieces"])
def pieces(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "in pieces")


def sent(content: bytes, pieces: bool) -> bytes | Iterator[bytes]:
    return (content[start : start + 7] for start in range(0, len(content), 7)) if pieces else content


@pytest.mark.parametrize("content_type", AS_CSV)
def test_csv_of_any_type_that_clients_send_it_as_is_trained_on(
    tmp_path: Path, content_type: str | None, pieces: bool
) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path, trainer)) as client:
        answer = client.post("/train?price=price", content=sent(SALES, pieces), headers=typed(content_type))
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
def test_packed_sales_are_known_by_their_first_bytes(
    tmp_path: Path, content_type: str | None, content: bytes, suffix: str, coding: Mapping[str, str]
) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path, trainer)) as client:
        answer = client.post("/train", content=content, headers=typed(content_type, **coding))
    assert answer.status_code == 200, answer.text
    (file,) = (tmp_path / "uploads").iterdir()
    assert file.name.endswith(suffix)
    assert len(trainer.seen) > 40


@pytest.mark.parametrize("content_type", REFUSED)
@pytest.mark.parametrize("content", [SALES, b"price\n1\n"], ids=["long", "short"])
def test_body_of_another_type_is_refused_with_the_command_that_sends_it(
    tmp_path: Path, content_type: str, content: bytes, pieces: bool
) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path, trainer)) as client:
        answer = client.post("/train?price=price", content=sent(content, pieces), headers=typed(content_type))
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
def test_workbooks_and_json_are_refused_under_any_type(
    tmp_path: Path, content_type: str | None, content: bytes, says: str
) -> None:
    with served(sending(tmp_path)) as client:
        answer = client.post("/train", content=content, headers=typed(content_type))
    detail = assert_problem(answer, 415, "unsupported-media-type")["detail"]
    assert says in detail or (content_type == XLSX and "export" in detail)


@pytest.mark.parametrize("content_type", NO_BODY)
@pytest.mark.parametrize("content", [b"", b"{}", b" {\n} ", b"\n"], ids=["empty", "object", "spaced", "blank"])
def test_empty_body_of_any_type_trains_on_the_sales_of_the_model_in_service(
    tmp_path: Path, content_type: str | None, content: bytes, pieces: bool
) -> None:
    trainer = FakeTrainer()
    made = sending(tmp_path, trainer)
    with served(made) as client:
        answer = client.post("/train", content=sent(content, pieces), headers=typed(content_type))
        # the sales of the model in service are gone: what matters is that they are what is looked for
        assert "/sales.csv" in assert_problem(answer, 409, "unusable-sales")["detail"]
        query = client.post("/train?from_sales=no", content=sent(content, pieces), headers=typed(content_type))
        assert_problem(query, 422, "invalid-query")
    assert not (tmp_path / "uploads").exists()


@pytest.mark.parametrize("content_type", ["text/csv", "application/vnd.ms-excel", "application/octet-stream"])
def test_empty_body_that_the_query_describes_is_an_empty_file(tmp_path: Path, content_type: str) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path, trainer)) as client:
        answer = client.post("/train?price=price", content=b"", headers=typed(content_type))
        assert "is empty" in assert_problem(answer, 409, "unusable-sales")["detail"]
    assert not trainer.seen


@pytest.mark.parametrize("content_type", [None, FORM, "application/json"])
def test_query_that_describes_no_body_is_invalid(tmp_path: Path, content_type: str | None) -> None:
    with served(sending(tmp_path)) as client:
        answer = client.post("/train?price=price", content=b"", headers=typed(content_type))
        assert_problem(answer, 422, "invalid-query")


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, br", "zstd"])
@pytest.mark.parametrize("content_type", ["text/csv", "text/plain", None])
def test_unknown_coding_is_refused(tmp_path: Path, content_type: str | None, coding: str) -> None:
    with served(sending(tmp_path)) as client:
        headers = typed(content_type, **{"Content-Encoding": coding})
        answer = client.post("/train", content=SALES, headers=headers)
    assert "Content-Encoding" in assert_problem(answer, 415, "unsupported-media-type")["detail"]
    assert answer.headers["Accept-Encoding"] == "gzip"


def test_command_is_safe_to_paste_whatever_the_host_is_called(tmp_path: Path) -> None:
    with served(sending(tmp_path, token="t" * 16)) as client:
        headers = typed(FORM, Host="localhost:5000", Authorization="Bearer " + "t" * 16)
        answer = client.post("/train?exclude=$(x)&exclude=a'b;c", content=SALES, headers=headers)
    command = shlex.split(assert_problem(answer, 415, "unsupported-media-type")["detail"].split("`")[-2])
    assert len(command) == 6


@given(
    content=st.binary(min_size=1, max_size=200).filter(lambda body: b"".join(body.split()) not in (b"", b"{}")),
    content_type=st.sampled_from([*AS_CSV, *REFUSED]),
    path=st.sampled_from(["/train", "/sales", "/models/rollback", "/models/lab/promote", "/predict"]),
)
def test_no_body_is_ever_ignored(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, content_type: str | None, path: str
) -> None:
    trainer = FakeTrainer()
    with served(sending(tmp_path_factory.mktemp("data"), trainer)) as client:
        answer = client.post(path, content=content, headers=typed(content_type))
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
def test_csv_by_any_of_its_names_is_read_by_routes_that_read_csv(
    client: TestClient, path: str, content_type: str
) -> None:
    answer = client.post(path, content=TABLES[path], headers=typed(content_type))
    expected = (422, True) if path == "/sales" else (200, False)  # a table without rows
    assert (answer.status_code, "at least one" in answer.text) == expected, answer.text
    refused = client.post(path, content=workbook(), headers=typed(content_type))
    assert "export the sheet as CSV" in refused.json()["detail"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("content_type", [None, FORM, MULTIPART, "text/plain", "application/octet-stream", XLSX])
def test_other_types_are_refused_with_how_to_send_csv(client: TestClient, path: str, content_type: str | None) -> None:
    answer = client.post(path, content=TABLES[path], headers=typed(content_type))
    problem = assert_problem(answer, 415, "unsupported-media-type")
    assert "curl --data-binary @file.csv -H 'Content-Type: text/csv'" in problem["detail"]
