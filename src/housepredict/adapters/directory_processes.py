"""The processes that serve from a folder of model versions, one small file for each; its age says whether it lives."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from attrs import define, field

from housepredict.adapters.documents import structure, unstructure
from housepredict.domain.errors import ModelStoreUnavailable
from housepredict.domain.ports.processes import LASTS
from housepredict.domain.processes import LiveProcess

_FORGOTTEN_AFTER = 3600.0  # seconds


@define
class DirectoryProcesses:
    """LiveProcesses in a folder, made by the first that tells of itself. `lasts` is in seconds.

    Nothing is flushed to disk: what a crash takes away is told anew a few seconds later.
    """

    path: Path = field(converter=Path)
    _lasts: float = LASTS
    _time: Callable[[], float] = time.time

    def tell(self, process: LiveProcess) -> None:
        """Give a sign of life; see LiveProcesses."""
        file = self._file(process.id)
        with self._available():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = file.with_suffix(".tmp")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                json.dump(unstructure(process), stream)
            new.replace(file)
            for pattern in ("*.json", "*.tmp"):  # processes that are killed, or whose disk is full, leave the latter
                for other in self._older_than(_FORGOTTEN_AFTER, pattern):
                    other.unlink(missing_ok=True)

    def leave(self, process: UUID) -> None:
        """Forget a process."""
        with self._available():
            self._file(process).unlink(missing_ok=True)

    def alive(self) -> Sequence[LiveProcess]:
        """Those that told of themselves lately."""
        found = []
        with self._available():
            silent = set(self._older_than(self._lasts))
            for file in self.path.glob("*.json"):
                # one that left meanwhile, or that somebody else wrote
                with suppress(FileNotFoundError, ValueError):
                    if file not in silent:
                        found.append(structure(json.loads(file.read_text(encoding="utf-8")), LiveProcess))
        return sorted(found, key=lambda each: (each.host, each.pid))

    def _older_than(self, seconds: float, pattern: str = "*.json") -> Iterator[Path]:
        before = self._time() - seconds
        for file in self.path.glob(pattern):
            with suppress(FileNotFoundError):
                if file.stat().st_mtime <= before:
                    yield file

    def _file(self, process: UUID) -> Path:
        return self.path / f"{process}.json"

    @contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ModelStoreUnavailable(f"who serves cannot be kept in {self.path} or read: {error}") from error
