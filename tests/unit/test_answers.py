"""Answers as attrs classes: their documents and their schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from attrs import fields, frozen
from hypothesis import given

from housepredict.domain.estimates import Estimate, Prediction
from housepredict.entrypoints.answers import (
    RECORD_FIELDS,
    ExportedPredictionAnswer,
    PredictionAnswer,
    RecordedPredictionAnswer,
)
from housepredict.entrypoints.http.openapi import object_schema, schema_of
from housepredict.entrypoints.json_documents import (
    ABSENT,
    ITSELF,
    document,
    document_class,
    keywords,
    part,
    parts_of,
    spread,
)
from housepredict.testing.drawing import batches, estimates

SHOWN_AS: Mapping[type, Mapping[str, str]] = {
    PredictionAnswer: {"house": "input", "price": "prediction", "intervals": "interval"},
    ExportedPredictionAnswer: {"house": "input", "price": "prediction", "intervals": "interval"},
    RecordedPredictionAnswer: {"house": "features", "price": "predicted_price", "intervals": "interval"},
}


@pytest.mark.parametrize("kind", SHOWN_AS)
def test_answers_have_every_field_of_an_estimate(kind: type) -> None:
    names = {each.name for each in parts_of(kind)}
    assert {SHOWN_AS[kind].get(each.name, each.name) for each in fields(Estimate)} <= names


@given(batches(estimates, min_size=1))
def test_record_fields_are_those_beside_the_features(batch: list[Prediction]) -> None:
    for prediction in batch:
        names = document(prediction, RecordedPredictionAnswer).keys()
        assert names - prediction.estimate.house.values.keys() == RECORD_FIELDS


@frozen
class Owner:
    name: str
    since: date


@frozen
class House:
    id: UUID
    owner: Owner
    area: float
    rooms: Mapping[str, float]


@document_class
class RoomPart:
    share: float = part(ITSELF, digits=1)


@document_class
class OwnerAnswer:
    """The owner of a house."""

    name: str
    since: date = part(about="The day of the sale.")


@document_class
class HouseAnswer:
    id: UUID
    owned: OwnerAnswer = spread("owner", without=["name"])
    owner: OwnerAnswer
    area: Annotated[float, keywords(minimum=0)] = part(digits=0)
    secret: str | None = part("owner.name", is_public=False)
    note: str | None = part(lambda _: None, optional=True)
    floors: int | None = part(lambda _: ABSENT, optional=True, nullable=True)
    rooms: Mapping[str, RoomPart]
    since: Literal["always", "never"] = part(lambda _: "never")


HOUSE = House(UUID(int=1), Owner("Ann", date(2025, 1, 2)), 99.6, {"kitchen": 0.123})


def test_document_reads_each_field_from_its_source() -> None:
    made = document(HOUSE, HouseAnswer)
    assert list(made.items()) == [
        ("id", str(UUID(int=1))),
        ("since", "never"),  # replaces the field of the same name from the spread
        ("owner", {"name": "Ann", "since": "2025-01-02"}),
        ("area", 100),
        ("secret", "Ann"),
        ("rooms", {"kitchen": {"share": 0.1}}),
    ]


def test_document_prefers_explicit_values() -> None:
    made = document(HOUSE, HouseAnswer, note="new", floors=None, owner={"name": "Bob"})
    assert (made["note"], made["floors"], made["owner"]) == ("new", None, {"name": "Bob"})


def test_document_of_a_domain_value_has_its_fields() -> None:
    assert document(Owner("Ann", date(2025, 1, 2))) == {"name": "Ann", "since": "2025-01-02"}


def test_schema_matches_document_over_http() -> None:
    schema = object_schema(HouseAnswer, [OwnerAnswer])
    assert schema["properties"] == {
        "id": {"type": "string", "format": "uuid"},
        "since": {"type": "string", "enum": ["always", "never"]},
        "owner": {"$ref": "#/components/schemas/Owner"},
        "area": {"type": "number", "minimum": 0},
        "note": {"type": "string"},
        "floors": {"type": ["integer", "null"]},
        "rooms": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"share": {"type": "number"}},
                "required": ["share"],
            },
        },
    }
    assert schema["required"] == ["id", "since", "owner", "area", "rooms"]
    assert "description" not in schema
    assert object_schema(OwnerAnswer, [])["description"] == "The owner of a house."


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str | int | float | bool, {"type": ["string", "number", "boolean"]}),
        (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
        (Mapping[str, Any], {"type": "object"}),
        (float | None, {"type": ["number", "null"]}),
    ],
)
def test_schema_of_a_type(hint: object, schema: Mapping[str, object]) -> None:
    assert schema_of(hint) == schema


def test_schema_of_type_without_json_is_rejected() -> None:
    with pytest.raises(TypeError, match="has no schema"):
        schema_of(bytes)
