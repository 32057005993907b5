"""What an archive must be before NumPy reads it, and an array before a model computes with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from attrs import Attribute
from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_UNPACKED = 2**29
"""The most bytes that the arrays of an archive may take; those of 20,000 sales take under 20 MiB."""

MAX_ARRAYS = 100
"""The most arrays in an archive; the largest form has some twenty."""

_ENTRY = b"PK\1\2"  # begins an entry of an archive's table of contents


def arrays_in(content: bytes, wanted: Container[str]) -> dict[str, NDArray[Any]]:
    """Read the wanted arrays of an .npz file, by name, none of them writable.

    Raises:
        ValueError: if there are too many arrays, or they are too large, before any is unpacked.
        Exception: whatever zipfile, zlib and NumPy raise for a damaged file.
    """
    # before zipfile reads the table, which could fill the memory by itself
    if content.count(_ENTRY) > MAX_ARRAYS:
        raise ValueError(f"there may be {MAX_ARRAYS} arrays at most")
    with ZipFile(BytesIO(content)) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise ValueError(f"unpacked it would have {unpacked} bytes, where {MAX_UNPACKED} are the most")
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        return {name: _array(archive, member) for name, member in members.items() if name in wanted}


def _array(archive: ZipFile, member: ZipInfo) -> NDArray[Any]:
    # the other methods unpack all there is, whatever size was declared
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is packed by method {member.compress_type}")
    with archive.open(member) as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("an array must be in the first version of numpy's format")
        shape, _, dtype = npy.read_array_header_1_0(file)
        if dtype.kind not in "fiu":
            raise ValueError(f"an array must hold numbers, not {dtype}")
        # NumPy makes an array as large as its header claims
        if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise ValueError(f"{member.filename} holds another number of bytes than {dtype} of shape {shape} takes")
    with archive.open(member) as file:
        array = npy.read_array(file, allow_pickle=False)
    array.flags.writeable = False
    return array


def array_of(
    dtype: type[np.generic], dimensions: int, *, finite: bool = True
) -> Callable[[object, Attribute[NDArray[Any]], NDArray[Any]], None]:
    """An attrs validator: an array of this type and number of dimensions. It raises ValueError."""

    def check(_model: object, attribute: Attribute[NDArray[Any]], array: NDArray[Any]) -> None:
        if array.dtype != dtype or array.ndim != dimensions:
            expected = f"{dimensions} dimensions of {dtype.__name__}"
            raise ValueError(f"{attribute.name} must have {expected}, not {array.ndim} of {array.dtype}")
        if finite and not np.isfinite(array).all():
            raise ValueError(f"{attribute.name} must be finite")

    return check
