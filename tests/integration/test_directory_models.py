"""The model directory: store contract, file permissions and damaged files."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.domain.errors import ModelStoreUnavailable, RefusedModel, UnknownModel
from housepredict.domain.models import MAX_ARTIFACT, Pointer, digests_of
from housepredict.domain.ports import ModelStore
from housepredict.testing.drawing import sample_version
from housepredict.testing.model_contract import ModelStoreContract, NewStore

Damage = Callable[[Path], object]


class TestDirectoryModels(ModelStoreContract):
    @pytest.fixture
    def new_store(self, tmp_path: Path) -> NewStore:
        return lambda: DirectoryModels(Path(tempfile.mkdtemp(dir=tmp_path), "not", "there", "yet"))

    def reopen(self, store: ModelStore) -> ModelStore:
        assert isinstance(store, DirectoryModels)
        return DirectoryModels(store.path)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryModels:
    return DirectoryModels(tmp_path / "models")


@pytest.fixture
def folder(store: DirectoryModels) -> Path:
    """Return the directory of version `a`, which is stored next to version `b`."""
    store.add(*sample_version("a"))
    store.add(*sample_version("b"))
    return store.path / "versions" / "a"


def test_reads_do_not_create_the_directory(store: DirectoryModels) -> None:
    assert (store.versions(), store.pointer().name) == ([], None)
    for read in store.get, store.promote:
        with pytest.raises(UnknownModel):
            read("a")
    assert not store.path.exists()


def test_stored_files_are_private_to_owner(store: DirectoryModels, folder: Path) -> None:
    store.promote("a")
    modes = {path.relative_to(store.path): oct(path.stat().st_mode & 0o777) for path in store.path.rglob("*")}
    assert {str(path): mode for path, mode in modes.items() if "b" not in path.parts} == {
        "promoted": "0o600",
        "promotion.lock": "0o600",
        "versions": "0o700",
        "versions/a": "0o700",
        "versions/a/manifest.json": "0o600",
        "versions/a/model.bin": "0o600",
    }
    assert oct(store.path.stat().st_mode & 0o777) == "0o700"


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "changed byte": (lambda folder: (folder / "model.bin").write_bytes(b"c0ntent"), "model.bin was changed"),
    "truncated file": (lambda folder: cut_short(folder / "model.bin"), "model.bin was changed"),
    "missing file": (lambda folder: (folder / "model.bin").unlink(), "expected files model.bin, found none"),
    "extra file": (lambda folder: (folder / "more.bin").touch(), "found model.bin, more.bin"),
    "extra folder": (lambda folder: (folder / "more").mkdir(), "more is not a regular file"),
    "pipe": (lambda folder: os.mkfifo(folder / "pipe"), "pipe is not a regular file"),
    "link": (lambda folder: (folder / "link").symlink_to("model.bin"), "link is not a regular file"),
    "huge file": (lambda folder: os.truncate(folder / "model.bin", MAX_ARTIFACT + 1), "model.bin is too large"),
}
DAMAGED_MANIFESTS: dict[str, tuple[Damage, str]] = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
    "truncated manifest": (lambda folder: cut_short(folder / "manifest.json"), "The manifest is damaged"),
    "huge manifest": (lambda folder: os.truncate(folder / "manifest.json", 2**40), "manifest.json is too large"),
    "manifest of another version": (
        lambda folder: (folder / "manifest.json").write_bytes((folder.parent / "b" / "manifest.json").read_bytes()),
        "its manifest belongs to b",
    ),
    "newer manifest": (
        lambda folder: (folder / "manifest.json").write_text('{"format": 2}'),
        "made by a newer release of housepredict",
    ),
}


@pytest.mark.parametrize(("damage", "reason"), (DAMAGES | DAMAGED_MANIFESTS).values(), ids=DAMAGES | DAMAGED_MANIFESTS)
def test_damaged_version_is_rejected_with_reason(
    store: DirectoryModels, folder: Path, damage: Damage, reason: str
) -> None:
    damage(folder)
    with pytest.raises(RefusedModel, match=reason):
        store.get("a")
    assert store.get("b") == sample_version("b")


@pytest.mark.parametrize(
    "damage", [damage for damage, _ in (DAMAGES | DAMAGED_MANIFESTS).values()], ids=DAMAGES | DAMAGED_MANIFESTS
)
def test_damaged_version_is_repaired_by_adding_again(store: DirectoryModels, folder: Path, damage: Damage) -> None:
    damage(folder)
    store.add(*sample_version("a"))
    if damage is DAMAGED_MANIFESTS["newer manifest"][0]:
        assert (folder / "manifest.json").read_text() == '{"format": 2}'
    else:
        assert store.get("a") == sample_version("a")
        assert list(store.path.glob(".*")) == []


@pytest.mark.parametrize(("damage", "reason"), DAMAGED_MANIFESTS.values(), ids=DAMAGED_MANIFESTS)
def test_version_with_invalid_manifest_is_skipped_with_warning(
    store: DirectoryModels, folder: Path, damage: Damage, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder)
    with caplog.at_level(logging.WARNING):
        assert [version.name for version in store.versions()] == ["b"]
    (message,) = caplog.messages
    assert message.startswith("skipping model version a: ")
    assert reason in message


def test_unrelated_files_are_ignored(store: DirectoryModels, folder: Path) -> None:
    (folder.parent / ".DS_Store").touch()
    (folder.parent / "lost+found").mkdir()
    assert [version.name for version in store.versions()] == ["a", "b"]


def test_artifact_file_named_like_manifest_is_rejected(store: DirectoryModels) -> None:
    artifact = {"manifest.json": b"{}"}
    version = evolve(sample_version()[0], digests=digests_of(artifact))
    with pytest.raises(RefusedModel, match="may not be named"):
        store.add(version, artifact)


@pytest.mark.parametrize(
    "content", [b"", b"../a\n", b"\xff\xfe\n", b"a\0", b"a\nb\ngenerat", b"a\nb\ngeneration 1", b"a"]
)
def test_damaged_pointer_is_reported_and_fixed_by_promotion(
    store: DirectoryModels, folder: Path, content: bytes
) -> None:
    pointer = store.path / "promoted"
    pointer.write_bytes(content)
    with pytest.raises(ModelStoreUnavailable, match=f"{pointer} is damaged"):
        store.pointer()
    store.promote("a")
    assert store.pointer().name == "a"


def test_pointer_without_history_or_generation_is_read(store: DirectoryModels, folder: Path) -> None:
    (store.path / "promoted").write_text("a\n")
    assert (store.pointer(), list(store.history())) == (Pointer("a", 1), ["a"])
    store.promote("b")
    assert list(store.history()) == ["b", "a"]
    assert (store.path / "promoted").read_text() == "b\na\ngeneration 2\n"


def test_history_is_truncated_to_limit(store: DirectoryModels, folder: Path) -> None:
    (store.path / "promoted").write_text("a\nb\n" * 1000)
    store.promote("b")
    assert list(store.history()) == ["b", "a"] * 500


def test_damaged_history_is_unavailable(store: DirectoryModels, folder: Path) -> None:
    (store.path / "promoted").write_text("a\n../b\n")
    for call in store.pointer, store.history, lambda: store.rollback("a"):
        with pytest.raises(ModelStoreUnavailable, match="is damaged"):
            call()


def test_concurrent_promotions_are_all_in_history(store: DirectoryModels, folder: Path) -> None:
    for number in range(20):
        store.add(*sample_version(f"v{number}"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: DirectoryModels(store.path).promote(f"v{number}"), range(20)))
    assert sorted(store.history()) == sorted(f"v{number}" for number in range(20))


def test_unreadable_store_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = DirectoryModels(tmp_path / "file")
    calls: list[Callable[[], object]] = [store.versions, store.pointer, lambda: store.add(*sample_version())]
    for call in calls:
        with pytest.raises(ModelStoreUnavailable, match=str(store.path)) as raised:
            call()
        assert isinstance(raised.value.__cause__, OSError)


def test_old_leftovers_of_killed_writers_are_removed(store: DirectoryModels, folder: Path) -> None:
    old, young = store.path / ".tmp-old", store.path / ".tmp-young"
    for leftover in old, young:
        (leftover / "c").mkdir(parents=True)
        (leftover / "c" / "model.bin").touch()
    os.utime(old, (0, 0))
    assert [version.name for version in store.versions()] == ["a", "b"]
    store.add(*sample_version("c"))
    assert list(store.path.glob(".*")) == [young]
