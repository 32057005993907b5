"""Someone with write access to the model directory can't crash a service, run code, or forge signed prices."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.documents import MAX_MANIFEST
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.guarded_stores import SignedModels
from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.serving.loader import load_predictor
from housepredict.domain.errors import RefusedModel
from housepredict.domain.models import SelfTest, digests_of
from housepredict.domain.ports import ModelStore, Predictor
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import read_settings
from housepredict.testing.model_contract import ModelStoreContract, NewStore
from tests.factories import MIXED, a_house, a_log_form, sample_version

KEY = bytes(range(32))
HOUSE = a_house(size=1400, area="west", waterfront=True, sold="2015-05-27", bedrooms=3, heating="oil")
FORM = Linear(
    intercept=np.array(50_000.0),
    means=np.array([2000.0, 0.0, 0.5, 735_000.0, 3.0, 0.0]),
    coefficients=np.array([100.0, 0.0, 10_000.0, 0.25, 5_000.0, 0.0]),
    sizes=np.array([0, 5, 0, 0, 0, 3]),
    offsets=np.array([1.0, 2.0, 3.0, 4.0, 0.0, 5.0, 6.0, 0.0]),
)
VERSION, ARTIFACT = sample_version(FORM, schema=MIXED)
VERSION = evolve(VERSION, self_test=(SelfTest(HOUSE, load_predictor(VERSION, ARTIFACT).predict([HOUSE]).prices[0]),))


class TestSignedDirectory(ModelStoreContract):
    @pytest.fixture
    def new_store(self, tmp_path: Path) -> NewStore:
        return lambda: SignedModels(DirectoryModels(tempfile.mkdtemp(dir=tmp_path)), [KEY])

    def test_signature_is_stored(self, tested_store: ModelStore) -> None:
        """Skip this test, because the directory store beneath runs it."""


@pytest.fixture(params=[[], [KEY]], ids=["unsigned", "signed"])
def keys(request: pytest.FixtureRequest) -> Sequence[bytes]:
    keys: Sequence[bytes] = request.param
    return keys


def store_in(folder: Path, keys: Sequence[bytes]) -> ModelStore:
    directory = DirectoryModels(folder)
    return SignedModels(directory, keys) if keys else directory


def loaded(store: ModelStore) -> Predictor:
    store.versions()
    return load_predictor(*store.get(VERSION.name))


@pytest.mark.parametrize("name", ["manifest.json", *ARTIFACT])
def test_changed_byte_is_rejected_or_harmless(tmp_path: Path, keys: Sequence[bytes], name: str) -> None:
    """Without a key, the manifest itself cannot be verified."""
    store = store_in(tmp_path, keys)
    store.add(VERSION, ARTIFACT)
    file = tmp_path / "versions" / VERSION.name / name
    content = file.read_bytes()

    @given(place=st.integers(0, len(content) - 1), change=st.integers(1, 255))
    def changed(place: int, change: int) -> None:
        file.write_bytes(content[:place] + bytes([content[place] ^ change]) + content[place + 1 :])
        try:
            predictor = loaded(store)
        except RefusedModel:
            return
        assert name == "manifest.json"
        if keys:
            assert predictor.version == VERSION
            assert predictor.predict([HOUSE]) == load_predictor(VERSION, ARTIFACT).predict([HOUSE])

    changed()


@pytest.fixture
def store(tmp_path: Path, keys: Sequence[bytes]) -> ModelStore:
    """Return a store in the directory `models`, like an application's."""
    made = store_in(tmp_path / "models", keys)
    made.add(VERSION, ARTIFACT)
    made.add(*sample_version(a_log_form(), name="b"))
    return made


@pytest.fixture
def folder(store: ModelStore, tmp_path: Path) -> Path:
    return tmp_path / "models" / "versions" / VERSION.name


def swapped(folder: Path) -> None:
    serving, estimator, aside = (folder / name for name in ("serving.npz", "estimator.joblib", "aside"))
    serving.rename(aside)
    estimator.rename(serving)
    aside.rename(estimator)


def linked(folder: Path) -> None:
    """Replace the version's directory with a link to a copy elsewhere."""
    elsewhere = folder.parents[2] / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


def manifest_linked(folder: Path) -> None:
    manifest, elsewhere = folder / "manifest.json", folder.parents[2] / "manifest.json"
    manifest.rename(elsewhere)
    manifest.symlink_to(elsewhere)


def pointing_elsewhere(folder: Path) -> None:
    """Make the manifest name a file outside the version's directory."""
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"estimator.joblib"', b'"../b/manifest.json"'))


DAMAGES = {
    "swapped files": (swapped, "estimator.joblib, serving.npz were changed"),
    "file of another version": (
        lambda folder: (folder / "serving.npz").write_bytes((folder.parent / "b" / "serving.npz").read_bytes()),
        "serving.npz was changed",
    ),
    "linked folder": (linked, "a is a symbolic link"),
    "linked manifest": (manifest_linked, "manifest.json is not a regular file"),
    "file elsewhere": (pointing_elsewhere, "is not a valid name for a model version or its files"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_moved_or_linked_files_are_rejected(
    store: ModelStore, folder: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damage(folder)
    with pytest.raises(RefusedModel, match=reason):
        store.get(VERSION.name)
    assert store.get("b")


class _Bomb:
    """An object that creates a directory when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self._trace,)


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[bytes]:
    """Yield a pickle, and check that it was never opened."""
    trace = tmp_path / "opened"
    made = pickle.dumps(_Bomb(trace))
    pickle.loads(made)
    trace.rmdir()
    yield made
    assert not trace.exists(), "a pickle was opened"


@pytest.mark.parametrize("name", ["manifest.json", *ARTIFACT])
def test_pickle_in_place_of_file_is_never_opened(store: ModelStore, folder: Path, bomb: bytes, name: str) -> None:
    (folder / name).write_bytes(bomb)
    with pytest.raises(RefusedModel):
        loaded(store)


@pytest.mark.parametrize("name", ARTIFACT)
def test_pickle_named_in_manifest_is_never_opened(
    tmp_path: Path, keys: Sequence[bytes], bomb: bytes, name: str
) -> None:
    """Only someone with the key can plant such a pickle, or anyone if there is no key."""
    artifact = {**ARTIFACT, name: bomb}
    store_in(tmp_path / "models", keys).add(evolve(VERSION, digests=digests_of(artifact)), artifact)
    environment = {"HOUSEPREDICT_SIGNING_KEY": " ".join(key.hex() for key in keys)}
    with Application(read_settings(environment, data_dir=tmp_path)) as application:
        if name == "serving.npz":
            with pytest.raises(RefusedModel):
                application.promote(VERSION.name)
            application.models.promote(VERSION.name)
            with pytest.raises(RefusedModel):
                application.predict.one(HOUSE.values)
        else:
            application.promote(VERSION.name)
            assert application.predict.one(HOUSE.values).price > 0
        assert len(application.models.versions()) == 1


def test_oversized_manifest_is_rejected_and_leaves_nothing(tmp_path: Path, keys: Sequence[bytes]) -> None:
    store = store_in(tmp_path / "models", keys)
    with pytest.raises(RefusedModel, match=r"The manifest is too large: .* bytes; the limit is 4,194,304"):
        store.add(evolve(VERSION, libraries={"lib": "1" * MAX_MANIFEST}), ARTIFACT)
    assert list(tmp_path.iterdir()) == []
