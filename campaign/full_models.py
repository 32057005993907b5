"""Trainings and promotions on a disk of model versions that has too little room for them, or just enough."""

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
_LOOKS = 50
"""Looks at who is in service, a tenth of a second apart; each worker looks at what is promoted once a second."""
_TRAIN = "/train?price=price&algorithm=linear&promote=always"


def attack(trial: Trial, service: Service, disk: Disk) -> None:
    """Train and promote while the disk gets full, and once more when there is room."""
    Models(trial, service, disk, DirectoryModels(disk.folder)).attack()


@define
class Models:
    """The model versions of one service, as the service and as their folder have it."""

    trial: Trial
    service: Service
    disk: Disk
    store: DirectoryModels

    def attack(self) -> None:
        """See the function."""
        self.service.start()
        self.service.wait_until_ready()
        before = self.disk.used
        first = self._train()
        size = self.disk.used - before
        self._require_whole()
        for _ in range(self.trial.random.randint(1, 2)):
            self.disk.leave(self._some_pages(size + 4 * PAGE))
            self._train_on_a_full_disk(size)
        self.disk.relieve()
        second = self._train()
        if None in (first, second) or self.store.pointer().name != second:
            raise Broken(f"with room again, training made {second}, and {self.store.pointer()} is promoted")
        self._require_whole()
        for _ in range(_PROMOTIONS):
            self.disk.leave(self._some_pages(2 * PAGE))
            self._move(self.trial.random.choice([first, second]))
        self.disk.relieve()
        self._move(str(first), must=True)

    def _some_pages(self, most: int) -> int:
        return PAGE * self.trial.random.randint(0, most // PAGE)

    def _train_on_a_full_disk(self, size: int) -> None:
        """Train, while others may take and give back room, and check what is there then."""
        served, known = self.store.pointer().name, self._names()
        enough = Event()
        with ThreadPoolExecutor(1) as pool:
            if self.trial.random.random() < 0.5:
                pool.submit(self._disturb, size, Random(self.trial.random.random()), enough)
            try:
                made = self._train()
            finally:
                enough.set()
        self._require_whole()
        self.disk.relieve()
        pointed = self.store.pointer().name
        if made is not None and made != pointed:
            raise Broken(f"a training was answered with {made}, and {pointed} is promoted")
        if pointed != served and (newest := self._newest_training())["model_version"] != pointed:
            raise Broken(f"{pointed} was trained and promoted, and its training is logged as {newest}")
        for version in self.store.versions():
            if version.source.location and not Path(version.source.location).exists():
                raise Broken(f"{version.name} is kept, and the sales that were sent for it are not")
        self.trial.counts["versions that are kept, and were not promoted for lack of room"] += len(
            self._names() - known - {pointed}
        )

    def _disturb(self, size: int, random: Random, enough: Event) -> None:
        while not enough.is_set():
            self.disk.leave(random.randint(0, 2 * size))
            pause(0.01)

    def _train(self) -> str | None:
        """The version that a training has made, by its answer; None if that was an error."""
        status, answer = ask(self.service.port, "POST", _TRAIN, self._sales(), {"Content-Type": "text/csv"})
        self.trial.counts[f"train: {status}"] += 1
        self._require_truthful_log(status, answer)
        return answer["model_version"] if status == 200 else None

    def _require_truthful_log(self, status: int, answer: Any) -> None:
        """The newest training ended, with what was answered. On a full disk the log may be out of reach for now."""
        newest = self._newest_training()
        if newest is None:
            return
        if status == 200 and (newest["state"], newest["model_version"]) != ("succeeded", answer["model_version"]):
            raise Broken(f"a training was answered with {answer['model_version']}, and is logged as {newest}")
        if status != 200 and newest["state"] == "running":
            raise Broken(f"a training was answered with {status}, {answer}, and is logged as {newest}")

    def _newest_training(self) -> Any:
        status, document = self.service.get("/trainings?limit=1")
        return document["trainings"][0] if status == 200 and document["trainings"] else None

    def _move(self, name: str | None, *, must: bool = False) -> None:
        """Promote a version, and check that the answer is true."""
        before = self.store.pointer()
        status, answer = ask(self.service.port, "POST", f"/models/{name}/promote")
        self.trial.counts[f"promote: {status}"] += 1
        after = self.store.pointer()
        if (status == 200 and after.name != name) or (status != 200 and (must or after != before)):
            raise Broken(f"the promotion of {name} was answered with {status}, {answer}: {before} became {after}")
        self._require_whole()

    def _require_whole(self) -> None:
        """Every version that is listed is whole, and the service estimates with the promoted one."""
        status, document = self.service.get("/models")
        if status != 200 or {each["model_version"] for each in document["models"]} != self._names():
            raise Broken(f"the models are listed with {status}, {document}; in the folder are {self._names()}")
        for name in self._names():
            load_predictor(*self.store.get(name))
        promoted = self.store.pointer().name or "demonstration"
        served = None
        for _ in range(_LOOKS):
            status, answer = ask(self.service.port, "POST", "/predict", _HOUSE)
            if status != 200:
                raise Broken(f"an estimate was answered with {status}, {answer} while the disk of the models is full")
            served = answer["model_version"]
            if served == promoted:
                return
            pause(0.1)
        raise Broken(f"{served} is in service, and {promoted} is promoted")

    def _names(self) -> set[str]:
        return {each.name for each in self.store.versions()}

    def _sales(self) -> bytes:
        """Two hundred sales as CSV, others each time."""
        random = self.trial.random
        lines = ["size,bedrooms,age,price"]
        for _ in range(200):
            size, bedrooms, age = random.randint(800, 4000), random.randint(1, 6), random.randint(0, 90)
            price = 100 * size + 5000 * bedrooms - 1000 * age + 150_000 * random.uniform(0.9, 1.1)
            lines.append(f"{size},{bedrooms},{age},{price:.0f}")
        return "\n".join(lines).encode()
