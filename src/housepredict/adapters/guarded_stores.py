"""Model store wrappers. SharedModels survives outages of a shared store, and SignedModels requires signed versions."""

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
    """A ModelStore that wraps a shared store, and caches the versions it reads in a local store.

    During an outage of the shared store, the last promoted version stays promoted. If the shared store has no promoted
    version, the locally promoted version is added to it and promoted. In this way, a service keeps its model when it
    starts to use a shared store.
    """

    _shared: ModelStore
    _local: ModelStore
    _is_cut_off: bool = field(default=False, init=False)
    _last_pointer: Pointer = field(default=Pointer(), init=False)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        self._shared.add(version, artifact)

    def versions(self) -> Sequence[ModelVersion]:
        return self._shared.versions()

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        try:
            version, artifact = self._local.get(name)
        except (UnknownModel, RefusedModel, ModelStoreUnavailable):
            version, artifact = self._shared.get(name)
        try:
            self._local.add(version, artifact)
            if name == self._last_pointer.name:
                self._local.promote(name)
        except ModelStoreUnavailable as error:
            _log.warning("model version %s was not copied to the local store: %s", name, error)
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
                pointer = self._promote_local() or pointer
        except ModelStoreUnavailable as error:
            name = self._local.pointer().name
            if name is None:
                raise
            if not self._is_cut_off:
                _log.warning("model version %s stays promoted while the shared store is unavailable: %s", name, error)
            self._is_cut_off = True
            return self._last_pointer if name == self._last_pointer.name else Pointer(name, None)
        self._is_cut_off, self._last_pointer = False, pointer
        return pointer

    def training(self) -> AbstractContextManager[None]:
        return self._shared.training()

    def _promote_local(self) -> Pointer | None:
        """Add the locally promoted version to the shared store, and promote it there."""
        name = self._local.pointer().name
        if name is None:
            return None
        self._shared.add(*self._local.get(name))
        self._shared.promote(name)
        _log.info("promoted the local model version %s in the shared store", name)
        return self._shared.pointer()


@define
class SignedModels:
    """A ModelStore that signs the versions it adds to another store, and rejects versions without a valid signature.

    A signature is the hexadecimal HMAC-SHA256 of a manifest, including any fields that newer releases added. The
    signature also protects the files, because the manifest contains their digests. Added versions are signed with the
    first key, and signatures with any of the keys are valid. Versions are returned without their signatures. The name
    of the promoted version is not signed: anyone with write access to the store can promote another signed version.
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
        verify(trusted, artifact)  # the signature covers the digests, not the files
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
                f"Model version {version.name} is not signed, but HOUSEPREDICT_SIGNING_KEY requires it: train again"
            )
        # compare_digest accepts only bytes and ASCII strings, but a damaged manifest may contain any string.
        signature = version.signature.encode(errors="replace")
        valid = [_signature(text, key).encode() for text in signed_texts(version) for key in self._keys]
        if not any(hmac.compare_digest(signature, each) for each in valid):
            raise RefusedModel(
                f"Model version {version.name} was modified, or signed with a key that isn't in "
                "HOUSEPREDICT_SIGNING_KEY: append that key, or train again"
            )
        return evolve(version, signature=None)


def _signature(manifest: bytes, key: bytes) -> str:
    return hmac.new(key, manifest, hashlib.sha256).hexdigest()
