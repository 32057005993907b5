"""Archives of arrays: valid ones are read back, and zip bombs are rejected."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from housepredict.adapters.serving.arrays import MAX_ARRAYS, MAX_UNPACKED, arrays_in
from housepredict.adapters.serving.loader import load_predictor
from housepredict.domain.errors import RefusedModel
from housepredict.domain.models import digests_of
from tests.factories import a_log_form, sample_version

MIB = 2**20
READ = "format"
"""The name of an array that every serving form has; arrays with other names are not unpacked."""
NUMBERS = arrays.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.int8, np.uint32]),
    arrays.array_shapes(min_dims=0, min_side=0, max_dims=3),
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?", fullmatch=True), NUMBERS, max_size=5), st.data())
def test_arrays_are_read_back_unchanged(given_arrays: dict[str, np.ndarray], data: st.DataObject) -> None:
    if data.draw(st.booleans(), label="by columns"):
        given_arrays = {name: np.asfortranarray(array) for name, array in given_arrays.items()}
    buffer = BytesIO()
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(buffer, allow_pickle=False, **given_arrays)
    found = arrays_in(buffer.getvalue(), given_arrays)
    assert list(found) == list(given_arrays)
    for name, array in given_arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_large_array_is_read_with_little_extra_memory() -> None:
    array = np.random.default_rng(1).random((MIB + 1,))
    buffer = BytesIO()
    np.savez_compressed(buffer, array=array)
    content = buffer.getvalue()
    tracemalloc.start()
    try:
        found = arrays_in(content, {"array"})["array"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found == array).all()
    assert not found.flags.writeable
    # Besides the array, memory holds the archive, which is nearly as large: random numbers do not compress.
    assert peak < len(content) + array.nbytes + 4 * MIB


def test_unrequested_arrays_are_not_unpacked() -> None:
    content = archive(an_array(), b"no array", an_array())
    assert list(arrays_in(content, {"0", "2"})) == ["0", "2"]


def an_array(*, shape: tuple[int, ...] = (4,), dtype: str = "<f8", content: bytes = bytes(32)) -> bytes:
    """Return an archive member whose header may not match its content."""
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": dtype})
    return buffer.getvalue() + content


def archive(*members: bytes, method: int = ZIP_DEFLATED, first: str = "0") -> bytes:
    buffer = BytesIO()
    with ZipFile(buffer, "w", method) as file:
        for number, member in enumerate(members):
            file.writestr(f"{number or first}.npy", member)
    return buffer.getvalue()


def zeros_archive(size: int, claimed: int | None = None) -> bytes:
    """Return an archive of one array of zeros with `size` bytes, of which the header claims `claimed`."""
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED, compresslevel=1) as file, file.open(f"{READ}.npy", "w") as member:
        member.write(an_array(shape=((claimed or size) // 8,), content=b""))
        for _ in range(size // MIB):
            member.write(bytes(MIB))
    return buffer.getvalue()


def repeated_member_archive() -> bytes:
    """Return an archive whose table of contents lists the same 30 MiB of zeros many times."""
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as file:
        file.writestr(f"{READ}.npy", an_array(shape=(30 * MIB // 8,), content=bytes(30 * MIB)))
        file.filelist *= 20
    return buffer.getvalue()


def understated_size_archive() -> bytes:
    """Return an archive that declares 64 KiB, like its array header, and unpacks to 64 MiB."""
    size = struct.pack("<L", 64 * MIB + 128)
    return zeros_archive(64 * MIB, claimed=2**16 - 128).replace(size, struct.pack("<L", 2**16))


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "too many zeros": (lambda: zeros_archive(MAX_UNPACKED), "the arrays take 536,871,040 bytes unpacked"),
    "a repeated member": (repeated_member_archive, "the arrays take 629,148,160 bytes unpacked"),
    "an understated size": (understated_size_archive, "Bad CRC-32"),
    "a shape of terabytes": (lambda: archive(an_array(shape=(10**12,)), first=READ), "doesn't match float64 of shape"),
    "an empty shape": (
        lambda: archive(an_array(shape=(10**12, 0, 10**9)), first=READ),
        "doesn't match float64 of shape",
    ),
    "too many arrays": (lambda: archive(*[an_array()] * (MAX_ARRAYS + 1)), "more than 100 arrays"),
    "a long table of contents": (lambda: archive(*[an_array()] * 2)[:-22] * 10_000, "more than 100 arrays"),
    "LZMA": (lambda: archive(an_array(), method=ZIP_LZMA, first=READ), "compressed by method 14"),
    "bzip2": (lambda: archive(an_array(content=bytes(MIB)), method=ZIP_BZIP2, first=READ), "compressed by method 12"),
}


@pytest.mark.parametrize(("make", "reason"), BOMBS.values(), ids=BOMBS)
def test_zip_bomb_is_rejected_in_little_memory(make: Callable[[], bytes], reason: str) -> None:
    content = make()
    version, _ = sample_version(a_log_form())
    artifact = {"serving.npz": content}
    tracemalloc.start()
    try:
        with pytest.raises(RefusedModel, match=reason):
            load_predictor(evolve(version, digests=digests_of(artifact)), artifact)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB


@pytest.mark.parametrize("dtype", ["|O", "|S8", "<U2", "|V8", "|b1", "<c16", "<M8[s]"])
def test_non_numeric_array_is_rejected(dtype: str) -> None:
    with pytest.raises(ValueError, match="must contain numbers"):
        arrays_in(archive(an_array(dtype=dtype)), "0")


def test_member_that_is_no_array_is_rejected() -> None:
    with pytest.raises(ValueError, match="magic"):
        arrays_in(archive(b"text"), "0")
    later_version = an_array().replace(b"\x93NUMPY\1", b"\x93NUMPY\2")
    with pytest.raises(ValueError, match=r"not in version 1\.0 of NumPy's format"):
        arrays_in(archive(later_version), "0")


@pytest.mark.parametrize("content", [bytes(31), bytes(33), bytes(40)])
def test_array_of_wrong_length_is_rejected(content: bytes) -> None:
    with pytest.raises(ValueError, match="doesn't match"):
        arrays_in(archive(an_array(content=content)), "0")


def test_changed_number_fails_checksum() -> None:
    with pytest.raises(BadZipFile, match="CRC"):
        arrays_in(archive(an_array(content=b"0" * 32), method=ZIP_STORED).replace(b"0" * 32, b"1" * 32), "0")
