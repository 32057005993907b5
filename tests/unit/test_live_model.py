"""The live model follows the promoted version, by polling or in a follower thread.

An integration test covers announcements that wake the thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import Condition

import pytest
from attrs import define, field, frozen

from housepredict.adapters.live_model import POLL_INTERVAL_S, Follower, LiveModel
from housepredict.adapters.memory import InMemoryModels
from housepredict.domain.errors import ModelStoreUnavailable, NoModel, RefusedModel
from housepredict.domain.features import House
from housepredict.domain.models import Artifact, ModelVersion, Pointer
from housepredict.domain.ports import Valuation
from housepredict.testing.drawing import sample_version


@frozen
class StubPredictor:
    version: ModelVersion

    def predict(self, houses: Sequence[House]) -> Valuation:
        return Valuation([1.0 for _ in houses])


@define
class Loader:
    """A loader that rejects the versions in `refused` and records all calls."""

    refused: set[str] = field(factory=set)
    loaded: list[str] = field(factory=list)

    def __call__(self, version: ModelVersion, artifact: Artifact) -> StubPredictor:
        self.loaded.append(version.name)
        if version.name in self.refused:
            raise RefusedModel("its digest is wrong")
        return StubPredictor(version)


@define
class UnreachableModels(InMemoryModels):
    """A model store that can be made unavailable."""

    cut: bool = False
    fails: bool = False  # raise an unexpected error once

    def pointer(self) -> Pointer:
        if self.fails:
            self.fails = False
            raise ZeroDivisionError
        if self.cut:
            raise ModelStoreUnavailable("the disk is gone")
        return super().pointer()


@define
class Scene:
    """A live model over a store, with a manual clock."""

    models: UnreachableModels = field(factory=UnreachableModels)
    load: Loader = field(factory=Loader)
    seconds: float = 0.0

    def live(self, demonstration: StubPredictor | None = None) -> LiveModel:
        return LiveModel(self.models, self.load, demonstration, monotonic=lambda: self.seconds)

    def promote(self, name: str) -> None:
        self.models.add(*sample_version(name))
        self.models.promote(name)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_no_promoted_version_raises_no_model(scene: Scene) -> None:
    with pytest.raises(NoModel, match="housepredict train"):
        scene.live().current()


def test_demo_model_serves_until_first_promotion(scene: Scene) -> None:
    live = scene.live(StubPredictor(sample_version("demonstration")[0]))
    assert live.current().version.name == "demonstration"
    scene.promote("v1")
    scene.seconds += POLL_INTERVAL_S
    assert live.current().version.name == "v1"


def test_promoted_version_is_loaded_once_at_next_poll(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    assert live.current().version.name == "v1"
    scene.promote("v2")
    assert live.current().version.name == "v1"
    scene.seconds += POLL_INTERVAL_S
    assert [live.current().version.name for _ in range(3)] == ["v2"] * 3
    assert scene.load.loaded == ["v1", "v2"]


def test_look_loads_promoted_version_immediately(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    live.current()
    scene.promote("v2")
    live.look()
    assert live.current().version.name == "v2"


def test_rejected_version_is_not_retried(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    live.current()
    scene.load.refused.add("bad")
    scene.promote("bad")
    for _ in range(3):
        scene.seconds += POLL_INTERVAL_S
        assert live.current().version.name == "v1"
        assert str(live.refusal) == "its digest is wrong"
    assert scene.load.loaded == ["v1", "bad"]
    scene.promote("v3")
    scene.seconds += POLL_INTERVAL_S
    assert live.current().version.name == "v3"
    assert live.refusal is None


def test_rollback_from_rejected_version_clears_refusal(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    live.current()
    scene.load.refused.add("bad")
    scene.promote("bad")
    scene.seconds += POLL_INTERVAL_S
    live.current()
    scene.models.rollback("v1")
    scene.seconds += POLL_INTERVAL_S
    assert live.current().version.name == "v1"
    assert live.refusal is None
    assert scene.load.loaded == ["v1", "bad"]


def test_store_recovery_clears_refusal(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    live.current()
    for cut, refusal in ((True, "the disk is gone"), (False, "None")):
        scene.models.cut = cut
        scene.seconds += POLL_INTERVAL_S
        assert live.current().version.name == "v1"
        assert str(live.refusal) == refusal


def test_demo_model_never_replaces_rejected_version(scene: Scene) -> None:
    scene.load.refused.add("bad")
    scene.promote("bad")
    live = scene.live(StubPredictor(sample_version("demonstration")[0]))
    for _ in range(2):
        with pytest.raises(RefusedModel, match="digest"):
            live.current()


def test_unreadable_store_keeps_version_in_service(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    live.current()
    scene.models.cut = True
    scene.seconds += POLL_INTERVAL_S
    assert live.current().version.name == "v1"


def test_unreadable_store_is_retried(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    scene.models.cut = True
    with pytest.raises(ModelStoreUnavailable):
        live.current()
    scene.models.cut = False
    scene.seconds += POLL_INTERVAL_S
    assert live.current().version.name == "v1"


SHORT, LONG = 0.001, 3600.0  # seconds


@define
class FollowedModel:
    """A follower of the live model that signals each poll."""

    scene: Scene
    poll_interval_s: float = SHORT
    looked: Condition = field(factory=Condition)
    live: LiveModel = field(init=False)
    follower: Follower = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.live = self.scene.live()
        self.follower = Follower(self.live, self._publish, poll_interval_s=self.poll_interval_s)

    def published(self, condition: Callable[[], bool]) -> None:
        """Wait until the follower publishes while the condition holds."""
        with self.looked:
            assert self.looked.wait(30)
            assert self.looked.wait_for(condition, 30)

    def serves(self, name: str, generation: int) -> bool:
        serving = self.live.serving
        return serving is not None and (serving.version.name, serving.generation) == (name, generation)

    def _publish(self) -> None:
        with self.looked:
            self.looked.notify_all()


class TestFollower:
    def test_follower_loads_promotions_and_publishes(self, scene: Scene) -> None:
        followed = FollowedModel(scene)
        followed.follower.start()
        followed.published(lambda: followed.live.serving is None)
        for generation, name in enumerate(("v1", "v2"), 1):
            scene.promote(name)
            followed.published(partial(followed.serves, name, generation))
        followed.follower.close()

    def test_follower_survives_unexpected_errors(self, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
        scene.models.fails = True
        followed = FollowedModel(scene)
        followed.follower.start()
        scene.promote("v1")
        followed.published(partial(followed.serves, "v1", 1))
        followed.follower.close()
        assert "ZeroDivisionError" in caplog.text

    def test_close_interrupts_wait(self, scene: Scene) -> None:
        followed = FollowedModel(scene, LONG)
        with followed.looked:
            followed.follower.start()
            assert followed.looked.wait(30)
        followed.follower.close()

    def test_close_before_start_does_nothing(self, scene: Scene) -> None:
        FollowedModel(scene).follower.close()
