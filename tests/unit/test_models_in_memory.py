"""The in-memory store passes the model store contract, and the contract detects broken stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import signature
from threading import Barrier, BrokenBarrierError
from typing import ClassVar

import pytest
from attrs import evolve

from housepredict.adapters.memory import InMemoryModels
from housepredict.domain.errors import TrainingInProgress, UnknownModel
from housepredict.domain.features import House
from housepredict.domain.models import Artifact, ModelVersion, SelfTest, digests_of
from housepredict.domain.ports import ModelStore
from housepredict.testing.drawing import sample_version
from housepredict.testing.model_contract import ModelStoreContract, NewStore

PROMOTION = "history_lists_promotions_newest_first"
ROLLBACK = "rollback_removes_later_promotions_from_history"


class TestInMemoryModels(ModelStoreContract):
    @pytest.fixture
    def new_store(self) -> NewStore:
        return InMemoryModels


def run_contract_test(contract: ModelStoreContract, promise: str, new_store: NewStore) -> None:
    test = getattr(contract, f"test_{promise}")
    test(new_store() if "tested_store" in signature(test).parameters else new_store)


class SharesState(InMemoryModels):
    everything: ClassVar[dict[str, tuple[ModelVersion, Artifact]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._kept = self.everything
        self._kept["z"] = sample_version("z")


class Overwrites(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        self._kept.pop(version.name, None)
        super().add(version, artifact)


class SkipsCopy(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        self._kept.setdefault(version.name, (version, artifact))


class TurnsIntegersIntoFloats(InMemoryModels):
    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        version, artifact = super().get(name)
        tests = [
            SelfTest(
                House(
                    {name: float(value) if type(value) is int else value for name, value in test.house.values.items()}
                ),
                test.price,
            )
            for test in version.self_test
        ]
        return evolve(version, self_test=tuple(tests)), artifact


class SortsNewestFirst(InMemoryModels):
    def versions(self) -> Sequence[ModelVersion]:
        return super().versions()[::-1]


class SortsByName(InMemoryModels):
    def versions(self) -> Sequence[ModelVersion]:
        return sorted(super().versions(), key=lambda version: version.name)


class SkipsNameCheck(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(evolve(version, name="plain"), artifact)
        self._kept.setdefault(version.name, self._kept.pop("plain"))


class SkipsFileCheck(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(evolve(version, digests=digests_of(artifact)), artifact)


class LosesSignatures(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(evolve(version, signature=None), artifact)


class RaisesKeyError(InMemoryModels):
    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        return self._kept[name]


class PromotesOnAdd(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(version, artifact)
        self.promote(version.name)


class PromotesMissingVersions(InMemoryModels):
    def promote(self, name: str) -> None:
        self._history.insert(0, name)


class MovesPointerBeforeCheck(InMemoryModels):
    def promote(self, name: str) -> None:
        self._history.insert(0, name)
        super().promote(name)


class NeverPromotesOlder(InMemoryModels):
    def promote(self, name: str) -> None:
        super().promote(max(name, self.pointer().name or name) if name in self._kept else name)


class TruncatesHistory(InMemoryModels):
    def history(self) -> Sequence[str]:
        return tuple(super().history()[:1])


class RecordsRepeatedPromotion(InMemoryModels):
    def promote(self, name: str) -> None:
        super().promote(name)
        self._history.insert(0, name)


class KeepsRolledBackPromotions(InMemoryModels):
    def rollback(self, name: str) -> None:
        if name not in self._history:
            raise UnknownModel
        self._history.insert(0, name)


class RollsBackToAnyVersion(InMemoryModels):
    def rollback(self, name: str) -> None:
        self.promote(name)


class LosesConcurrentAdds(InMemoryModels):
    def __init__(self) -> None:
        super().__init__()
        self.together = Barrier(2)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        before = dict(self._kept)
        with suppress(BrokenBarrierError):
            self.together.wait(timeout=1)
        self._kept = before
        super().add(version, artifact)


class TrainsConcurrently(InMemoryModels):
    @contextmanager
    def training(self) -> Iterator[None]:
        yield


class NeverReleasesTrainingLock(InMemoryModels):
    @contextmanager
    def training(self) -> Iterator[None]:
        if not self._training.acquire(blocking=False):
            raise TrainingInProgress
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (TrainsConcurrently, "training_lock_is_exclusive"),
        (NeverReleasesTrainingLock, "training_lock_is_exclusive"),
        (SharesState, "new_store_is_empty"),
        (TurnsIntegersIntoFloats, "values_keep_their_types"),
        (SortsNewestFirst, "versions_are_sorted_by_age_and_name"),
        (SortsByName, "versions_are_sorted_by_age_and_name"),
        (Overwrites, "version_added_again_is_ignored"),
        (SkipsCopy, "stored_files_are_copies"),
        (SkipsNameCheck, "names_with_path_characters_are_rejected"),
        (SkipsFileCheck, "files_that_differ_from_manifest_are_rejected"),
        (SkipsCopy, "large_files_are_rejected"),
        (LosesSignatures, "signature_is_stored"),
        (RaisesKeyError, "missing_version_is_unknown"),
        (PromotesOnAdd, "failed_promotion_leaves_pointer"),
        (PromotesMissingVersions, "failed_promotion_leaves_pointer"),
        (MovesPointerBeforeCheck, "failed_promotion_leaves_pointer"),
        (NeverPromotesOlder, PROMOTION),
        (TruncatesHistory, PROMOTION),
        (RecordsRepeatedPromotion, PROMOTION),
        (KeepsRolledBackPromotions, ROLLBACK),
        (RollsBackToAnyVersion, ROLLBACK),
        (LosesConcurrentAdds, "concurrently_added_versions_are_all_stored"),
        *[
            (broken, "random_calls_match_the_model")
            for broken in (Overwrites, SortsNewestFirst, SkipsFileCheck, PromotesMissingVersions)
        ],
    ],
)
def test_contract_detects_broken_stores(broken: NewStore, promise: str) -> None:
    # Hypothesis raises a group if it finds several faults.
    faults = (AssertionError, LookupError, TrainingInProgress, pytest.fail.Exception, BaseExceptionGroup)
    with pytest.raises(faults):
        run_contract_test(ModelStoreContract(), promise, broken)


class LosesDataContract(ModelStoreContract):
    """A contract whose store loses its data when it is reopened."""

    def reopen(self, store: ModelStore) -> ModelStore:
        return InMemoryModels()


@pytest.mark.parametrize(
    "promise",
    [
        "values_keep_their_types",
        PROMOTION,
        ROLLBACK,
        "concurrently_added_versions_are_all_stored",
        "random_calls_match_the_model",
    ],
)
def test_contract_detects_store_that_loses_data(promise: str) -> None:
    with pytest.raises((AssertionError, UnknownModel, BaseExceptionGroup)):
        run_contract_test(LosesDataContract(), promise, InMemoryModels)
