"""A small disk for the data of a service: a file system of its own, whose free room an attack decides on."""

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
"""It gives room by the page."""
_ROOMY = 256 * MIB


@frozen
class Disk:
    """A tmpfs, mounted at `folder`."""

    folder: Path

    @property
    def used(self) -> int:
        """Bytes that are taken, in whole pages."""
        status = os.statvfs(self.folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def leave(self, free: int) -> None:
        """Leave this many bytes free, rounded up to a page, or none if others take what was free just now."""
        while True:
            pages = -(-(self.used + free) // PAGE)
            if _remount(self.folder, max(pages, 1) * PAGE):
                return
            pause(0.001)  # it grew meanwhile beyond what it was to have

    def relieve(self) -> None:
        """Leave more room than any trial needs."""
        self.leave(_ROOMY)


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """A disk with much room at a folder, which is made. What is on it when the block fails is kept beside it.

    Raises:
        Unavailable: if nothing can be mounted here.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_ROOMY},mode=700", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable("a small disk takes the right to mount one: only root has it") from error
    try:
        yield Disk(folder)
    except BaseException:
        shutil.copytree(folder, folder.with_name(f"{folder.name}-as-it-was"), symlinks=True)
        raise
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _remount(folder: Path, size: int) -> bool:
    """Whether it has this size in bytes now: it is not made smaller than what is on it."""
    command = ["mount", "-o", f"remount,size={size}", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
