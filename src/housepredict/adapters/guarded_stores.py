"""Policies around any model store: a shared one that may be unavailable, and one whose versions must be signed."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager

from attrs import define, evolve, field

from housepredict.adapters.documents import readable_versions, signed_texts
from housepredict.domain.errors import ModelStoreUnavailable, RefusedModel, UnknownModel
from housepredict.domain.models import Artifact, ModelVersion, Pointer, verify
from housepredict.domain.ports import ModelStore

_log = logging.getLogger(__name__)


@define
class SharedModels:
    """Keeps model versions in `shared`, and copies of those that were read in `own`.

    While `shared` is unavailable, the version that it pointed at last stays promoted. If nothing is promoted in
    `shared`, the promoted version of `own` is moved there: a service that starts to share goes on with its model.
    """

    _shared: ModelStore
    _own: ModelStore
    _cut_off: bool = field(default=False, init=False)
    _pointed_at: Pointer = field(default=Pointer(), init=False)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        self._shared.add(version, artifact)

    def versions(self) -> Sequence[ModelVersion]:
        return self._shared.versions()

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        try:
            version, artifact = self._own.get(name)
        except (UnknownModel, RefusedModel, ModelStoreUnavailable):
            version, artifact = self._shared.get(name)
        try:
            self._own.add(version, artifact)
            if name == self._pointed_at.name:
                self._own.promote(name)
        except ModelStoreUnavailable as error:
            _log.warning("model version %s is not kept here: %s", name, error)
        return version, artifact

    def promote(self, name: str) -> None:
        self._shared.promote(name)

    def rollback(self, name: str) -> None:
        self._shared.rollback(name)

    def history(self) -> Sequence[str]:
        return self._shared.history()

    def pointer(self) -> Pointer:
        try:
            pointer = self._shared.pointer()
            if pointer.name is None:
                pointer = self._handed_over() or pointer
        except ModelStoreUnavailable as error:
            name = self._own.pointer().name
            if name is None:
                raise
            if not self._cut_off:
                _log.warning("model version %s stays promoted until it can be asked which is: %s", name, error)
            self._cut_off = True
            return self._pointed_at if name == self._pointed_at.name else Pointer(name, None)
        self._cut_off, self._pointed_at = False, pointer
        return pointer

    def training(self) -> AbstractContextManager[None]:
        return self._shared.training()

    def _handed_over(self) -> Pointer | None:
        name = self._own.pointer().name
        if name is None:
            return None
        self._shared.add(*self._own.get(name))
        self._shared.promote(name)
        _log.info("model version %s is handed over to the shared store", name)
        return self._shared.pointer()


@define
class SignedModels:
    """A ModelStore over another one, which stores the signatures with the manifests and knows no keys.

    A signature is the HMAC-SHA256 of a manifest, in hexadecimal, with all its fields, those of a newer release too; the
    manifest has the digests of the files. The first key signs added versions; any of the keys may have signed a version
    that is read. Versions are returned without their signatures. The pointer is not signed: anybody who can write to
    the store can have another signed version serve.
    """

    _models: ModelStore
    _keys: Sequence[bytes] = field(repr=False)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        self._models.add(evolve(version, signature=_signature(signed_texts(version)[0], self._keys[0])), artifact)

    def versions(self) -> Sequence[ModelVersion]:
        versions = {version.name: version for version in self._models.versions()}
        return readable_versions(versions, lambda name: self._trusted(versions[name]))

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        version, artifact = self._models.get(name)
        trusted = self._trusted(version)
        verify(trusted, artifact)  # the signature is over digests alone
        return trusted, artifact

    def promote(self, name: str) -> None:
        self.get(name)
        self._models.promote(name)

    def rollback(self, name: str) -> None:
        self.get(name)
        self._models.rollback(name)

    def history(self) -> Sequence[str]:
        return self._models.history()

    def pointer(self) -> Pointer:
        return self._models.pointer()

    def training(self) -> AbstractContextManager[None]:
        return self._models.training()

    def _trusted(self, version: ModelVersion) -> ModelVersion:
        if version.signature is None:
            raise RefusedModel(
                f"Model version {version.name} is not signed, and HOUSEPREDICT_SIGNING_KEY demands it: train again"
            )
        # as bytes, of whatever a damaged manifest has for a signature: compare_digest takes no text beyond ASCII
        found, texts = version.signature.encode(errors="replace"), signed_texts(version)
        if not any(hmac.compare_digest(found, _signature(text, key).encode()) for key in self._keys for text in texts):
            raise RefusedModel(
                f"Model version {version.name} was changed, or signed with a key that is none of "
                "HOUSEPREDICT_SIGNING_KEY: add that key behind your own, or train again"
            )
        return evolve(version, signature=None)


def _signature(manifest: bytes, key: bytes) -> str:
    return hmac.new(key, manifest, hashlib.sha256).hexdigest()
