"""A shared model store: contract, outages, and takeover of versions from a local directory."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import define

from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.guarded_stores import SharedModels
from housepredict.adapters.memory import InMemoryModels
from housepredict.domain.errors import ModelStoreUnavailable, RefusedModel
from housepredict.domain.models import Artifact, ModelVersion, Pointer
from housepredict.domain.ports import ModelStore
from housepredict.testing.drawing import sample_version
from housepredict.testing.model_contract import ModelStoreContract, NewStore


class TestSharedModels(ModelStoreContract):
    @pytest.fixture
    def new_store(self, tmp_path: Path) -> NewStore:
        def opened(shared: ModelStore) -> SharedModels:
            return SharedModels(shared, DirectoryModels(Path(tempfile.mkdtemp(dir=tmp_path))))

        self._opened = opened
        return lambda: opened(InMemoryModels())

    def reopen(self, store: ModelStore) -> ModelStore:
        assert isinstance(store, SharedModels)
        return self._opened(store._shared)


@define
class Reachable(InMemoryModels):
    """An in-memory store that can be disconnected."""

    up: bool = True

    def pointer(self) -> Pointer:
        self._require_up()
        return super().pointer()

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        self._require_up()
        return super().get(name)

    def versions(self) -> Sequence[ModelVersion]:
        self._require_up()
        return super().versions()

    def _require_up(self) -> None:
        if not self.up:
            raise ModelStoreUnavailable("the cable was pulled")


@pytest.fixture
def shared() -> Reachable:
    return Reachable()


@pytest.fixture
def local(tmp_path: Path) -> DirectoryModels:
    return DirectoryModels(tmp_path / "models")


def served(store: ModelStore) -> str | None:
    """Load the promoted version like a service does."""
    name = store.pointer().name
    return store.get(name)[0].name if name else None


def test_last_served_version_survives_outage_and_restart(
    shared: Reachable, local: DirectoryModels, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        shared.add(*sample_version(name))
    before = SharedModels(shared, local)
    for name in "abca":
        shared.promote(name)
        assert served(before) == name
    shared.up = False
    after = SharedModels(shared, local)
    for store in before, after:
        assert [served(store), served(store)] == ["a", "a"]
        with pytest.raises(ModelStoreUnavailable):
            store.versions()
    assert caplog.text.count("the cable was pulled") == 2
    shared.up = True
    shared.promote("b")
    assert [served(before), served(after)] == ["b", "b"]


def test_outage_without_local_copy_is_unavailable(shared: Reachable, local: DirectoryModels) -> None:
    shared.add(*sample_version("a"))
    shared.promote("a")
    shared.up = False
    with pytest.raises(ModelStoreUnavailable, match="the cable was pulled"):
        SharedModels(shared, local).pointer()


def test_local_promoted_version_is_copied_to_empty_shared_store(shared: Reachable, local: DirectoryModels) -> None:
    local.add(*sample_version("a"))
    local.promote("a")
    assert served(SharedModels(shared, local)) == "a"
    assert (shared.pointer().name, shared.get("a")) == ("a", sample_version("a"))


def test_local_promotion_does_not_override_shared_store(shared: Reachable, local: DirectoryModels) -> None:
    local.add(*sample_version("a"))
    local.promote("a")
    shared.add(*sample_version("b"))
    shared.promote("b")
    assert served(SharedModels(shared, local)) == "b"
    assert list(shared.history()) == ["b"]


def test_damaged_copy_is_bypassed(shared: Reachable, local: DirectoryModels) -> None:
    shared.add(*sample_version("a"))
    store = SharedModels(shared, local)
    store.get("a")
    (local.path / "versions" / "a" / "model.bin").write_bytes(b"other")
    with pytest.raises(RefusedModel):
        local.get("a")
    assert store.get("a") == sample_version("a")


def test_damaged_copy_is_replaced(shared: Reachable, local: DirectoryModels) -> None:
    shared.add(*sample_version("a"))
    shared.promote("a")
    models = SharedModels(shared, local)
    models.pointer()
    models.get("a")
    (local.path / "versions" / "a" / "model.bin").write_bytes(b"")
    models.get("a")
    shared.up = False
    assert SharedModels(shared, local).get("a") == sample_version("a")


def test_unwritable_disk_only_skips_the_copy(
    shared: Reachable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared.add(*sample_version("a"))
    shared.promote("a")
    (tmp_path / "models").write_text("a file where the folder would be")
    with caplog.at_level(logging.WARNING):
        assert served(SharedModels(shared, DirectoryModels(tmp_path / "models"))) == "a"
    assert "a was not copied to the local store" in caplog.text
