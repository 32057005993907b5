"""Stored documents of older and newer releases are read; damaged ones are rejected."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.adapters.documents import (
    STORED_NAMES,
    NewerDocument,
    UnreadableDocument,
    from_json,
    prediction_from_row,
    structure,
    to_json,
    unstructure,
)
from housepredict.domain.errors import NewerModel, RefusedModel
from housepredict.domain.estimates import Interval
from housepredict.domain.evaluation.drift import SNAPSHOT_FILE, read_snapshot
from housepredict.domain.evaluation.held_out import HELD_OUT_FILE, HeldOut, HeldOutSale, read_held_out, write_held_out
from housepredict.domain.models import ModelVersion
from housepredict.domain.training_status import TrainingState, TrainingStatus
from housepredict.domain.warnings import EstimateWarning
from housepredict.testing.drawing import Drawing, exactly, model_versions, sample_version
from tests.releases import NEW, at, objects, with_new_fields

_few = settings(max_examples=40, deadline=None)
_drawing = Drawing({datetime: st.datetimes(timezones=st.just(UTC))})
_VALUES = st.one_of(model_versions({}), *(_drawing.builds(each) for each in (TrainingStatus, EstimateWarning)))


def _document(value: Any) -> Any:
    return json.loads(json.dumps(unstructure(value)))


@_few
@given(_VALUES, st.data())
def test_unknown_fields_are_ignored_at_any_depth(value: Any, data: st.DataObject) -> None:
    document = _document(value)
    _, path = data.draw(st.sampled_from(list(objects(type(value), document))))
    at(document, path)[data.draw(st.text().filter(lambda name: name not in at(document, path)))] = NEW
    assert exactly(structure(document, type(value))) == exactly(value)
    assert exactly(structure(with_new_fields(type(value), document), type(value))) == exactly(value)


def _optional(kind: type) -> dict[str, Any]:
    """Return the optional fields with the JSON values of their defaults."""
    defaults = {}
    for each in attrs.fields(attrs.resolve_types(kind)):
        default = each.default.factory() if isinstance(each.default, attrs.Factory) else each.default  # type: ignore[arg-type]
        if not each.eq:
            continue
        name = STORED_NAMES.get((kind, each.name), each.name)
        if default is not attrs.NOTHING:
            defaults[name] = _document(default)
        elif type(None) in getattr(each.type, "__args__", ()):
            defaults[name] = None
    return defaults


@_few
@given(_VALUES, st.data())
def test_missing_fields_get_their_default(value: Any, data: st.DataObject) -> None:
    document = _document(value)
    removable = [
        (path, name, default)
        for kind, path in objects(type(value), document)
        for name, default in _optional(kind).items()
    ]
    path, name, default = data.draw(st.sampled_from(removable))
    expected = _document(value)
    at(expected, path)[name] = default
    del at(document, path)[name]
    assert _document(structure(document, type(value))) == expected


@_few
@given(_VALUES, st.data())
def test_fields_without_default_are_required(value: Any, data: st.DataObject) -> None:
    document = _document(value)
    kind, path = data.draw(st.sampled_from(list(objects(type(value), document))))
    if required := sorted(at(document, path).keys() - _optional(kind).keys()):
        del at(document, path)[data.draw(st.sampled_from(required))]
        with pytest.raises(UnreadableDocument) as raised:
            structure(document, type(value))
        assert not isinstance(raised.value, NewerDocument)


@_few
@given(_VALUES, st.data())
def test_values_of_another_type_are_rejected_as_damage(value: Any, data: st.DataObject) -> None:
    document = _document(value)
    _, path = data.draw(st.sampled_from(list(objects(type(value), document))))
    name = data.draw(st.sampled_from(sorted(at(document, path))))
    at(document, path)[name] = object()
    with pytest.raises(UnreadableDocument) as raised:
        structure(document, type(value))
    assert not isinstance(raised.value, NewerDocument)


@pytest.mark.parametrize("document", [None, [], "text", 1, {}], ids=str)
def test_documents_that_are_not_objects_are_rejected_as_damage(document: object) -> None:
    with pytest.raises(UnreadableDocument):
        structure(document, TrainingStatus)


@pytest.mark.parametrize(
    "path",
    [("algorithm",), ("options", "algorithm"), ("options", "effort"), ("schema", "features", 0, "kind")],
    ids=str,
)
def test_unknown_enum_member_means_newer_release(path: tuple[str | int, ...]) -> None:
    document = json.loads(to_json(sample_version()[0]))
    at(document, path[:-1])[path[-1]] = "tomorrow's"
    with pytest.raises(NewerModel, match=rf"made by a newer release of housepredict: .*{path[-1]}.* Upgrade"):
        from_json(json.dumps(document))
    at(document, path[:-1])[path[-1]] = 1
    with pytest.raises(RefusedModel, match="is damaged"):
        from_json(json.dumps(document))


def test_damage_takes_precedence_over_newer_release() -> None:
    document = json.loads(to_json(sample_version()[0])) | {"algorithm": "forest", "self_test": 1}
    with pytest.raises(RefusedModel, match="is damaged") as raised:
        from_json(json.dumps(document))
    assert not isinstance(raised.value, NewerModel)


def test_unknown_training_state_means_newer_release() -> None:
    record = unstructure(TrainingStatus(UUID(int=1), datetime(2025, 6, 1, tzinfo=UTC), None))
    with pytest.raises(NewerDocument, match="paused"):
        structure(record | {"outcome": {"state": "paused"}}, TrainingStatus)


@_few
@given(model_versions({}))
def test_manifest_of_newer_release_round_trips(version: ModelVersion) -> None:
    newer = with_new_fields(ModelVersion, json.loads(to_json(version)))
    read = from_json(json.dumps(newer))
    assert exactly(read) == exactly(version)
    assert json.loads(to_json(read)) == newer
    signed = json.loads(to_json(attrs.evolve(read, signature="5ig")))
    assert signed == newer | {"signature": "5ig"}
    changed = to_json(attrs.evolve(read, name="another"))
    assert changed == to_json(attrs.evolve(version, name="another"))


@_few
@given(model_versions({}))
def test_manifest_of_this_release_stores_no_document(version: ModelVersion) -> None:
    assert from_json(to_json(version)).document is None


def test_measure_missing_from_older_manifest_is_none() -> None:
    @attrs.frozen
    class Measures:
        n: int
        added: float | None

    assert structure({"n": 1}, Measures) == Measures(1, None)


def test_row_of_newer_release_is_read() -> None:
    caveats: list[Any] = [{"code": "a", "message": "b", "new": NEW}, {"code": "a", "message": "b", "feature": "size"}]
    intervals: dict[str, Any] = {"80": [1.0, 3.0, 0.5], "kind": "plain"}
    read = prediction_from_row(
        {
            "id": str(UUID(int=1)),
            "created_at": "2025-06-01T00:00:00+00:00",
            "model_version": "v",
            "features": {"size": 1},
            "price": 2.0,
            "valued_on": None,
            "caveats": caveats,
            "intervals": intervals,
            "new": NEW,
        }
    )
    assert read.estimate.warnings == (EstimateWarning("a", "b"), EstimateWarning("a", "b", "size"))
    assert read.estimate.intervals == (Interval(80, 1.0, 3.0),)


def _held_out(**changes: Any) -> HeldOut | None:
    sales = HeldOut((HeldOutSale(1.0, 2.0, 0.5, latitude=47.0, longitude=-122.0),), 9)
    document = {**json.loads(write_held_out(sales)), **changes}
    return read_held_out({HELD_OUT_FILE: json.dumps(document).encode()})


def test_held_out_sales_are_read_by_column_name() -> None:
    read = _held_out(columns=["new", "price", "estimate"], sales=[[NEW, 2.0, 1.0]], new=NEW)
    assert read == HeldOut((HeldOutSale(1.0, 2.0),), 9)
    with pytest.raises(RefusedModel, match="is damaged"):
        _held_out(columns=["price"], sales=[[2.0]])
    with pytest.raises(RefusedModel, match="is damaged"):
        _held_out(columns=["price", "estimate"], sales=[[2.0]])


def test_newer_format_is_rejected_as_newer_release() -> None:
    with pytest.raises(
        NewerModel, match=r"held-out\.json was made by a newer release of housepredict.*format 2.*Upgrade"
    ):
        _held_out(format=2)
    with pytest.raises(NewerModel, match=r"snapshot\.json was made by a newer release of housepredict.*Upgrade"):
        read_snapshot({SNAPSHOT_FILE: b'{"format": 2}'})
    with pytest.raises(NewerModel, match=r"The manifest was made by a newer release of housepredict.*Upgrade"):
        from_json(json.dumps({"format": 2}))


@pytest.mark.parametrize("state", TrainingState)
def test_every_training_state_is_read(state: TrainingState) -> None:
    record = unstructure(TrainingStatus(UUID(int=1), datetime(2025, 6, 1, tzinfo=UTC), None))
    assert structure(record | {"outcome": {"state": str(state)}}, TrainingStatus).state is state
