"""A small file system for the data of a service, whose free space an attack controls."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from campaign.services import pause
from campaign.trials import Unavailable

KIB = 1024
MIB = 1024 * KIB
PAGE = 4 * KIB
"""The unit of its space."""
_AMPLE_SPACE = 256 * MIB


@frozen
class Disk:
    """A tmpfs, mounted at `folder`."""

    folder: Path

    @property
    def used(self) -> int:
        """Used bytes, in whole pages."""
        status = os.statvfs(self.folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def leave(self, free: int) -> None:
        """Leave this many bytes free, rounded up to a page, or none if other processes use them meanwhile."""
        while True:
            pages = -(-(self.used + free) // PAGE)
            if _remount(self.folder, max(pages, 1) * PAGE):
                return
            pause(0.001)  # its content has grown beyond the new size

    def relieve(self) -> None:
        """Leave more free space than any trial needs."""
        self.leave(_AMPLE_SPACE)


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """Mount a disk with ample space at a new folder. If the block fails, its content is copied next to the folder.

    Raises:
        Unavailable: without the right to mount file systems.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_AMPLE_SPACE},mode=700", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable("mounting a small disk requires root") from error
    try:
        yield Disk(folder)
    except BaseException:
        shutil.copytree(folder, folder.with_name(f"{folder.name}-as-it-was"), symlinks=True)
        raise
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _remount(folder: Path, size: int) -> bool:
    """Change the size, in bytes. Returns False if the content is larger."""
    command = ["mount", "-o", f"remount,size={size}", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
