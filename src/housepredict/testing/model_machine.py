"""A ModelStore in any sequence of calls; `models` has the suite that runs it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from housepredict.domain.errors import RefusedModel, UnknownModel
from housepredict.domain.models import Artefact, ModelVersion, Pointer
from housepredict.domain.ports import ModelStore
from housepredict.testing.versions import NOON, a_version


class ModelStoreMachine(RuleBasedStateMachine):
    """Calls a store at random, and compares it with what it must hold."""

    names = st.sampled_from("abc")

    def __init__(self, store: ModelStore, reopen: Callable[[ModelStore], ModelStore]) -> None:
        super().__init__()
        self.store = store
        self._reopen = reopen
        self.kept: dict[str, tuple[ModelVersion, Artefact]] = {}
        self.promotions: list[str] = []
        self.generation = 0

    @rule(name=names, day=st.integers(0, 3), content=st.binary(max_size=2))
    def add(self, name: str, day: int, content: bytes) -> None:
        version, artefact = a_version(name, NOON + timedelta(days=day), content)
        self.store.add(version, artefact)
        self.kept.setdefault(name, (version, artefact))

    @rule(name=names)
    def add_damaged(self, name: str) -> None:
        version, artefact = a_version(name)
        with pytest.raises(RefusedModel):
            self.store.add(evolve(version, digests={**version.digests, "lost.bin": "0" * 64}), artefact)

    @rule(name=names)
    def get(self, name: str) -> None:
        if name in self.kept:
            version, artefact = self.store.get(name)
            assert (version, dict(artefact)) == self.kept[name]
        else:
            with pytest.raises(UnknownModel):
                self.store.get(name)

    @rule(name=names)
    def promote(self, name: str) -> None:
        if name in self.kept:
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
    def lists_what_was_added(self) -> None:
        expected = sorted((version for version, _ in self.kept.values()), key=lambda v: (v.created_at, v.name))
        assert list(self.store.versions()) == expected

    @invariant()
    def points_where_it_was_told(self) -> None:
        assert self.store.pointer() == Pointer(next(iter(self.promotions), None), self.generation)

    @invariant()
    def remembers_where_it_pointed(self) -> None:
        assert list(self.store.history()) == self.promotions
