"""Signed models: unsigned or modified versions are rejected everywhere, and keys are never shown."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve, fields
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from housepredict.adapters.documents import from_json, signed_texts, to_json
from housepredict.adapters.guarded_stores import SignedModels
from housepredict.adapters.memory import InMemoryModels
from housepredict.domain.errors import RefusedModel, UnknownModel
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import ModelStore
from housepredict.domain.training_options import Algorithm
from housepredict.testing.drawing import exactly, model_versions, sample_version
from housepredict.testing.model_contract import ModelStoreContract, NewStore
from tests.releases import NEW, at, objects, with_new_fields

_few = settings(max_examples=40, deadline=None)
KEY, OTHER = bytes(range(32)), bytes(range(32, 64))


class TestSignedModels(ModelStoreContract):
    @pytest.fixture
    def new_store(self) -> NewStore:
        return lambda: SignedModels(InMemoryModels(), [KEY])

    def test_signature_is_stored(self, tested_store: ModelStore) -> None:
        """The underlying store has the signature: `get` removes it, and `add` replaces it."""
        version, artifact = sample_version()
        tested_store.add(evolve(version, signature="another signature"), artifact)
        assert tested_store.get("a") == (version, artifact)
        assert list(tested_store.versions()) == [version]


def store_signed_by(key: bytes) -> InMemoryModels:
    """Return a store with the versions `a` and `b`, both promoted."""
    stored = InMemoryModels()
    for name in "ab":
        SignedModels(stored, [key]).add(*sample_version(name))
        stored.promote(name)
    return stored


def store_with_signature(signature: Callable[[str], str | None]) -> InMemoryModels:
    """Return such a store with another signature of `a`."""
    stored = store_signed_by(KEY)
    version, artifact = stored._kept["a"]
    stored._kept["a"] = evolve(version, signature=signature(version.signature or "")), artifact
    return stored


def store_with_manifest(**changes: Any) -> InMemoryModels:
    """Return such a store with another manifest of `a`."""
    stored = store_signed_by(KEY)
    version, artifact = stored._kept["a"]
    stored._kept["a"] = evolve(version, **changes), artifact
    return stored


UNTRUSTED: dict[str, tuple[InMemoryModels, str]] = {
    "no signature": (
        store_with_signature(lambda _own: None),
        "a is not signed, but HOUSEPREDICT_SIGNING_KEY requires it",
    ),
    "an empty signature": (store_with_signature(lambda _own: ""), "append that key"),
    "half a signature": (store_with_signature(lambda own: own[:32]), "append that key"),
    "more than a signature": (store_with_signature(lambda own: own + "0"), "append that key"),
    "a signature in capitals": (store_with_signature(str.upper), "append that key"),
    "a signature beyond ASCII": (store_with_signature(lambda own: "é" + own[1:]), "append that key"),
    "a signature beyond Unicode": (store_with_signature(lambda own: "\ud800" + own[1:]), "append that key"),
    "the signature of b": (
        store_with_signature(lambda _own: store_signed_by(KEY).get("b")[0].signature),
        "append that key",
    ),
    "another algorithm": (store_with_manifest(algorithm=Algorithm.RIDGE), "a was modified"),
    "another library": (store_with_manifest(libraries={}), "a was modified"),
    "a manifest that cannot be written": (store_with_manifest(name="\ud800"), "cannot be written"),
}


@pytest.mark.parametrize(("stored", "reason"), UNTRUSTED.values(), ids=UNTRUSTED)
def test_untrusted_version_is_rejected_and_pointer_unchanged(stored: InMemoryModels, reason: str) -> None:
    store = SignedModels(stored, [KEY])
    for call in store.get, store.promote, store.rollback:
        with pytest.raises(RefusedModel, match=reason):
            call("a")
    assert list(store.history()) == ["b", "a"]


@pytest.mark.parametrize(("stored", "reason"), UNTRUSTED.values(), ids=UNTRUSTED)
def test_untrusted_version_is_unlisted_and_logged(
    stored: InMemoryModels, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert list(SignedModels(stored, [KEY]).versions()) == [sample_version("b")[0]]
    (message,) = caplog.messages
    assert reason in message


def test_changed_files_are_rejected() -> None:
    stored = store_signed_by(KEY)
    stored._kept["a"] = stored._kept["a"][0], {"model.bin": b"other"}
    with pytest.raises(RefusedModel, match=r"model\.bin was changed"):
        SignedModels(stored, [KEY]).get("a")


def test_version_signed_with_another_key_is_rejected(caplog: pytest.LogCaptureFixture) -> None:
    store = SignedModels(store_signed_by(KEY), [OTHER])
    assert list(store.versions()) == []
    for name in "ab":
        with pytest.raises(RefusedModel, match="signed with a key that isn't in HOUSEPREDICT_SIGNING_KEY"):
            store.get(name)


def test_first_key_signs_and_all_verify() -> None:
    stored = store_signed_by(OTHER)
    store = SignedModels(stored, [KEY, OTHER])
    store.add(*sample_version("c"))
    assert [version.name for version in store.versions()] == ["a", "b", "c"]
    assert [version.name for version in SignedModels(stored, [KEY]).versions()] == ["c"]


def test_signed_version_is_usable_without_key() -> None:
    version, artifact = store_signed_by(KEY).get("a")
    assert (evolve(version, signature=None), artifact) == sample_version("a")


def test_missing_version_is_unknown() -> None:
    store = SignedModels(InMemoryModels(), [KEY])
    for call in store.get, store.promote, store.rollback:
        with pytest.raises(UnknownModel):
            call("a")


FIRST_RELEASE_SIGNATURE = "4a3a5c0826d79f45797f99813d38208032bee3f065ee379f3193a472239e85e8"


def test_signature_of_first_release_is_valid() -> None:
    """It covered the manifest without fields that had default values."""
    store = SignedModels(store_with_signature(lambda _own: FIRST_RELEASE_SIGNATURE), [KEY])
    assert store.get("a") == sample_version("a")


def test_signature_of_first_release_rejects_added_fields() -> None:
    for path in ((), ("source",), ("evaluation", "accuracy"), ("schema", "features", 0)):
        stored = store_with_signature(lambda _own: FIRST_RELEASE_SIGNATURE)
        version, artifact = stored._kept["a"]
        document = json.loads(to_json(version))
        at(document, path)["added"] = None
        stored._kept["a"] = from_json(json.dumps(document)), artifact
        with pytest.raises(RefusedModel, match="a was modified"):
            SignedModels(stored, [KEY]).get("a")


def _read_from(document: Any) -> InMemoryModels:
    """Return a store whose version was read from this manifest."""
    stored = InMemoryModels()
    version = from_json(json.dumps(document))
    stored._kept[version.name] = version, {}
    return stored


def _signed_by_a_newer_release(version: ModelVersion) -> Any:
    """Return a signed manifest whose objects all have fields of a newer release."""
    newer = with_new_fields(ModelVersion, json.loads(to_json(version)))
    store = _read_from(newer)
    read = store._kept.pop(version.name)[0]
    SignedModels(store, [KEY]).add(read, {})
    return json.loads(to_json(store.get(version.name)[0]))


@pytest.mark.slow
@given(model_versions({}))
@_few
def test_signature_over_newer_fields_is_valid_in_copies(version: ModelVersion) -> None:
    document = _signed_by_a_newer_release(version)
    for copy in (document, dict(reversed(document.items())), {**document, "signature": document["signature"]}):
        store = _read_from(copy)
        assert exactly(SignedModels(store, [KEY]).get(version.name)[0]) == exactly(version)
        again = InMemoryModels()
        SignedModels(again, [OTHER]).add(*SignedModels(store, [KEY]).get(version.name))  # signed again with another key
        assert exactly(SignedModels(again, [OTHER]).get(version.name)[0]) == exactly(version)
        assert json.loads(to_json(again.get(version.name)[0])).keys() == document.keys()


@given(model_versions({}), st.data())
@_few
def test_signature_detects_change_of_any_field(version: ModelVersion, data: st.DataObject) -> None:
    document = _signed_by_a_newer_release(version)
    _, path = data.draw(st.sampled_from(list(objects(ModelVersion, document))))
    place = at(document, path)
    name = data.draw(st.sampled_from(sorted(place.keys() - {"signature", "format", "digests", "name"})))
    change = data.draw(st.sampled_from(["change", "remove", "add"]))
    if change == "add":
        place["another"] = None
    elif change == "remove":
        del place[name]
    elif name == "of_a_newer_release":
        place[name] = data.draw(st.sampled_from([None, {}, {**NEW, "a": [1.0, 2.5, None, {"b": "…"}]}]))
    else:
        place[name] = data.draw(st.none() | st.integers() | st.text(max_size=3) | st.just([]))
        assume(_different(place[name], at(_signed_by_a_newer_release(version), path)[name]))
    try:
        store = _read_from(document)
    except RefusedModel:
        return  # The document is damaged.
    with pytest.raises(RefusedModel, match="was modified"):
        SignedModels(store, [KEY]).get(version.name)


def _different(one: Any, other: Any) -> bool:
    return bool(json.dumps(one) != json.dumps(other))


def test_key_is_hidden_in_errors_and_repr() -> None:
    store: ModelStore = SignedModels(store_signed_by(OTHER), [KEY])
    with pytest.raises(RefusedModel) as raised:
        store.get("a")
    for text in repr(store), str(raised.value):
        assert not any(form in text for form in (KEY.hex(), repr(KEY)[2:-1]))


@given(model_versions({}), model_versions({}), st.sampled_from([each.name for each in fields(ModelVersion)]))
def test_signature_covers_every_field(version: ModelVersion, other: ModelVersion, field: str) -> None:
    changed = evolve(version, **{field: getattr(other, field)})
    same = exactly(changed) == exactly(version) or field in ("signature", "document")
    assert (signed_texts(changed)[0] == signed_texts(version)[0]) is same
    assert (signed_texts(changed)[-1] == signed_texts(version)[-1]) is same


@given(model_versions({"model.bin": b"content"}), st.text())
def test_signature_ignores_order_of_mappings(version: ModelVersion, signature: str) -> None:
    """A database may change the order of the names in a mapping."""
    backwards = evolve(
        version,
        signature=signature,
        libraries=dict([*version.libraries.items()][::-1]),
        options=evolve(version.options, kinds=dict([*version.options.kinds.items()][::-1])),
    )
    assert signed_texts(backwards) == signed_texts(version)


def test_signature_of_whole_number_equals_that_of_float() -> None:
    version, _ = sample_version()
    whole, fractional = (
        evolve(version, self_test=(evolve(version.self_test[0], price=price),)) for price in (250_000, 250_000.0)
    )
    assert signed_texts(whole) == signed_texts(fractional)
