"""Trainings and promotions while the disk of model versions has too little space, or just done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

from attrs import define

from campaign.disks import PAGE, Disk
from campaign.services import Service, ask, pause
from campaign.trials import Broken, Trial
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.serving.loader import load_predictor

_HOUSE = {"size": 2500.0, "bedrooms": 3, "age": 10}
_PROMOTIONS = 10
_MAX_POLLS = 50
"""Polls of the version in service, 0.1 s apart. Each worker polls the pointer once a second."""
_TRAIN = "/train?price=price&algorithm=linear&promote=always"


def attack(trial: Trial, service: Service, disk: Disk) -> None:
    """Train and promote while the disk is filling up, and once more when there is space."""
    Models(trial, service, disk, DirectoryModels(disk.folder)).attack()


@define
class Models:
    """The model versions of a service, as read from the service and from their folder."""

    trial: Trial
    service: Service
    disk: Disk
    store: DirectoryModels

    def attack(self) -> None:
        self.service.start()
        self.service.wait_until_ready()
        before = self.disk.used
        first = self._train()
        size = self.disk.used - before
        self._check_versions()
        for _ in range(self.trial.random.randint(1, 2)):
            self.disk.leave(self._some_pages(size + 4 * PAGE))
            self._train_on_a_full_disk(size)
        self.disk.relieve()
        second = self._train()
        if None in (first, second) or self.store.pointer().name != second:
            raise Broken(f"with done space, the training returned {second}, but {self.store.pointer()} is promoted")
        self._check_versions()
        for _ in range(_PROMOTIONS):
            self.disk.leave(self._some_pages(2 * PAGE))
            self._promote(self.trial.random.choice([first, second]))
        self.disk.relieve()
        self._promote(str(first), must=True)

    def _some_pages(self, most: int) -> int:
        return PAGE * self.trial.random.randint(0, most // PAGE)

    def _train_on_a_full_disk(self, size: int) -> None:
        """Train, perhaps while the free space changes, and check the result."""
        former, known = self.store.pointer().name, self._names()
        done = Event()
        with ThreadPoolExecutor(1) as pool:
            if self.trial.random.random() < 0.5:
                pool.submit(self._disturb, size, Random(self.trial.random.random()), done)
            try:
                trained = self._train()
            finally:
                done.set()
        self._check_versions()
        self.disk.relieve()
        promoted = self.store.pointer().name
        if trained is not None and trained != promoted:
            raise Broken(f"a training returned {trained}, but {promoted} is promoted")
        if promoted != former and (newest := self._newest_training())["model_version"] != promoted:
            raise Broken(f"{promoted} was trained and promoted, but its training is logged as {newest}")
        for version in self.store.versions():
            if version.source.location and not Path(version.source.location).exists():
                raise Broken(f"{version.name} is stored, but its uploaded sales are not")
        self.trial.counts["versions stored but not promoted for lack of space"] += len(
            self._names() - known - {promoted}
        )

    def _disturb(self, size: int, random: Random, done: Event) -> None:
        while not done.is_set():
            self.disk.leave(random.randint(0, 2 * size))
            pause(0.01)

    def _train(self) -> str | None:
        """Train, and return the name of the version; None after an error."""
        status, answer = ask(self.service.port, "POST", _TRAIN, self._sales(), {"Content-Type": "text/csv"})
        self.trial.counts[f"train: {status}"] += 1
        self._check_log(status, answer)
        return answer["model_version"] if status == 200 else None

    def _check_log(self, status: int, answer: Any) -> None:
        """Check that the log has the result of the training. On a full disk, the log may be unavailable."""
        newest = self._newest_training()
        if newest is None:
            return
        if status == 200 and (newest["state"], newest["model_version"]) != ("succeeded", answer["model_version"]):
            raise Broken(f"a training returned {answer['model_version']}, but is logged as {newest}")
        if status != 200 and newest["state"] == "running":
            raise Broken(f"a training was answered with {status}, {answer}, but is logged as {newest}")

    def _newest_training(self) -> Any:
        status, document = self.service.get("/trainings?limit=1")
        return document["trainings"][0] if status == 200 and document["trainings"] else None

    def _promote(self, name: str | None, *, must: bool = False) -> None:
        """Promote a version, and check that the pointer matches the answer."""
        before = self.store.pointer()
        status, answer = ask(self.service.port, "POST", f"/models/{name}/promote")
        self.trial.counts[f"promote: {status}"] += 1
        after = self.store.pointer()
        if (status == 200 and after.name != name) or (status != 200 and (must or after != before)):
            raise Broken(f"the promotion of {name} was answered with {status}, {answer}: {before} became {after}")
        self._check_versions()

    def _check_versions(self) -> None:
        """Check that each listed version is undamaged, and that the service estimates with the promoted one."""
        status, document = self.service.get("/models")
        if status != 200 or {model["model_version"] for model in document["models"]} != self._names():
            raise Broken(f"the versions are listed with {status}, {document}; the folder has {self._names()}")
        for name in self._names():
            load_predictor(*self.store.get(name))
        promoted = self.store.pointer().name or "demonstration"
        served = None
        for _ in range(_MAX_POLLS):
            status, answer = ask(self.service.port, "POST", "/predict", _HOUSE)
            if status != 200:
                raise Broken(
                    f"an estimate was answered with {status}, {answer} while the disk of model versions is full"
                )
            served = answer["model_version"]
            if served == promoted:
                return
            pause(0.1)
        raise Broken(f"{served} is in service, but {promoted} is promoted")

    def _names(self) -> set[str]:
        return {version.name for version in self.store.versions()}

    def _sales(self) -> bytes:
        """Generate 200 random sales as CSV."""
        random = self.trial.random
        lines = ["size,bedrooms,age,price"]
        for _ in range(200):
            size, bedrooms, age = random.randint(800, 4000), random.randint(1, 6), random.randint(0, 90)
            price = 100 * size + 5000 * bedrooms - 1000 * age + 150_000 * random.uniform(0.9, 1.1)
            lines.append(f"{size},{bedrooms},{age},{price:.0f}")
        return "\n".join(lines).encode()
