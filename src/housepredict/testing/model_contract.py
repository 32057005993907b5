"""Contract suites for ModelStore and PredictorLoader. To test your adapter, subclass a suite and define its fixtures:

class TestMyModels(ModelStoreContract):
    @pytest.fixture
    def new_store(self, tmp_path):
        return lambda: MyModels(tempfile.mkdtemp(dir=tmp_path))

    def reopen(self, store):
        return MyModels(store.folder)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from housepredict.domain.errors import RefusedModel, TrainingInProgress, UnknownModel
from housepredict.domain.estimates import round_to_cents
from housepredict.domain.features import House
from housepredict.domain.models import (
    MAX_ARTIFACT,
    MAX_FILE,
    Artifact,
    ModelVersion,
    Pointer,
    SelfTest,
    digests_of,
)
from housepredict.domain.ports import ModelStore, Predictor, PredictorLoader
from housepredict.testing.doubles import NOON
from housepredict.testing.drawing import FakeSizedBytes, artifacts, exactly, model_versions, sample_version


class ModelStoreMachine(RuleBasedStateMachine):
    """A state machine that calls a store at random, and compares its content with the expected content."""

    names = st.sampled_from("abc")

    def __init__(self, store: ModelStore, reopen: Callable[[ModelStore], ModelStore]) -> None:
        super().__init__()
        self.store = store
        self._reopen = reopen
        self.versions: dict[str, tuple[ModelVersion, Artifact]] = {}
        self.promotions: list[str] = []
        self.generation = 0

    @rule(name=names, day=st.integers(0, 3), content=st.binary(max_size=2))
    def add(self, name: str, day: int, content: bytes) -> None:
        version, artifact = sample_version(name, NOON + timedelta(days=day), content)
        self.store.add(version, artifact)
        self.versions.setdefault(name, (version, artifact))

    @rule(name=names)
    def add_damaged(self, name: str) -> None:
        version, artifact = sample_version(name)
        with pytest.raises(RefusedModel):
            self.store.add(evolve(version, digests={**version.digests, "lost.bin": "0" * 64}), artifact)

    @rule(name=names)
    def get(self, name: str) -> None:
        if name in self.versions:
            version, artifact = self.store.get(name)
            assert (version, dict(artifact)) == self.versions[name]
        else:
            with pytest.raises(UnknownModel):
                self.store.get(name)

    @rule(name=names)
    def promote(self, name: str) -> None:
        if name in self.versions:
            self.store.promote(name)
            if self.promotions[:1] != [name]:
                self.promotions.insert(0, name)
                self.generation += 1
        else:
            with pytest.raises(UnknownModel):
                self.store.promote(name)

    @rule(name=names)
    def rollback(self, name: str) -> None:
        if name in self.promotions:
            self.store.rollback(name)
            self.generation += self.promotions[0] != name
            del self.promotions[: self.promotions.index(name)]
        else:
            with pytest.raises(UnknownModel):
                self.store.rollback(name)

    @rule()
    def reopen(self) -> None:
        self.store = self._reopen(self.store)

    @invariant()
    def versions_match(self) -> None:
        expected = sorted((version for version, _ in self.versions.values()), key=lambda v: (v.created_at, v.name))
        assert list(self.store.versions()) == expected

    @invariant()
    def pointer_matches(self) -> None:
        assert self.store.pointer() == Pointer(next(iter(self.promotions), None), self.generation)

    @invariant()
    def history_matches(self) -> None:
        assert list(self.store.history()) == self.promotions


NewStore = Callable[[], ModelStore]


class ModelStoreContract:
    """Contract tests for a ModelStore.

    Define the fixture `new_store`: a function that returns a new, empty store. For a durable store, also override the
    method `reopen`.
    """

    @pytest.fixture
    def new_store(self) -> NewStore:
        raise NotImplementedError("define the fixture `new_store`")

    @pytest.fixture
    def tested_store(self, new_store: NewStore) -> ModelStore:
        """Return the empty store to test."""
        return new_store()

    def reopen(self, store: ModelStore) -> ModelStore:
        """Open the data of `store` again, as another process would. For stores in memory, return `store` itself."""
        return store

    def test_new_store_is_empty(self, tested_store: ModelStore) -> None:
        assert list(tested_store.versions()) == []
        assert tested_store.pointer().name is None
        assert list(tested_store.history()) == []

    def test_added_versions_are_returned_unchanged(self, new_store: NewStore) -> None:
        @settings(max_examples=30, deadline=None)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            artifact = data.draw(artifacts)
            version = data.draw(model_versions(artifact))
            store = new_store()
            store.add(version, artifact)
            stored, files = self.reopen(store).get(version.name)
            assert exactly(stored) == exactly(version)
            assert dict(files) == artifact
            (listed,) = self.reopen(store).versions()
            assert exactly(listed) == exactly(version)

        check()

    def test_values_keep_their_types(self, tested_store: ModelStore) -> None:
        tested_store.add(*sample_version())
        assert exactly(self.reopen(tested_store).get("a")[0]) == exactly(sample_version()[0])

    def test_versions_are_sorted_by_age_and_name(self, tested_store: ModelStore) -> None:
        for name, age in (("b", 1), ("d", 2), ("c", 2), ("a", 0)):
            tested_store.add(*sample_version(name, NOON - timedelta(microseconds=age)))
        assert [version.name for version in tested_store.versions()] == ["c", "d", "b", "a"]

    def test_version_added_again_is_ignored(self, tested_store: ModelStore) -> None:
        tested_store.add(*sample_version(content=b"first"))
        tested_store.add(*sample_version(content=b"second", created_at=NOON + timedelta(days=1)))
        assert tested_store.get("a") == sample_version(content=b"first")
        assert list(tested_store.versions()) == [sample_version(content=b"first")[0]]

    def test_stored_files_are_copies(self, tested_store: ModelStore) -> None:
        version, artifact = sample_version()
        files = dict(artifact)
        tested_store.add(version, files)
        files["model.bin"] = b"changed"
        assert tested_store.get("a") == sample_version()

    def test_names_with_path_characters_are_rejected(self, tested_store: ModelStore) -> None:
        for name in ("", ".", "..", "../a", "/a", "a/b", "a\\b", "a\0", "a\n", "-a", "é", "a" * 101):
            with pytest.raises(RefusedModel):
                tested_store.add(*sample_version(name))
            with pytest.raises(UnknownModel):
                tested_store.get(name)
            with pytest.raises(UnknownModel):
                tested_store.promote(name)
        assert list(tested_store.versions()) == []

    def test_files_that_differ_from_manifest_are_rejected(self, tested_store: ModelStore) -> None:
        version, artifact = sample_version()
        for files in ({"model.bin": b"other"}, {}, {**artifact, "more.bin": b""}, {"other.bin": b"content"}):
            with pytest.raises(RefusedModel):
                tested_store.add(version, files)
        assert list(tested_store.versions()) == []

    def test_large_files_are_rejected(self, tested_store: ModelStore) -> None:
        for sizes in ([MAX_FILE + 1], [MAX_FILE, MAX_ARTIFACT - MAX_FILE, 1]):
            artifact = {f"{number}.bin": FakeSizedBytes(size) for number, size in enumerate(sizes)}
            with pytest.raises(RefusedModel):
                tested_store.add(evolve(sample_version()[0], digests=digests_of(artifact)), artifact)
        assert list(tested_store.versions()) == []

    def test_signature_is_stored(self, tested_store: ModelStore) -> None:
        version, artifact = sample_version()
        tested_store.add(evolve(version, signature="5ig"), artifact)
        assert self.reopen(tested_store).get("a") == (evolve(version, signature="5ig"), artifact)
        assert list(self.reopen(tested_store).versions()) == [evolve(version, signature="5ig")]

    def test_training_lock_is_exclusive(self, tested_store: ModelStore) -> None:
        with tested_store.training():
            for other in (tested_store, self.reopen(tested_store)):
                with pytest.raises(TrainingInProgress), other.training():
                    pytest.fail("two processes train at the same time")
        with pytest.raises(ZeroDivisionError), tested_store.training():
            raise ZeroDivisionError
        with self.reopen(tested_store).training():
            pass

    def test_missing_version_is_unknown(self, tested_store: ModelStore) -> None:
        for _ in range(2):
            with pytest.raises(UnknownModel):
                tested_store.get("b")
            tested_store.add(*sample_version("a"))

    def test_generation_grows_with_each_move_of_pointer(self, tested_store: ModelStore) -> None:
        for name in "ab":
            tested_store.add(*sample_version(name))
        moves = [
            tested_store.promote,
            tested_store.promote,
            tested_store.promote,
            tested_store.rollback,
            tested_store.rollback,
        ]
        seen = []
        for move, name in zip(moves, "abbaa", strict=True):
            move(name)
            seen.append(self.reopen(tested_store).pointer())
        assert [(pointer.name, pointer.generation) for pointer in seen] == [
            ("a", 1),
            ("b", 2),
            ("b", 2),
            ("a", 3),
            ("a", 3),
        ]

    def test_failed_promotion_leaves_pointer(self, tested_store: ModelStore) -> None:
        with pytest.raises(UnknownModel):
            tested_store.promote("a")
        tested_store.add(*sample_version())
        assert tested_store.pointer() == Pointer(None, 0)
        tested_store.promote("a")
        with pytest.raises(UnknownModel):
            tested_store.promote("b")
        assert tested_store.pointer().name == "a"

    def test_history_lists_promotions_newest_first(self, tested_store: ModelStore) -> None:
        for day, name in enumerate("abc"):
            tested_store.add(*sample_version(name, NOON + timedelta(days=day)))
        for name in "abbca":
            tested_store.promote(name)
            assert self.reopen(tested_store).pointer().name == name
        assert list(self.reopen(tested_store).history()) == ["a", "c", "b", "a"]

    def test_rollback_removes_later_promotions_from_history(self, tested_store: ModelStore) -> None:
        for name in "abcd":
            tested_store.add(*sample_version(name))
        for name in "abc":
            tested_store.promote(name)
        for name in "de":
            with pytest.raises(UnknownModel):
                tested_store.rollback(name)
        assert list(tested_store.history()) == ["c", "b", "a"]
        tested_store.rollback("a")
        assert self.reopen(tested_store).pointer().name == "a"
        assert list(self.reopen(tested_store).history()) == ["a"]

    def test_concurrently_added_versions_are_all_stored(self, tested_store: ModelStore) -> None:
        names = [f"v{number}" for number in range(8)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: tested_store.add(*sample_version(name)), names * 2))
        assert [version.name for version in self.reopen(tested_store).versions()] == names
        assert [tested_store.get(name) for name in names] == [sample_version(name) for name in names]

    def test_random_calls_match_the_model(self, new_store: NewStore) -> None:
        run_state_machine_as_test(
            lambda: ModelStoreMachine(new_store(), self.reopen),  # type: ignore[arg-type]  # any factory will do
            settings=settings(max_examples=30, stateful_step_count=15, deadline=None),
        )


Kept = tuple[ModelVersion, Artifact]
"""A model version and its artifact."""


def _houses_of(version: ModelVersion) -> Sequence[House]:
    return [test.house for test in version.self_test]


class PredictorLoaderContract:
    """Contract tests for a PredictorLoader.

    Define two fixtures: `load` (the loader) and `kept` (a model version that the loader can load, and its artifact).

    class TestMyLoader(PredictorLoaderContract):
        @pytest.fixture
        def load(self):
            return my_loader

        @pytest.fixture
        def kept(self):
            return version, artifact
    """

    @pytest.fixture
    def load(self) -> PredictorLoader:
        """Return the loader to test."""
        raise NotImplementedError("define the fixture `load`")

    @pytest.fixture
    def kept(self) -> Kept:
        """Return a model version and its artifact. The version's self-test must have at least two houses."""
        raise NotImplementedError("define the fixture `kept`")

    @pytest.fixture
    def predictor(self, load: PredictorLoader, kept: Kept) -> Predictor:
        """Return the predictor that `load` returns for `kept`."""
        return load(*kept)

    def test_predictor_has_its_version(self, predictor: Predictor, kept: Kept) -> None:
        assert predictor.version == kept[0]

    def test_prices_match_self_test(self, predictor: Predictor, kept: Kept) -> None:
        prices = predictor.predict(_houses_of(kept[0])).prices
        assert len(prices) >= 2, "the self-test of the version must have at least two houses"
        assert list(map(round_to_cents, prices)) == [round_to_cents(test.price) for test in kept[0].self_test]

    def test_prices_do_not_depend_on_batch(self, predictor: Predictor, kept: Kept) -> None:
        houses = _houses_of(kept[0])
        alone = [predictor.predict([house]) for house in houses]
        together = predictor.predict([*houses, *reversed(houses), *houses])
        assert list(together.prices) == [valuation.prices[0] for valuation in (*alone, *reversed(alone), *alone)]

    def test_empty_batch_has_no_prices(self, predictor: Predictor) -> None:
        assert list(predictor.predict([]).prices) == []

    def test_spreads_cover_all_houses_or_none(self, predictor: Predictor, kept: Kept) -> None:
        valuation = predictor.predict(_houses_of(kept[0]))
        assert valuation.spreads is None or len(valuation.spreads) == len(valuation.prices)
        assert all(spread > 0 for spread in valuation.spreads or ())

    def test_predictor_is_thread_safe(self, predictor: Predictor, kept: Kept) -> None:
        houses = _houses_of(kept[0])
        prices = list(predictor.predict(houses).prices)
        with ThreadPoolExecutor(4) as threads:
            assert all(list(other.prices) == prices for other in threads.map(predictor.predict, [houses] * 40))

    def test_files_that_differ_from_manifest_are_rejected(self, load: PredictorLoader, kept: Kept) -> None:
        version, artifact = kept
        for name, content in artifact.items():
            for damaged in (
                {**artifact, name: content + b"\0"},
                {other: artifact[other] for other in artifact if other != name},
                {**artifact, "more": b""},
            ):
                with pytest.raises(RefusedModel):
                    load(version, damaged)

    def test_version_that_fails_self_test_is_rejected(self, load: PredictorLoader, kept: Kept) -> None:
        version, artifact = kept
        wrong = [SelfTest(test.house, test.price + 1000) for test in version.self_test]
        with pytest.raises(RefusedModel):
            load(evolve(version, self_test=tuple(wrong)), artifact)
