"""The manifest's JSON: round trips and rejection of invalid documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.documents import from_json, to_json
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import House
from housepredict.domain.models import ModelVersion, SelfTest
from housepredict.domain.training_options import TrainingOptions
from housepredict.testing.drawing import exactly, model_versions, sample_version

VERSION, _ = sample_version()


class Removed:
    """Marks a value to remove."""

    def __repr__(self) -> str:
        return "removed"


REMOVED = Removed()


@given(model_versions({"model.bin": b"content"}))
def test_manifest_round_trips(version: ModelVersion) -> None:
    assert exactly(from_json(to_json(version))) == exactly(version)


@given(model_versions({}))
def test_equal_versions_have_equal_json(version: ModelVersion) -> None:
    assert to_json(from_json(to_json(version))) == to_json(version)


def test_manifest_is_indented_utf8() -> None:
    lines = to_json(evolve(VERSION, libraries={"für": "Häuser"})).decode().splitlines()
    assert lines[:3] == ["{", '  "format": 1,', '  "name": "a",']
    assert '    "für": "Häuser"' in lines


def manifest_with(value: Any, *path: str | int) -> bytes:
    document = json.loads(to_json(VERSION))
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    if value is REMOVED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (REMOVED, ("name",)),
        (REMOVED, ("evaluation", "accuracy", "mae")),
        (1, ("name",)),
        ("2025-06-01T12:00:00", ("created_at",)),
        (1748779200, ("created_at",)),
        (1, ("algorithm",)),
        ("abc", ("schema", "features", 0, "categories")),
        ({}, ("schema", "features")),
        (None, ("schema", "features", 0, "kind")),
        (1, ("schema", "features", 0, "required")),
        ("0", ("schema", "features", 0, "minimum")),
        ([1], ("schema", "features", 0, "observed")),
        ("2025-13-01", ("schema", "valuation_date")),
        ("800", ("evaluation", "trained_on")),
        (800.5, ("evaluation", "trained_on")),
        (True, ("self_test", 0, "price")),
        ("60", ("options", "time_limit")),
        (10**400, ("self_test", 0, "price")),
        (None, ("self_test", 0, "house", "values", "size")),
        ([1], ("self_test", 0, "house", "values", "size")),
        (["a"], ("digests",)),
        (None, ("source",)),
    ],
    ids=str,
)
def test_invalid_value_is_rejected_by_path(value: object, path: tuple[str | int, ...]) -> None:
    with pytest.raises(RefusedModel, match=f"damaged.*{path[-1]}"):
        from_json(manifest_with(value, *path))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_number_is_rejected(number: float) -> None:
    with pytest.raises(RefusedModel, match="not a finite number"):
        from_json(manifest_with(number, "self_test", 0, "price"))
    with pytest.raises(RefusedModel, match="model version a cannot be written"):
        to_json(evolve(VERSION, self_test=(SelfTest(House({}), number),)))


def test_number_beyond_float_range_is_rejected() -> None:
    with pytest.raises(RefusedModel, match="1e999"):
        from_json(to_json(VERSION).replace(b"254206.02", b"1e999"))


@pytest.mark.parametrize("number", [0, "2", True, None, REMOVED])
def test_unknown_format_is_rejected(number: object) -> None:
    with pytest.raises(RefusedModel, match=r"damaged: format"):
        from_json(manifest_with(number, "format"))


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"null", b"1", b"{", b"\xff", b"\0", b"[" * 100_000],
    ids=lambda manifest: repr(manifest[:4]),
)
def test_non_object_json_is_rejected(manifest: bytes) -> None:
    with pytest.raises(RefusedModel, match="The manifest"):
        from_json(manifest)


@given(st.data())
def test_truncated_manifest_is_rejected(data: st.DataObject) -> None:
    manifest = to_json(VERSION)
    with pytest.raises(RefusedModel):
        from_json(manifest[: data.draw(st.integers(0, len(manifest) - 1))])


@pytest.mark.parametrize(
    "version",
    [
        evolve(VERSION, created_at=VERSION.created_at.replace(tzinfo=None)),
        evolve(VERSION, name=1),  # type: ignore[arg-type]
        evolve(VERSION, name="\ud800"),
        evolve(VERSION, libraries={"a": object()}),  # type: ignore[dict-item]
    ],
    ids=["naive datetime", "name not text", "lone surrogate", "not JSON"],
)
def test_unreadable_version_is_not_written(version: ModelVersion) -> None:
    with pytest.raises(RefusedModel):
        to_json(version)


def test_manifest_without_rejected_rows_and_notes_is_read() -> None:
    version, _ = sample_version()
    document = json.loads(to_json(version))
    del document["source"]["rejected"], document["source"]["notes"]
    assert from_json(json.dumps(document)) == version


def test_manifest_without_training_day_and_encoding_is_read() -> None:
    version, _ = sample_version()
    document = json.loads(to_json(version))
    del document["source"]["read_on"], document["options"]["encoding"]
    assert from_json(json.dumps(document)) == version


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("seed", 2**33), ("time_limit", 2e9), ("encoding", "of-a-newer-python"), ("price", " ")],
)
def test_options_invalid_today_read_as_default(name: str, value: object) -> None:
    manifest = manifest_with(value, "options", name)
    version = from_json(manifest)
    assert getattr(version.options, name) == getattr(TrainingOptions(), name)
    assert json.loads(to_json(version)) == json.loads(manifest)


def test_options_of_wrong_type_are_rejected() -> None:
    with pytest.raises(RefusedModel, match=r"damaged: .*seed"):
        from_json(manifest_with("7", "options", "seed"))
