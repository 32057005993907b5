"""A model store in a folder: nothing to install, and it can be copied, backed up and looked into.

    versions/NAME/manifest.json   and the artifact's files beside it
    promoted                      the name of the promoted version; below it those that were promoted before, and how
                                  often the pointer was moved: `generation 7`
    training.lock                 locked by whoever trains
    promotion.lock                locked by whoever moves the pointer
    .tmp-*                        what is being written

A version is written under .tmp-*, flushed to disk and renamed into place: whoever reads sees all of it or nothing,
whenever a writer is killed. The pointer and its history are one file, which is replaced the same way.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import define, field

from housepredict.adapters.documents import MAX_MANIFEST, read_manifest, readable_versions, to_json
from housepredict.adapters.files import atomic as file_lock
from housepredict.domain.errors import (
    ModelStoreUnavailable,
    NewerModel,
    RefusedModel,
    TrainingInProgress,
    UnknownModel,
)
from housepredict.domain.models import MAX_ARTIFACT, MAX_FILE, Artifact, ModelVersion, Pointer, is_plain, verify

_MANIFEST = "manifest.json"
_TRAINING = "training.lock"
_PROMOTION = "promotion.lock"
_LONGEST_HISTORY = 1000
_GENERATION = re.compile(r"generation (\d{1,18})", re.ASCII)
_TEMPORARY = ".tmp-"
_ABANDONED_AFTER = 3600  # seconds; writing a version takes a few


@define
class DirectoryModels:
    """Keeps model versions in a folder, for any number of processes. The folder is made by the first `add`."""

    path: Path = field(converter=Path)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        """Keep a version, on disk when this returns; see ModelStore. One that is there but damaged is replaced."""
        verify(version, artifact)
        if _MANIFEST in artifact:
            raise RefusedModel(f"A file of a model version may not be named {_MANIFEST}")
        manifest = to_json(version)
        target = self._versions / version.name
        with self._available():
            damaged = self._is_damaged(version.name)
            if target.is_dir() and not damaged:
                return
            with self._workspace() as workspace:
                folder = workspace / version.name
                folder.mkdir(mode=0o700)
                for name, content in {**artifact, _MANIFEST: manifest}.items():
                    write_durably(folder / name, content)
                _flush_folder(folder)
                if damaged:
                    with file_lock.waited_for(self.path / _PROMOTION):
                        if self._is_damaged(version.name):  # no other process has replaced it meanwhile
                            target.rename(workspace / "damaged")
                try:
                    folder.rename(target)
                except OSError:
                    if not target.is_dir():  # it is one where another process was first
                        raise
                _flush_folder(self._versions)

    def versions(self) -> Sequence[ModelVersion]:
        return readable_versions(self._names(), self._manifest)

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        version = self._manifest(name)
        with self._available():
            artifact: dict[str, bytes] = {}
            for file in self._folder(name).iterdir():
                if file.name != _MANIFEST:
                    left = MAX_ARTIFACT - sum(map(len, artifact.values()))
                    artifact[file.name] = _read(file, min(MAX_FILE, left))
        verify(version, artifact)
        return version, artifact

    def promote(self, name: str) -> None:
        with self._moving(name) as workspace:
            try:
                history, generation = self._pointed()
            except ModelStoreUnavailable:  # a promotion repairs a damaged file
                history, generation = (), 0
            if history[:1] != (name,):
                self._point(workspace, (name, *history), generation + 1)

    def rollback(self, name: str) -> None:
        with self._moving(name) as workspace:
            history, generation = self._pointed()
            if name not in history:
                raise UnknownModel(f"Model version {name!r} was not promoted before")
            if history[0] != name:
                self._point(workspace, history[history.index(name) :], generation + 1)

    def history(self) -> tuple[str, ...]:
        return self._pointed()[0]

    def pointer(self) -> Pointer:
        history, generation = self._pointed()
        return Pointer(next(iter(history), None), generation)

    @contextmanager
    def training(self) -> Iterator[None]:
        with self._available():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as stack:
            with self._available():
                held = stack.enter_context(file_lock.held(self.path / _TRAINING))
            if not held:
                raise TrainingInProgress
            yield

    @property
    def _versions(self) -> Path:
        return self.path / "versions"

    @property
    def _pointer_file(self) -> Path:
        return self.path / "promoted"

    def _names(self) -> list[str]:
        with self._available():
            try:
                return [folder.name for folder in self._versions.iterdir() if is_plain(folder.name)]
            except FileNotFoundError:
                return []

    def _folder(self, name: str) -> Path:
        folder = self._versions / name
        if name not in self._names():
            raise UnknownModel(f"There is no model version {name!r} in {self.path}")
        if folder.is_symlink():
            raise RefusedModel(f"Model version {name} is a link to another folder, which may be anybody's")
        return folder

    def _manifest(self, name: str) -> ModelVersion:
        with self._available():
            try:
                manifest = _read(self._folder(name) / _MANIFEST, MAX_MANIFEST)
            except FileNotFoundError as error:
                raise RefusedModel(f"Model version {name} is damaged: it has no {_MANIFEST}") from error
        return read_manifest(name, manifest)

    def _is_damaged(self, name: str) -> bool:
        """Whether a version is there and cannot be read, by this release or by a newer one."""
        try:
            self.get(name)
        except (NewerModel, UnknownModel):
            return False
        except RefusedModel:
            return True
        return False

    @contextmanager
    def _moving(self, name: str) -> Iterator[Path]:
        """Check that a version exists, and hold the lock of the pointer, with a folder to write in."""
        with self._available():
            self._folder(name)
            with self._workspace() as workspace, file_lock.waited_for(self.path / _PROMOTION):
                yield workspace

    def _pointed(self) -> tuple[tuple[str, ...], int]:
        """The history, and the generation."""
        with self._available():
            try:
                text = self._pointer_file.read_text(encoding="ascii", errors="replace")
            except FileNotFoundError:
                return (), 0
        lines = text.splitlines()
        # files of before there were generations have none
        counted = _GENERATION.fullmatch(lines[-1]) if lines else None
        names = tuple(lines[:-1] if counted else lines)
        if not names or not all(map(is_plain, names)) or not text.endswith("\n"):
            raise ModelStoreUnavailable(f"{self._pointer_file} is damaged: promote a model version again")
        return names, int(counted[1]) if counted else len(names)

    def _point(self, workspace: Path, names: Sequence[str], generation: int) -> None:
        pointer = workspace / self._pointer_file.name
        lines = (*names[:_LONGEST_HISTORY], f"generation {generation}")
        write_durably(pointer, "".join(f"{line}\n" for line in lines).encode())
        pointer.replace(self._pointer_file)
        _flush_folder(self.path)

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        """A folder to write in, on the store's own file system; those of writers that were killed are removed."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._versions.mkdir(mode=0o700, exist_ok=True)
        _flush_folder(self.path)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self.path, ignore_cleanup_errors=True) as name:
            workspace = Path(name)
            # not by this machine's clock: the file system may be another's
            abandoned = workspace.stat().st_mtime - _ABANDONED_AFTER
            for other in self.path.glob(f"{_TEMPORARY}*"):
                with suppress(FileNotFoundError):
                    if other.stat().st_mtime < abandoned:
                        shutil.rmtree(other, ignore_errors=True)
            yield workspace

    def _available(self) -> AbstractContextManager[None]:
        return available(f"The model store in {self.path}")


@contextmanager
def available(store: str) -> Iterator[None]:
    """Raise ModelStoreUnavailable for errors of the file system, in a sentence that begins with the store."""
    try:
        yield
    except OSError as error:
        raise ModelStoreUnavailable(f"{store} cannot be read or written: {error}") from error


def _read(file: Path, limit: int) -> bytes:
    """Read a file of a version. A pipe could make the reader wait without end."""
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise RefusedModel(f"Model version {file.parent.name} is damaged: {file.name} is not a regular file")
    if status.st_size > limit:
        raise RefusedModel(f"Model version {file.parent.name} is damaged: {file.name} is too large")
    return file.read_bytes()


def write_durably(file: Path, content: bytes) -> None:
    """Write a new file for this user alone. It is on disk when this returns."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
