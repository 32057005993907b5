"""Verification of model versions: files, sizes and names."""

from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import evolve

from housepredict.domain.errors import HousepredictError, InvalidSettings, MissingExtra, RefusedModel
from housepredict.domain.models import MAX_ARTIFACT, MAX_FILE, digests_of, is_plain, verify, version_name
from housepredict.testing.doubles import NOON
from housepredict.testing.drawing import FakeSizedBytes, sample_version


def test_verify_accepts_manifest_files() -> None:
    verify(*sample_version())


def test_verify_names_changed_file() -> None:
    version, _ = sample_version()
    with pytest.raises(RefusedModel, match=r"a is damaged: model\.bin was changed"):
        verify(version, {"model.bin": b"other"})


@pytest.mark.parametrize(("files", "found"), [({}, "none"), ({"x": b"", "model.bin": b"content"}, r"model\.bin, x")])
def test_verify_rejects_missing_or_extra_files(files: dict[str, bytes], found: str) -> None:
    version, _ = sample_version()
    with pytest.raises(RefusedModel, match=rf"expected files model\.bin, found {found}$"):
        verify(version, files)


def verify_sizes(*sizes: int) -> None:
    files = {f"{number}.bin": FakeSizedBytes(size) for number, size in enumerate(sizes)}
    verify(evolve(sample_version()[0], digests=digests_of(files)), files)


def test_verify_rejects_oversized_file() -> None:
    verify_sizes(MAX_FILE)
    with pytest.raises(RefusedModel, match=rf"version a is too large: 1\.bin has over {MAX_FILE:,} bytes"):
        verify_sizes(1, MAX_FILE + 1)


def test_verify_rejects_oversized_total() -> None:
    verify_sizes(MAX_FILE, MAX_ARTIFACT - MAX_FILE)
    with pytest.raises(RefusedModel, match=f"over {MAX_ARTIFACT:,} bytes in total"):
        verify_sizes(MAX_FILE, MAX_ARTIFACT - MAX_FILE, 1)


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "-a", "a\n", "a b", "ä", "a" * 101])
def test_verify_rejects_unsafe_names(name: str) -> None:
    version, artifact = sample_version()
    assert not is_plain(name)
    with pytest.raises(RefusedModel, match="is not a valid name"):
        verify(evolve(version, name=name), artifact)
    with pytest.raises(RefusedModel, match="is not a valid name"):
        verify(evolve(version, digests=digests_of({name: b""})), {name: b""})


def test_version_name_sorts_by_time_and_identifies_content() -> None:
    one, other = ({"model.bin": content} for content in (b"one", b"other"))
    assert is_plain(version_name(NOON, one))
    assert version_name(NOON, one) != version_name(NOON, other)
    assert version_name(NOON, one) != version_name(NOON + timedelta(microseconds=1), one)
    assert max(version_name(NOON, one), version_name(NOON, other)) < version_name(NOON + timedelta(seconds=1), one)
    assert version_name(NOON, {"a": b"1", "b": b"2"}) == version_name(NOON, {"b": b"2", "a": b"1"})


def test_error_message_defaults_to_docstring() -> None:
    assert str(RefusedModel()) == "The model version failed a check and was not loaded."
    assert str(HousepredictError("more")) == "more"
    assert str(InvalidSettings(["one", "two"])) == "one; two"
    assert "requires housepredict[train], which is not installed: run pip install '.[train]'" in str(
        MissingExtra.named("train", "training")
    )
