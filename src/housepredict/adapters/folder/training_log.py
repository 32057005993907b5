"""A training log in a directory, next to the model versions.

    ID.json   the status of a training job
    .lock     locked while a process changes a status
    .tmp-*    files being written

Files are replaced, never modified in place, so that readers see either the old or the new status.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from fnmatch import fnmatch
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Any
from uuid import UUID

from attrs import define, field

from housepredict.adapters.documents import NewerDocument, structure, unstructure
from housepredict.adapters.files import atomic as file_lock
from housepredict.adapters.folder.model_store import available, write_durably
from housepredict.domain.errors import UnknownTraining
from housepredict.domain.training_status import TrainingStatus

MAX_TRAININGS = 100
_LOCK = ".lock"
_TEMPORARY = ".tmp-"

_log = logging.getLogger(__name__)


@define
class DirectoryTrainings:
    """A TrainingLog in a directory, which any number of processes may share.

    The log stores the newest 100 training jobs. The first `begin` creates the directory.
    """

    path: Path = field(converter=Path)

    def begin(self, record: TrainingStatus) -> None:
        with self._available():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file_lock.wait_for_lock(self.path / _LOCK):
                # Only the process with the lock writes, so these files were left behind by killed processes.
                for leftover in self.path.glob(f"{_TEMPORARY}*"):
                    leftover.unlink(missing_ok=True)
                self._write(record)
                for file in self._files()[MAX_TRAININGS:]:
                    file.unlink(missing_ok=True)

    def change(self, training: UUID, how: Callable[[TrainingStatus], TrainingStatus]) -> TrainingStatus:
        file = self._file(training)
        with self._available():
            self._read(file)  # raises if the job is unknown, since the directory of the lock may not exist then
            with file_lock.wait_for_lock(self.path / _LOCK):
                record, document = self._read(file)
                changed = how(record)
                if changed != record:
                    self._write(changed, document)
                return changed

    def get(self, training: UUID) -> TrainingStatus:
        with self._available():
            return self._read(self._file(training))[0]

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        records = []
        with self._available():
            for file in self._files()[:limit]:
                try:
                    records.append(self._read(file)[0])
                except UnknownTraining as error:
                    _log.warning("%s", error)
        return records

    def _file(self, id_: UUID) -> Path:
        return self.path / f"{id_}.json"

    def _files(self) -> list[Path]:
        """List the status files, newest first. Their names sort by time, because they are UUIDv7 ids."""
        try:
            # `glob` would hide errors: it finds nothing if the path is a file or an unreadable directory.
            return sorted((file for file in self.path.iterdir() if fnmatch(file.name, "[!.]*.json")), reverse=True)
        except FileNotFoundError:
            return []

    def _read(self, file: Path) -> tuple[TrainingStatus, Mapping[str, Any]]:
        try:
            document = json.loads(file.read_bytes())
            return structure(document, TrainingStatus), document
        except FileNotFoundError:
            raise UnknownTraining(f"There is no training job {file.stem} in {self.path}") from None
        except NewerDocument as error:
            raise UnknownTraining(
                f"Training job {file.stem} was logged by a newer release of housepredict: {error}. Upgrade housepredict"
            ) from error
        except ValueError as error:
            raise UnknownTraining(f"The record of training job {file.stem} is damaged: {file}") from error

    def _write(self, record: TrainingStatus, document: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Write a status to its file.

        Args:
            record: the status to write.
            document: the content of the file before the change. Fields that newer releases added are preserved.
        """
        content = json.dumps({**document, **unstructure(record)}, indent=2, ensure_ascii=False)
        temporary = self.path / f"{_TEMPORARY}{token_hex(8)}"
        try:
            write_durably(temporary, content.encode())
            temporary.replace(self._file(record.id))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _available(self) -> AbstractContextManager[None]:
        return available(f"The training log in {self.path}")
