"""A model store in a directory. It needs no server, and is easy to copy, back up and inspect.

    versions/NAME/manifest.json   the manifest of a version. The files of its artifact are in the same directory.
    promoted                      the names of promoted versions, one per line, newest promotion first. The last line
                                  is the number of promotions and rollbacks, such as `generation 7`.
    training.lock                 locked while a process trains
    promotion.lock                locked while a process promotes a version or rolls back
    .tmp-*                        files being written

A version is written to .tmp-*, flushed to disk and then renamed, so that readers see either a complete version or none,
even if the writer is killed. The file `promoted` is replaced in the same way.
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
_MAX_HISTORY = 1000
_GENERATION = re.compile(r"generation (\d{1,18})", re.ASCII)
_TEMPORARY = ".tmp-"
_ABANDONED_AFTER_S = 3600  # writing a version takes only a few seconds


@define
class DirectoryModels:
    """A ModelStore in a directory, which any number of processes may share. The first `add` creates the directory."""

    path: Path = field(converter=Path)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        """Store a version durably; see ModelStore. A damaged version with the same name is replaced."""
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
                    with file_lock.wait_for_lock(self.path / _PROMOTION):
                        if self._is_damaged(version.name):  # another process may have replaced it
                            target.rename(workspace / "damaged")
                try:
                    folder.rename(target)
                except OSError:
                    if not target.is_dir():  # another process has stored the version
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
                    remaining = MAX_ARTIFACT - sum(map(len, artifact.values()))
                    artifact[file.name] = _read(file, min(MAX_FILE, remaining))
        verify(version, artifact)
        return version, artifact

    def promote(self, name: str) -> None:
        with self._pointer_locked(name) as workspace:
            try:
                history, generation = self._read_pointer()
            except ModelStoreUnavailable:  # a promotion replaces a damaged file
                history, generation = (), 0
            if history[:1] != (name,):
                self._write_pointer(workspace, (name, *history), generation + 1)

    def rollback(self, name: str) -> None:
        with self._pointer_locked(name) as workspace:
            history, generation = self._read_pointer()
            if name not in history:
                raise UnknownModel(f"Model version {name!r} was never promoted")
            if history[0] != name:
                self._write_pointer(workspace, history[history.index(name) :], generation + 1)

    def history(self) -> tuple[str, ...]:
        return self._read_pointer()[0]

    def pointer(self) -> Pointer:
        history, generation = self._read_pointer()
        return Pointer(next(iter(history), None), generation)

    @contextmanager
    def training(self) -> Iterator[None]:
        with self._available():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as stack:
            with self._available():
                has_lock = stack.enter_context(file_lock.held(self.path / _TRAINING))
            if not has_lock:
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
            raise RefusedModel(f"Model version {name} is a symbolic link, and links are not followed")
        return folder

    def _manifest(self, name: str) -> ModelVersion:
        with self._available():
            try:
                manifest = _read(self._folder(name) / _MANIFEST, MAX_MANIFEST)
            except FileNotFoundError as error:
                raise RefusedModel(f"Model version {name} is damaged: {_MANIFEST} is missing") from error
        return read_manifest(name, manifest)

    def _is_damaged(self, name: str) -> bool:
        """Return whether a version is stored but damaged. A version that needs a newer release isn't damaged."""
        try:
            self.get(name)
        except (NewerModel, UnknownModel):
            return False
        except RefusedModel:
            return True
        return False

    @contextmanager
    def _pointer_locked(self, name: str) -> Iterator[Path]:
        """Check that the version `name` exists, and lock the file `promoted`.

        Yield a temporary directory in which the new content of the file can be written.
        """
        with self._available():
            self._folder(name)
            with self._workspace() as workspace, file_lock.wait_for_lock(self.path / _PROMOTION):
                yield workspace

    def _read_pointer(self) -> tuple[tuple[str, ...], int]:
        with self._available():
            try:
                text = self._pointer_file.read_text(encoding="ascii", errors="replace")
            except FileNotFoundError:
                return (), 0
        lines = text.splitlines()
        # Files from early releases have no generation.
        generation = _GENERATION.fullmatch(lines[-1]) if lines else None
        names = tuple(lines[:-1] if generation else lines)
        if not names or not all(map(is_plain, names)) or not text.endswith("\n"):
            raise ModelStoreUnavailable(f"{self._pointer_file} is damaged: promote a model version again")
        return names, int(generation[1]) if generation else len(names)

    def _write_pointer(self, workspace: Path, names: Sequence[str], generation: int) -> None:
        pointer = workspace / self._pointer_file.name
        lines = (*names[:_MAX_HISTORY], f"generation {generation}")
        write_durably(pointer, "".join(f"{line}\n" for line in lines).encode())
        pointer.replace(self._pointer_file)
        _flush_folder(self.path)

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        """Create a temporary directory in the store. Also remove old temporary directories that killed writers left."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._versions.mkdir(mode=0o700, exist_ok=True)
        _flush_folder(self.path)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self.path, ignore_cleanup_errors=True) as name:
            workspace = Path(name)
            # Use the clock of the file system, which may be on another machine.
            abandoned = workspace.stat().st_mtime - _ABANDONED_AFTER_S
            for other in self.path.glob(f"{_TEMPORARY}*"):
                with suppress(FileNotFoundError):
                    if other.stat().st_mtime < abandoned:
                        shutil.rmtree(other, ignore_errors=True)
            yield workspace

    def _available(self) -> AbstractContextManager[None]:
        return available(f"The model store in {self.path}")


@contextmanager
def available(store: str) -> Iterator[None]:
    """Translate file system errors to ModelStoreUnavailable.

    Args:
        store: description of the store, with which the message begins.
    """
    try:
        yield
    except OSError as error:
        raise ModelStoreUnavailable(f"{store} cannot be read or written: {error}") from error


def _read(file: Path, limit: int) -> bytes:
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe could block forever
        raise RefusedModel(f"Model version {file.parent.name} is damaged: {file.name} is not a regular file")
    if status.st_size > limit:
        raise RefusedModel(f"Model version {file.parent.name} is damaged: {file.name} is too large")
    return file.read_bytes()


def write_durably(file: Path, content: bytes) -> None:
    """Write a new file that only this user may access, and flush it to disk."""
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
