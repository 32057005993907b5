"""The arrays in a file, read so that no file, whoever made it, takes more memory than is stated here.

numpy's own reader unpacks whatever a member of the archive holds, and makes an array as large as its header claims.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_UNPACKED = 2**29
"""The most bytes that the arrays of a file may take; those of 20,000 sales take under 20 MiB."""

MAX_ARRAYS = 100
"""The most arrays in a file; the largest form has some twenty."""

_PIECE = 2**20  # bytes

_ENTRY = b"PK\1\2"  # begins an entry of an archive's table of contents


def arrays_in(content: bytes, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, NDArray[Any]]:
    """The arrays of numbers in an .npz file, by name, none of them writable; of those alone whose names are wanted.

    Raises ValueError if there are too many or they are too large, before any is unpacked, and whatever zipfile, zlib
    and numpy come upon in a damaged file.
    """
    # before zipfile reads the table, which could fill the memory by itself
    if content.count(_ENTRY) > MAX_ARRAYS:
        raise ValueError(f"there may be {MAX_ARRAYS} arrays at most")
    with ZipFile(BytesIO(content)) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > MAX_UNPACKED:
            raise ValueError(f"unpacked it would have {unpacked} bytes, where {MAX_UNPACKED} are the most")
        arrays = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if not wanted(name):
                continue
            # the other methods unpack all there is, whatever size was declared
            if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise ValueError(f"{member.filename} is packed by method {member.compress_type}")
            with archive.open(member) as file:
                arrays[name] = _array(file, member.file_size)
        return arrays


def _array(file: IO[bytes], size: int) -> NDArray[Any]:
    if npy.read_magic(file) != (1, 0):
        raise ValueError("an array must be in the first version of numpy's format")
    shape, by_columns, dtype = npy.read_array_header_1_0(file)
    if dtype.kind not in "fiu":
        raise ValueError(f"an array must hold numbers, not {dtype}")
    # a piece at a time: zipfile would have all of it in memory twice. The numbers must be as many as the shape says
    room = np.empty(size, np.uint8)
    filled = 0
    while piece := file.read(min(_PIECE, size - filled)):
        room[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    room.flags.writeable = False
    numbers = np.frombuffer(room[:filled], dtype)
    return numbers.reshape(shape, order="F" if by_columns else "C")
