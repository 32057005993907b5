"""CSV and gzip as alternatives to plain JSON."""

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
from housepredict.testing import drawing
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
PLAIN = {"Accept-Encoding": "identity"}  # the client asks for gzip by default


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(application(lab_version(), max_batch=400, max_body=MAX_BODY)) as made:
        yield made


def rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(table.splitlines()))


COMPRESSED = gzip.compress(b"{}", mtime=0)


class TestCsv:
    def test_csv_empty_rows_count_except_at_the_end(self, client: TestClient) -> None:
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
    def test_csv_in_any_dialect_is_read(self, client: TestClient, table: str) -> None:
        (estimate,) = post(client, table, "text/csv; charset=utf-8").json()["predictions"]
        assert estimate["prediction"] == LAB_PRICE

    @pytest.mark.parametrize(
        ("table", "expected"),
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
    def test_csv_violations_have_row_and_column(
        self, client: TestClient, table: str, expected: list[tuple[str, str]]
    ) -> None:
        status, name = (
            (400, "missing-feature") if "missing" in dict(map(reversed, expected)) else (422, "invalid-houses")  # type: ignore[arg-type]
        )
        problem = assert_problem(post(client, table, "text/csv"), status, name)
        assert broken(problem) == expected

    def test_csv_that_is_not_utf_8_is_rejected(self, client: TestClient) -> None:
        problem = assert_problem(post(client, b"size\n\xff", "text/csv"), 422, "invalid-houses")
        assert "not UTF-8: byte 5 is invalid" in problem["detail"]

    def test_csv_missing_markers_match_sales_files(self) -> None:
        optional = FeatureSchema(tuple(Feature(each.name, each.kind, required=False) for each in MIXED.features))
        table = "size,area,waterfront,sold,bedrooms,heating\n,NA,null,NaT,?,\n1,north,TRUE,2015-05-27,2,98001\n"
        missing, present = read_houses_csv(table.encode(), optional, 1000)
        assert missing == {}
        assert present == {
            "size": 1, "area": "north", "waterfront": True, "sold": "2015-05-27", "bedrooms": 2, "heating": "98001",
        }  # fmt: skip


@given(drawing.batches(drawing.estimates, min_size=1))
def test_csv_has_exact_prices_and_bounds(batch: list[Prediction]) -> None:
    header, *lines = csv.reader(io.StringIO(predictions_to_csv(batch).decode(), newline=""))
    assert len(set(header)) == len(header)
    for row, each in zip(lines, batch, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert (cells["prediction_id"], float(cells["predicted_price"])) == (str(each.id), each.price)
        bounds = {level: (low, high) for level, low, high in each.estimate.intervals}
        for level in (80, 90):
            expected = bounds.get(level, ("", ""))
            assert (cells[f"low_{level}"], cells[f"high_{level}"]) == tuple(map(str, expected))


def test_csv_feature_named_like_a_column_is_prefixed() -> None:
    estimate = Estimate(House({"low_80": 1, "size": 2, "new": True}), 3.0, "a")
    (row,) = rows(predictions_to_csv([Prediction(uuid4(), datetime.now(UTC), estimate)]).decode())
    assert (row["low_80"], row["feature low_80"], row["size"], row["new"]) == ("", "1", "2", "true")


class TestGzip:
    def test_gzip_body_is_accepted(self, client: TestClient) -> None:
        for body, media_type in ((json.dumps(LAB_HOUSE), "application/json"), (TABLE, "text/csv")):
            headers = {"Content-Type": media_type, "Content-Encoding": "gzip"}
            assert client.post("/predict", content=gzip.compress(body.encode()), headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "body",
        [b"", b"{}", zlib.compress(b"{}"), COMPRESSED[:-1], COMPRESSED[:9], COMPRESSED * 2],
    )
    def test_invalid_gzip_is_rejected(self, client: TestClient, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert_problem(client.post("/predict", content=body, headers=headers), 400, "not-gzip")

    def test_gzip_bomb_is_rejected(self, client: TestClient) -> None:
        bomb = gzip.compress(bytes(10_000_000))
        assert len(bomb) < MAX_BODY
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert_problem(client.post("/predict", content=bomb, headers=headers), 413, "body-too-large")
        assert len(decompress(bomb, MAX_BODY)) == MAX_BODY + 1

    def test_large_responses_are_compressed_on_request(self, client: TestClient) -> None:
        houses = [LAB_HOUSE] * 300
        for headers, is_compressed in (({"Accept-Encoding": "gzip"}, True), (PLAIN, False)):
            for answer in (
                client.post("/predict", json=houses, headers=headers),
                client.get("/predictions?limit=300", headers=headers),
            ):
                assert len(answer.content) > MIN_COMPRESSED_BYTES
                assert answer.headers["Vary"] == "Accept, Accept-Encoding"
                assert ("Content-Encoding" in answer.headers) is is_compressed
                assert (int(answer.headers["Content-Length"]) < len(answer.content)) is is_compressed
                assert len(answer.json()["predictions"]) == 300

    def test_response_for_one_house_is_not_compressed(self, client: TestClient) -> None:
        answer = client.post("/predict", json=LAB_HOUSE, headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in answer.headers


@given(st.binary(max_size=2000), st.integers(0, 2000))
def test_decompress_stops_at_the_limit(content: bytes, limit: int) -> None:
    assert decompress(gzip.compress(content), limit) == content[: limit + 1]


@given(st.binary(max_size=50), st.integers(0, 60), st.binary(max_size=10))
def test_decompress_accepts_or_rejects_any_bytes(content: bytes, at: int, noise: bytes) -> None:
    body = gzip.compress(content)
    with suppress(Problem):
        assert len(decompress(body[:at] + noise + body[at + len(noise) :], 100)) <= 101


@pytest.mark.parametrize(
    ("header_value", "is_accepted"),
    [("gzip", True), ("GZIP;q=0.5", True), ("x-gzip", True), ("*", True), ("br, gzip;q=0", False), ("*;q=0", False),
     ("gzip;q=0, *", False), ("gzip;q=much", False), ("", False), ("identity", False)],
)  # fmt: skip
def test_accept_encoding_is_parsed(header_value: str, is_accepted: bool) -> None:
    assert accepts_gzip(Headers({"Accept-Encoding": header_value})) is is_accepted


@pytest.mark.parametrize(
    ("header_value", "is_preferred"),
    [("text/csv", True), ("text/csv, */*;q=0.1", True), ("*/*", False), ("application/json, text/csv;q=0.9", False),
     ("text/csv;q=0", False), ("", False), ("text/csv;header=present;q=0.9, application/json;q=0.1", True)],
)  # fmt: skip
def test_accept_header_is_parsed(header_value: str, is_preferred: bool) -> None:
    assert prefers_csv(Headers({"Accept": header_value})) is is_preferred


def test_default_response_is_uncompressed_json() -> None:
    nothing = Headers({})
    assert not accepts_gzip(nothing)
    assert not prefers_csv(nothing)
