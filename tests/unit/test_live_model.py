"""The predictor in service follows the promoted version, by itself or in a thread; nothing else takes its place.

How announcements wake the thread is an integration test.
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
    """Loads everything but the versions that it was told to refuse, and counts."""

    refused: set[str] = field(factory=set)
    loaded: list[str] = field(factory=list)

    def __call__(self, version: ModelVersion, artifact: Artifact) -> StubPredictor:
        self.loaded.append(version.name)
        if version.name in self.refused:
            raise RefusedModel("its digest is wrong")
        return StubPredictor(version)


@define
class UnreachableModels(InMemoryModels):
    """A store that can be cut off."""

    cut: bool = False
    fails: bool = False  # once, in a way that nobody expects

    def pointer(self) -> Pointer:
        if self.fails:
            self.fails = False
            raise ZeroDivisionError
        if self.cut:
            raise ModelStoreUnavailable("the disk is gone")
        return super().pointer()


@define
class Scene:
    """A live model over a store, at a time of the test's choosing."""

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


def test_without_a_promoted_version_there_is_no_model(scene: Scene) -> None:
    with pytest.raises(NoModel, match="housepredict train"):
        scene.live().current()


def test_the_demonstration_serves_until_a_version_is_promoted(scene: Scene) -> None:
    live = scene.live(StubPredictor(sample_version("demonstration")[0]))
    assert live.current().version.name == "demonstration"
    scene.promote("v1")
    scene.seconds += POLL_INTERVAL_S
    assert live.current().version.name == "v1"


def test_a_newly_promoted_version_is_in_service_after_the_next_look_and_loaded_once(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    assert live.current().version.name == "v1"
    scene.promote("v2")
    assert live.current().version.name == "v1"
    scene.seconds += POLL_INTERVAL_S
    assert [live.current().version.name for _ in range(3)] == ["v2"] * 3
    assert scene.load.loaded == ["v1", "v2"]


def test_a_refresh_looks_at_once(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    live.current()
    scene.promote("v2")
    live.look()
    assert live.current().version.name == "v2"


def test_a_refused_version_leaves_what_is_in_service_and_is_not_tried_again(scene: Scene) -> None:
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


def test_a_rollback_from_a_refused_version_leaves_no_trace_of_it(scene: Scene) -> None:
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


def test_a_store_that_is_back_is_not_held_against_what_is_in_service(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    live.current()
    for cut, told in ((True, "the disk is gone"), (False, "None")):
        scene.models.cut = cut
        scene.seconds += POLL_INTERVAL_S
        assert live.current().version.name == "v1"
        assert str(live.refusal) == told


def test_the_demonstration_never_stands_in_for_a_refused_version(scene: Scene) -> None:
    scene.load.refused.add("bad")
    scene.promote("bad")
    live = scene.live(StubPredictor(sample_version("demonstration")[0]))
    for _ in range(2):
        with pytest.raises(RefusedModel, match="digest"):
            live.current()


def test_a_store_that_cannot_be_read_leaves_what_is_in_service(scene: Scene) -> None:
    live = scene.live()
    scene.promote("v1")
    live.current()
    scene.models.cut = True
    scene.seconds += POLL_INTERVAL_S
    assert live.current().version.name == "v1"


def test_a_store_that_cannot_be_read_at_first_is_asked_again(scene: Scene) -> None:
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
class Following:
    """A follower of a scene's model, which shows when it has looked."""

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
    def test_takes_up_promotions_and_publishes_after_each_look(self, scene: Scene) -> None:
        following = Following(scene)
        following.follower.start()
        following.published(lambda: following.live.serving is None)
        for generation, name in enumerate(("v1", "v2"), 1):
            scene.promote(name)
            following.published(partial(following.serves, name, generation))
        following.follower.close()

    def test_outlives_unexpected_errors(self, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
        scene.models.fails = True
        following = Following(scene)
        following.follower.start()
        scene.promote("v1")
        following.published(partial(following.serves, "v1", 1))
        following.follower.close()
        assert "ZeroDivisionError" in caplog.text

    def test_close_ends_a_wait(self, scene: Scene) -> None:
        following = Following(scene, LONG)
        with following.looked:
            following.follower.start()
            assert following.looked.wait(30)
        following.follower.close()

    def test_close_before_start_does_nothing(self, scene: Scene) -> None:
        Following(scene).follower.close()
