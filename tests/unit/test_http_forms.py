"""The forms in which houses and estimates come beside plain JSON: tables in CSV, and gzip."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import Feature, FeatureSchema, House
from housepredict.entrypoints.composition import predictions_to_csv, read_houses_csv
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import MIN_COMPRESSED_BYTES, accepts_gzip, decompress, prefers_csv
from housepredict.testing import drawing as drawn_predictions
from tests.factories import MIXED
from tests.http_service import (
    LAB_HOUSE,
    LAB_PRICE,
    application,
    assert_problem,
    broken,
    lab_version,
    post,
    served,
)

TABLE = "size,bedrooms,age\n2500,3,10\n900.5,1,0\n"
MAX_BODY = 20_000
PLAIN = {"Accept-Encoding": "identity"}  # the client would ask for gzip


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(application(lab_version(), max_batch=400, max_body=MAX_BODY)) as made:
        yield made


def rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(table.splitlines()))


PACKED = gzip.compress(b"{}", mtime=0)


class TestTables:
    def test_a_row_of_empty_cells_is_a_row_and_no_more_at_the_end(self, client: TestClient) -> None:
        rows = "size,bedrooms,age\n2500,3,10\n,,\n900,1,-5\n,,\n ,,\n"
        problem = assert_problem(post(client, rows, "text/csv"), 400, "missing-feature")
        missing = [(f"/1/{name}", "missing") for name in ("age", "bedrooms", "size")]
        assert sorted(broken(problem)) == [*missing, ("/2/age", "bounds")]
        whole = post(client, ",,\nsize,bedrooms,age\n2500,3,10\n,,\n", "text/csv").json()
        assert len(whole["predictions"]) == 1

    @pytest.mark.parametrize(
        "table",
        [
            "\ufeffage;size;bedrooms\r\n10;2500;3\r\n\r\n",
            ' size , bedrooms,age\n\n" 2500 ",3,10\n\n',
            "size,bedrooms,age\n2.5e3,+3,10.0",
            'size,bedrooms,age\n"2,500",3,10',
            "size;bedrooms;age\n2.500,0;3;10",
            "sep=|\nsize|bedrooms|age||\n2 500|3|10|",
            "size\tbedrooms\tage\n2500.00\t3\t10,0",
        ],
    )
    def test_tables_are_read_however_they_are_written(self, client: TestClient, table: str) -> None:
        (found,) = post(client, table, "text/csv; charset=utf-8").json()["predictions"]
        assert found["prediction"] == LAB_PRICE

    @pytest.mark.parametrize(
        ("table", "found"),
        [
            ("", [("/size", "missing"), ("/bedrooms", "missing"), ("/age", "missing")]),
            ("size,bedrooms,age\n", [("", "empty")]),
            ("size,bedrooms,age\n1,2,3\nbig,2.5,3\n", [("/1/size", "type"), ("/1/bedrooms", "type")]),
            ("size,bedrooms,age\n1,2,-3\n", [("/0/age", "bounds")]),
            ("size,bedrooms,age\n1e999,2,3\n", [("/0/size", "finite")]),
            ("size,bedrooms,age\n1,2,3,4\n1,2\nbig,2,3\n", [("/0", "type"), ("/1", "type"), ("/2/size", "type")]),
            ("size,pool,size,age\n", [("/pool", "unknown"), ("/size", "duplicate"), ("/bedrooms", "missing")]),
            ("size,bedrooms,age\n2500,n/a,10\n", [("/0/bedrooms", "missing")]),
            ('size,bedrooms,age\n"2500,3,10\n1,2,-3\n', [("/0/size", "type"), ("/1/age", "bounds")]),
            ("size,bedrooms,age,,\n1,2,3,,x\n", [("/column 4", "unknown"), ("/column 5", "unknown")]),
            ("size,bedrooms,age\n9,1,2,3\n", [("/0", "type")]),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_told_by_row_and_column(
        self, client: TestClient, table: str, found: list[tuple[str, str]]
    ) -> None:
        status, name = (400, "missing-feature") if "missing" in dict(map(reversed, found)) else (422, "invalid-houses")  # type: ignore[arg-type]
        problem = assert_problem(post(client, table, "text/csv"), status, name)
        assert broken(problem) == found

    def test_what_is_no_utf_8_is_refused(self, client: TestClient) -> None:
        problem = assert_problem(post(client, b"size\n\xff", "text/csv"), 422, "invalid-houses")
        assert "not UTF-8: byte 5 is invalid" in problem["detail"]

    def test_cells_are_missing_where_they_would_be_in_a_file_of_sales(self) -> None:
        optional = FeatureSchema(tuple(Feature(each.name, each.kind, required=False) for each in MIXED.features))
        table = "size,area,waterfront,sold,bedrooms,heating\n,NA,null,NaT,?,\n1,north,TRUE,2015-05-27,2,98001\n"
        missing, present = read_houses_csv(table.encode(), optional, 1000)
        assert missing == {}
        assert present == {
            "size": 1, "area": "north", "waterfront": True, "sold": "2015-05-27", "bedrooms": 2, "heating": "98001",
        }  # fmt: skip


@given(drawn_predictions.batches(drawn_predictions.estimates, min_size=1))
def test_a_table_says_what_is_remembered_to_the_last_digit(batch: list[Prediction]) -> None:
    header, *found = csv.reader(io.StringIO(predictions_to_csv(batch).decode(), newline=""))
    assert len(set(header)) == len(header)
    for row, each in zip(found, batch, strict=True):
        said = dict(zip(header, row, strict=True))
        assert (said["prediction_id"], float(said["predicted_price"])) == (str(each.id), each.price)
        bounds = {level: (low, high) for level, low, high in each.estimate.intervals}
        for level in (80, 90):
            expected = bounds.get(level, ("", ""))
            assert (said[f"low_{level}"], said[f"high_{level}"]) == tuple(map(str, expected))


def test_a_feature_that_is_called_as_a_column_has_another_name_in_a_table() -> None:
    estimate = Estimate(House({"low_80": 1, "size": 2, "new": True}), 3.0, "a")
    (told,) = rows(predictions_to_csv([Prediction(uuid4(), datetime.now(UTC), estimate)]).decode())
    assert (told["low_80"], told["feature low_80"], told["size"], told["new"]) == ("", "1", "2", "true")


class TestGzip:
    def test_a_body_may_be_packed(self, client: TestClient) -> None:
        for body, media_type in ((json.dumps(LAB_HOUSE), "application/json"), (TABLE, "text/csv")):
            headers = {"Content-Type": media_type, "Content-Encoding": "gzip"}
            assert client.post("/predict", content=gzip.compress(body.encode()), headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "body",
        [b"", b"{}", zlib.compress(b"{}"), PACKED[:-1], PACKED[:9], PACKED * 2],
    )
    def test_what_is_no_gzip_is_refused(self, client: TestClient, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert_problem(client.post("/predict", content=body, headers=headers), 400, "not-gzip")

    def test_a_body_that_grows_too_large_is_refused_before_it_has(self, client: TestClient) -> None:
        bomb = gzip.compress(bytes(10_000_000))
        assert len(bomb) < MAX_BODY
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert_problem(client.post("/predict", content=bomb, headers=headers), 413, "body-too-large")
        assert len(decompress(bomb, MAX_BODY)) == MAX_BODY + 1

    def test_large_answers_are_packed_for_who_takes_them_so(self, client: TestClient) -> None:
        houses = [LAB_HOUSE] * 300
        for headers, packed in (({"Accept-Encoding": "gzip"}, True), (PLAIN, False)):
            for answer in (
                client.post("/predict", json=houses, headers=headers),
                client.get("/predictions?limit=300", headers=headers),
            ):
                assert len(answer.content) > MIN_COMPRESSED_BYTES
                assert answer.headers["Vary"] == "Accept, Accept-Encoding"
                assert ("Content-Encoding" in answer.headers) is packed
                assert (int(answer.headers["Content-Length"]) < len(answer.content)) is packed
                assert len(answer.json()["predictions"]) == 300

    def test_an_answer_about_a_house_is_not(self, client: TestClient) -> None:
        answer = client.post("/predict", json=LAB_HOUSE, headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in answer.headers


@given(st.binary(max_size=2000), st.integers(0, 2000))
def test_nothing_is_unpacked_beyond_the_limit(content: bytes, limit: int) -> None:
    assert decompress(gzip.compress(content), limit) == content[: limit + 1]


@given(st.binary(max_size=50), st.integers(0, 60), st.binary(max_size=10))
def test_whatever_is_said_to_be_gzip_is_unpacked_or_refused(content: bytes, at: int, noise: bytes) -> None:
    body = gzip.compress(content)
    with suppress(Problem):
        assert len(decompress(body[:at] + noise + body[at + len(noise) :], 100)) <= 101


@pytest.mark.parametrize(
    ("said", "gzip_too"),
    [("gzip", True), ("GZIP;q=0.5", True), ("x-gzip", True), ("*", True), ("br, gzip;q=0", False), ("*;q=0", False),
     ("gzip;q=0, *", False), ("gzip;q=much", False), ("", False), ("identity", False)],
)  # fmt: skip
def test_who_takes_gzip(said: str, gzip_too: bool) -> None:
    assert accepts_gzip(Headers({"Accept-Encoding": said})) is gzip_too


@pytest.mark.parametrize(
    ("said", "in_csv"),
    [("text/csv", True), ("text/csv, */*;q=0.1", True), ("*/*", False), ("application/json, text/csv;q=0.9", False),
     ("text/csv;q=0", False), ("", False), ("text/csv;header=present;q=0.9, application/json;q=0.1", True)],
)  # fmt: skip
def test_who_wants_csv(said: str, in_csv: bool) -> None:
    assert prefers_csv(Headers({"Accept": said})) is in_csv


def test_a_request_without_these_headers_gets_json_as_it_is() -> None:
    nothing = Headers({})
    assert not accepts_gzip(nothing)
    assert not prefers_csv(nothing)
