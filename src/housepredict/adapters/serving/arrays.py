"""Functions that read arrays from untrusted .npz files and validate the arrays of a model."""

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
"""Maximum total size of the unpacked arrays in an archive, in bytes.

A model trained on 20,000 sales needs less than 20 MiB.
"""

MAX_ARRAYS = 100
"""Maximum number of arrays in an archive. The largest serving form consists of about twenty arrays."""

_ENTRY = b"PK\1\2"  # the signature of an entry in a ZIP directory


def arrays_in(content: bytes, wanted: Container[str]) -> dict[str, NDArray[Any]]:
    """Return those arrays in an .npz file that have a name in `wanted`, by name. The arrays are read-only.

    Raises:
        ValueError: if the file contains more than MAX_ARRAYS arrays, if these exceed MAX_UNPACKED, or if an array has
            an unsupported format. If a limit is exceeded, nothing is unpacked.
        Exception: any error from zipfile, zlib or NumPy, if the file is damaged.
    """
    # check this first, because even reading the archive's directory could exhaust the memory
    if content.count(_ENTRY) > MAX_ARRAYS:
        raise ValueError(f"more than {MAX_ARRAYS} arrays")
    with ZipFile(BytesIO(content)) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise ValueError(f"the arrays take {unpacked:,} bytes unpacked, more than {MAX_UNPACKED:,}")
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        return {name: _read_array(archive, member) for name, member in members.items() if name in wanted}


def _read_array(archive: ZipFile, member: ZipInfo) -> NDArray[Any]:
    # with other compression methods, zipfile may unpack more than the declared size
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed by method {member.compress_type}, not stored or deflated")
    with archive.open(member) as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError(f"{member.filename} is not in version 1.0 of NumPy's format")
        shape, _, dtype = npy.read_array_header_1_0(file)
        if dtype.kind not in "fiu":
            raise ValueError(f"{member.filename} must contain numbers, not {dtype}")
        # NumPy allocates an array as large as its header claims
        if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise ValueError(f"the size of {member.filename} doesn't match {dtype} of shape {shape}")
    with archive.open(member) as file:
        array = npy.read_array(file, allow_pickle=False)
    array.flags.writeable = False
    return array


def array_of(
    dtype: type[np.generic], dimensions: int, *, finite: bool = True
) -> Callable[[object, Attribute[NDArray[Any]], NDArray[Any]], None]:
    """Return an attrs validator that raises ValueError unless an array has this dtype and number of dimensions.

    If `finite` is True, the validator also rejects arrays that contain NaN or infinity.
    """

    def check(_model: object, attribute: Attribute[NDArray[Any]], array: NDArray[Any]) -> None:
        if array.dtype != dtype or array.ndim != dimensions:
            expected = f"a {dimensions}-dimensional array of {dtype.__name__}"
            raise ValueError(f"{attribute.name} must be {expected}, not {array.ndim}-dimensional of {array.dtype}")
        if finite and not np.isfinite(array).all():
            raise ValueError(f"{attribute.name} must be finite")

    return check
