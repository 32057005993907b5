"""The in-memory store keeps the contract, and the contract finds every store that breaks a promise."""

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


class IsNeverNew(InMemoryModels):
    everything: ClassVar[dict[str, tuple[ModelVersion, Artifact]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._kept = self.everything
        self._kept["z"] = sample_version("z")


class Overwrites(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        self._kept.pop(version.name, None)
        super().add(version, artifact)


class KeepsTheCallersFiles(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        self._kept.setdefault(version.name, (version, artifact))


class LosesTypes(InMemoryModels):
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


class NewestFirst(InMemoryModels):
    def versions(self) -> Sequence[ModelVersion]:
        return super().versions()[::-1]


class ByNameAlone(InMemoryModels):
    def versions(self) -> Sequence[ModelVersion]:
        return sorted(super().versions(), key=lambda version: version.name)


class KeepsAnyName(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(evolve(version, name="plain"), artifact)
        self._kept.setdefault(version.name, self._kept.pop("plain"))


class KeepsAnyFiles(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(evolve(version, digests=digests_of(artifact)), artifact)


class LosesSignatures(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(evolve(version, signature=None), artifact)


class RaisesItsOwnError(InMemoryModels):
    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        return self._kept[name]


class PromotesTheNewest(InMemoryModels):
    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(version, artifact)
        self.promote(version.name)


class PromotesWhatIsNotThere(InMemoryModels):
    def promote(self, name: str) -> None:
        self._history.insert(0, name)


class MovesThePointerBeforeItLooks(InMemoryModels):
    def promote(self, name: str) -> None:
        self._history.insert(0, name)
        super().promote(name)


class NeverGoesBack(InMemoryModels):
    def promote(self, name: str) -> None:
        super().promote(max(name, self.pointer().name or name) if name in self._kept else name)


class RemembersNothing(InMemoryModels):
    def history(self) -> Sequence[str]:
        return tuple(super().history()[:1])


class CountsARepeatedPromotion(InMemoryModels):
    def promote(self, name: str) -> None:
        super().promote(name)
        self._history.insert(0, name)


class RemembersWhatWasTakenBack(InMemoryModels):
    def rollback(self, name: str) -> None:
        if name not in self._history:
            raise UnknownModel
        self._history.insert(0, name)


class GoesBackToAnything(InMemoryModels):
    def rollback(self, name: str) -> None:
        self.promote(name)


class LosesWhatOthersAdd(InMemoryModels):
    def __init__(self) -> None:
        super().__init__()
        self.together = Barrier(2)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        before = dict(self._kept)
        with suppress(BrokenBarrierError):
            self.together.wait(timeout=1)
        self._kept = before
        super().add(version, artifact)


class LetsEveryoneTrain(InMemoryModels):
    @contextmanager
    def training(self) -> Iterator[None]:
        yield


class TrainsOnce(InMemoryModels):
    @contextmanager
    def training(self) -> Iterator[None]:
        if not self._training.acquire(blocking=False):
            raise TrainingInProgress
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (LetsEveryoneTrain, "training_lock_is_exclusive"),
        (TrainsOnce, "training_lock_is_exclusive"),
        (IsNeverNew, "new_store_is_empty"),
        (LosesTypes, "values_keep_their_types"),
        (NewestFirst, "versions_are_sorted_by_age_and_name"),
        (ByNameAlone, "versions_are_sorted_by_age_and_name"),
        (Overwrites, "version_added_again_is_ignored"),
        (KeepsTheCallersFiles, "stored_files_are_copies"),
        (KeepsAnyName, "names_with_path_characters_are_rejected"),
        (KeepsAnyFiles, "files_that_differ_from_manifest_are_rejected"),
        (KeepsTheCallersFiles, "large_files_are_rejected"),
        (LosesSignatures, "signature_is_stored"),
        (RaisesItsOwnError, "missing_version_is_unknown"),
        (PromotesTheNewest, "failed_promotion_leaves_pointer"),
        (PromotesWhatIsNotThere, "failed_promotion_leaves_pointer"),
        (MovesThePointerBeforeItLooks, "failed_promotion_leaves_pointer"),
        (NeverGoesBack, PROMOTION),
        (RemembersNothing, PROMOTION),
        (CountsARepeatedPromotion, PROMOTION),
        (RemembersWhatWasTakenBack, ROLLBACK),
        (GoesBackToAnything, ROLLBACK),
        (LosesWhatOthersAdd, "concurrently_added_versions_are_all_stored"),
        *[
            (broken, "random_calls_match_the_model")
            for broken in (Overwrites, NewestFirst, KeepsAnyFiles, PromotesWhatIsNotThere)
        ],
    ],
)
def test_the_contract_finds_a_store_that_breaks_a_promise(broken: NewStore, promise: str) -> None:
    # a search that comes upon several faults raises a group of them
    faults = (AssertionError, LookupError, TrainingInProgress, pytest.fail.Exception, BaseExceptionGroup)
    with pytest.raises(faults):
        run_contract_test(ModelStoreContract(), promise, broken)


class Forgets(ModelStoreContract):
    """The contract of a store that is only as durable as its process."""

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
def test_the_contract_finds_a_store_that_forgets(promise: str) -> None:
    with pytest.raises((AssertionError, UnknownModel, BaseExceptionGroup)):
        run_contract_test(Forgets(), promise, InMemoryModels)
