"""`POST /predict`: the tutorial's contract, and responses to any body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from housepredict.domain.estimates import Prediction
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.entrypoints.answers import PredictionAnswer, RecordedPredictionAnswer
from housepredict.entrypoints.http.routes.predict_routes import encode_predictions
from housepredict.entrypoints.json_documents import document, parts_of
from housepredict.testing import drawing as drawn_predictions
from tests.http_service import (
    LAB_HOUSE,
    CalibratedLabModel,
    application,
    assert_problem,
    broken,
    calibrated_version,
    lab_version,
    post,
    served,
)

MAX_BODY = 20_000

# Hypothesis runs many examples against one service, so the fixture is module-scoped. Tests don't change its state.


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(application(lab_version(), max_batch=20, max_body=MAX_BODY)) as made:
        yield made


def test_input_is_echoed_with_number_format_intact(client: TestClient) -> None:
    answer = post(client, '{"size":2500,"bedrooms":3.0,"age":10}')
    assert '"input":{"size":2500,"bedrooms":3.0,"age":10}' in answer.text


def test_price_has_at_most_two_decimals(client: TestClient) -> None:
    answer = post(client, '{"size": 1234.5678, "bedrooms": 3, "age": 10}')
    assert len(answer.text.partition('"prediction":')[2].partition(",")[0].partition(".")[2]) <= 2


def test_interval_without_calibration_is_omitted() -> None:
    with served(application(calibrated_version(within_90=None), load=CalibratedLabModel)) as client:
        assert client.post("/predict", json=LAB_HOUSE).json()["interval"].keys() == {"80"}
    with served(application(calibrated_version(None, None), load=CalibratedLabModel)) as client:
        answer = client.post("/predict", json=LAB_HOUSE).json()
    assert (answer["interval"], answer["fsd"]) == (None, 10.52)


# Empty houses, because a feature could have the name of a response field.
bare = drawn_predictions.estimates.map(lambda estimate: evolve(estimate, house=House({})))


@given(drawn_predictions.batches(bare, min_size=1))
def test_response_equals_stored_prediction(batch: list[Prediction]) -> None:
    house: dict[str, object] = {"sent": 1}
    answers = json.loads(encode_predictions(batch, [house] * len(batch), b""))["predictions"]
    assert json.loads(encode_predictions(batch[:1], house, b'{"sent":1}')) == answers[0]
    for answer, each in zip(answers, batch, strict=True):
        assert list(answer) == [part.name for part in parts_of(PredictionAnswer) if not part.optional]
        assert answer["interval"] == (
            {str(known.level): {"low": known.low, "high": known.high} for known in each.estimate.intervals} or None
        )
        assert (answer["prediction"], answer["fsd"]) == (each.price, each.estimate.fsd)
        listed = document(each, RecordedPredictionAnswer)
        assert {name: listed[name] for name in answer.keys() - {"prediction", "input"}} == {
            name: value for name, value in answer.items() if name not in ("prediction", "input")
        }


houses = st.fixed_dictionaries(
    {
        "size": st.integers(0, 10**6) | st.floats(0, 1e6),
        "bedrooms": st.integers(0, 100) | st.integers(0, 100).map(float),
        "age": st.integers(0, 1000),
    }
)


@given(st.lists(houses, min_size=1, max_size=20))
def test_batch_is_answered_in_order_with_inputs_intact(client: TestClient, batch: list[dict[str, Any]]) -> None:
    sent = json.dumps(batch)
    answers = post(client, sent).json()["predictions"]
    # Compare as text, because 3 == 3.0.
    assert json.dumps([each["input"] for each in answers]) == sent
    assert [each["prediction"] for each in answers] == [
        client.post("/predict", json=house).json()["prediction"] for house in batch
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(list(LAB_HOUSE)), inner),
    max_leaves=10,
)
bodies = st.binary() | json_values.map(json.dumps).map(str.encode) | st.text().map(str.encode)


@given(bodies, st.sampled_from(["application/json", "application/json; charset=UTF-8", "text/plain"]))
def test_service_survives_any_body(client: TestClient, body: bytes, content_type: str) -> None:
    answer = post(client, body, content_type)
    assert answer.status_code in (200, 400, 413, 415, 422), answer.text
    answer.content.decode()  # raises UnicodeDecodeError
    document = json.loads(answer.content, parse_constant=pytest.fail)
    assert isinstance(document, dict)
    if answer.status_code != 200:
        assert document.keys() >= {"type", "title", "status", "detail", "error"}


@given(json_values)
def test_refused_body_lists_violations(client: TestClient, value: Any) -> None:
    answer = client.post("/predict", content=json.dumps(value), headers={"Content-Type": "application/json"})
    if answer.status_code in (400, 422):
        problem = answer.json()
        assert problem["violations"]
        rules = {each["rule"] for each in problem["violations"]}
        assert (answer.status_code == 400) == ("missing" in rules)


@pytest.mark.parametrize(
    ("body", "status", "violations"),
    [
        ('{"size": 1, "bedrooms": 1, "age": true}', 422, [("/age", "type")]),
        ('{"size": "2500", "bedrooms": 1, "age": 1}', 422, [("/size", "type")]),
        ('{"size": 1, "bedrooms": 2.5, "age": 1}', 422, [("/bedrooms", "type")]),
        ('{"size": NaN, "bedrooms": 1, "age": 1}', 422, [("/size", "finite")]),
        ('{"size": Infinity, "bedrooms": -Infinity, "age": 1}', 422, [("/size", "finite"), ("/bedrooms", "finite")]),
        ('{"size": 1e999, "bedrooms": 1, "age": 1}', 422, [("/size", "finite")]),
        ('{"size": ' + "9" * 3000 + ', "bedrooms": 1, "age": 1}', 422, [("/size", "bounds")]),
        ('{"size": -1, "bedrooms": 1, "age": 1}', 422, [("/size", "bounds")]),
        ('{"size": 1, "size": 2, "bedrooms": 1, "age": 1}', 422, [("/size", "duplicate")]),
        ('{"size": 1, "bedrooms": 1, "age": 1, "a/b~": 1}', 422, [("/a~1b~0", "unknown")]),
        ('{"size": 1, "bedrooms": 1, "age": 1, "\\ud800": "\\udfff"}', 422, [("/?", "unknown")]),
        ('{"size": [1], "bedrooms": {}, "age": 1}', 422, [("/size", "type"), ("/bedrooms", "type")]),
        ('{"size": 1, "age": -1}', 400, [("/bedrooms", "missing"), ("/age", "bounds")]),
        ('{"size": 1, "bedrooms": null, "age": 1}', 400, [("/bedrooms", "missing")]),
        ("{}", 400, [("/size", "missing"), ("/bedrooms", "missing"), ("/age", "missing")]),
        ("5", 422, [("", "type")]),
        ('"abc"', 422, [("", "type")]),
        ("null", 422, [("", "type")]),
        ("[]", 422, [("", "empty")]),
        ("[" + ",".join(["{}"] * 21) + "]", 422, [("", "limit")]),
        ("[5, []]", 422, [("/0", "type"), ("/1", "type")]),
        ('[{"size": 1, "bedrooms": 1, "age": 1}, {"bedrooms": 1, "age": 1}]', 400, [("/1/size", "missing")]),
    ],
)
def test_violations_name_rule_and_pointer(
    client: TestClient, body: str, status: int, violations: list[tuple[str, str]]
) -> None:
    problem = assert_problem(post(client, body), status, "missing-feature" if status == 400 else "invalid-houses")
    assert broken(problem) == violations


def test_missing_feature_with_special_characters_is_named() -> None:
    schema = FeatureSchema((Feature("a/b~1", Kind.NUMBER),))
    with served(application(lab_version(schema=schema))) as client:
        assert post(client, "{}").json()["error"] == "Missing field: a/b~1"


def test_integer_beyond_python_digit_limit_is_violation() -> None:
    with served(application(lab_version())) as client:
        body = '{"size": ' + "9" * 5000 + ', "bedrooms": 1, "age": 1, "size": ' + "9" * 5000 + "}"
        problem = assert_problem(post(client, body), 422, "invalid-houses")
    assert broken(problem) == [("/size", "finite"), ("/size", "duplicate")]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "Infinity"),
        ("-5", -5),
        ("1e15", 1e15),
        ("1" + "0" * 300, "1" + "0" * 199 + "… (301 characters)"),
        ('"' + "x" * 201 + '"', "x" * 200 + "… (201 characters)"),
        ("[1, [2, [3]]]", [1, [2, "…"]]),
        ("[" + "1," * 10 + "1]", [1] * 10 + ["… 11 in all"]),
        ('{"a": {"b": {"c": NaN}}}', {"a": {"b": "…"}}),
        ('{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"11":1}',
         {str(number): 1 for number in range(1, 11)} | {"…": "11 in all"}),
        ('"\\ud83c\\udfe0"', "🏠"),
    ],
)  # fmt: skip
def test_violation_value_is_valid_bounded_json(client: TestClient, sent: str, shown: object) -> None:
    answer = post(client, '{"size": 1, "bedrooms": 1, "age": 1, "garage": ' + sent + "}")
    (violation,) = json.loads(answer.content, parse_constant=pytest.fail)["violations"]
    assert violation["value"] == shown


def test_long_feature_name_is_truncated_in_response(client: TestClient) -> None:
    answer = post(client, json.dumps({**LAB_HOUSE, "x" * 3000: 1}))
    (violation,) = broken(assert_problem(answer, 422, "invalid-houses"))
    assert violation == ("/" + "x" * 199 + "… (3001 characters)", "unknown")
    assert len(answer.content) < 2000
