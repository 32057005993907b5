"""A version is refused unless its files are those of its manifest."""

from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import evolve

from housepredict.domain.errors import HousepredictError, InvalidSettings, MissingExtra, RefusedModel
from housepredict.domain.models import MAX_ARTIFACT, MAX_FILE, digests_of, is_plain, verify, version_name
from housepredict.testing.doubles import NOON
from housepredict.testing.drawing import FakeSizedBytes, sample_version


def test_the_files_of_the_manifest_are_accepted() -> None:
    verify(*sample_version())


def test_a_file_that_was_changed_is_named() -> None:
    version, _ = sample_version()
    with pytest.raises(RefusedModel, match=r"a is damaged: model\.bin was changed"):
        verify(version, {"model.bin": b"other"})


@pytest.mark.parametrize(("files", "found"), [({}, "none"), ({"x": b"", "model.bin": b"content"}, r"model\.bin, x")])
def test_other_files_than_those_of_the_manifest_are_refused(files: dict[str, bytes], found: str) -> None:
    version, _ = sample_version()
    with pytest.raises(RefusedModel, match=rf"expected files model\.bin, found {found}$"):
        verify(version, files)


def verify_sizes(*sizes: int) -> None:
    files = {f"{number}.bin": FakeSizedBytes(size) for number, size in enumerate(sizes)}
    verify(evolve(sample_version()[0], digests=digests_of(files)), files)


def test_a_file_that_is_too_large_is_refused() -> None:
    verify_sizes(MAX_FILE)
    with pytest.raises(RefusedModel, match=rf"version a is too large: 1\.bin has over {MAX_FILE:,} bytes"):
        verify_sizes(1, MAX_FILE + 1)


def test_files_that_are_too_large_together_are_refused() -> None:
    verify_sizes(MAX_FILE, MAX_ARTIFACT - MAX_FILE)
    with pytest.raises(RefusedModel, match=f"over {MAX_ARTIFACT:,} bytes in total"):
        verify_sizes(MAX_FILE, MAX_ARTIFACT - MAX_FILE, 1)


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "-a", "a\n", "a b", "ä", "a" * 101])
def test_a_name_that_is_no_plain_name_is_refused(name: str) -> None:
    version, artifact = sample_version()
    assert not is_plain(name)
    with pytest.raises(RefusedModel, match="is not a valid name"):
        verify(evolve(version, name=name), artifact)
    with pytest.raises(RefusedModel, match="is not a valid name"):
        verify(evolve(version, digests=digests_of({name: b""})), {name: b""})


def test_a_versions_name_sorts_by_time_and_tells_what_was_made() -> None:
    one, other = ({"model.bin": content} for content in (b"one", b"other"))
    assert is_plain(version_name(NOON, one))
    assert version_name(NOON, one) != version_name(NOON, other)
    assert version_name(NOON, one) != version_name(NOON + timedelta(microseconds=1), one)
    assert max(version_name(NOON, one), version_name(NOON, other)) < version_name(NOON + timedelta(seconds=1), one)
    assert version_name(NOON, {"a": b"1", "b": b"2"}) == version_name(NOON, {"b": b"2", "a": b"1"})


def test_an_error_says_what_its_docstring_says_unless_it_is_told_more() -> None:
    assert str(RefusedModel()) == "The model version failed a check and was not loaded."
    assert str(HousepredictError("more")) == "more"
    assert str(InvalidSettings(["one", "two"])) == "one; two"
    assert "requires housepredict[train], which is not installed: run pip install '.[train]'" in str(
        MissingExtra.named("train", "training")
    )
