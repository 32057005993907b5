"""A disk that fills up: a small file system, or a file size limit if none can be mounted."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from attrs import frozen


@frozen
class SmallFileSystem:
    """A file system mounted at `folder`. Sizes are in MiB."""

    TITLE: ClassVar = "tmpfs"

    folder: Path

    def resize(self, process: int, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}m", str(self.folder)], check=True)

    def take_the_rest(self, process: int) -> None:
        """Fill the file system completely."""
        with (self.folder / "rest").open("wb", buffering=0) as rest:
            try:
                while rest.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def relieve(self, process: int) -> None:
        """Do nothing: rows can be drained from a full disk."""


@frozen
class SmallFiles:
    """A limit in MiB for each file of a process.

    Unlike on a full disk, space that one file frees does not help another, so the limit has to be lifted.
    """

    TITLE: ClassVar = "RLIMIT_FSIZE AS A STAND-IN, for nothing can be mounted here"

    folder: Path

    def resize(self, process: int, size: int) -> None:
        self._limit(process, size * 1024 * 1024)

    def take_the_rest(self, process: int) -> None:
        """Do nothing: the limit is per file."""

    def relieve(self, process: int) -> None:
        self._limit(process, resource.RLIM_INFINITY)

    def _limit(self, process: int, limit: int) -> None:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


Disk = SmallFileSystem | SmallFiles


@contextmanager
def small_disk(kind: type[Disk]) -> Iterator[Disk]:
    with TemporaryDirectory(prefix="disk-") as folder:
        if kind is SmallFiles:
            yield SmallFiles(Path(folder))
        else:
            with _mounted(folder):
                yield SmallFileSystem(Path(folder))


def choose_disk() -> type[Disk]:
    """Return the better kind of disk that this machine supports."""
    try:
        with small_disk(SmallFileSystem):
            return SmallFileSystem
    except (OSError, subprocess.CalledProcessError):
        return SmallFiles


@contextmanager
def _mounted(folder: str) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
