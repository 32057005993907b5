"""Promotions and rollbacks reach every worker of every replica under load without an inconsistent response."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from attrs import define, field

from housepredict.adapters.postgres.model_store import PostgresModels
from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from tests.integration.load import eventually, url
from tests.integration.services import Answer, Service, post, running
from tests.integration.test_shared_service import serve_all, train

MOVES = 20
CLIENTS = 32
A_SQUARE_FOOT = (100, 200)


@define
class Clients:
    """Clients that request estimates for single houses and batches, and record all responses."""

    per_foot: dict[str, int]
    statuses: Counter[int] = field(factory=Counter)
    estimates: dict[str, tuple[str, int, float]] = field(factory=dict)
    """Version, generation and price by prediction id."""
    wrong: list[str] = field(factory=list)
    _generations: set[int] = field(factory=set)
    _sizes: Iterator[int] = field(factory=lambda: count(500))

    def has_response_of(self, generation: int) -> bool:
        """Return whether that generation has responded. Fails if any response was wrong."""
        assert not self.wrong, self.wrong[0]
        return generation in self._generations

    @contextmanager
    def asking(self, services: list[Service]) -> Iterator[None]:
        stop = Event()
        with ThreadPoolExecutor(CLIENTS) as pool:
            futures = [pool.submit(self._ask, services[each % len(services)], stop) for each in range(CLIENTS)]
            try:
                yield
            finally:
                stop.set()
        for each in futures:
            each.result()

    def _ask(self, service: Service, stop: Event) -> None:
        with service.connect() as connection, connection.makefile("rb") as stream:
            while not stop.is_set():
                houses = [{"sqft": next(self._sizes) % 200 + 500, "rooms": 1} for _ in range(3)]
                for request in (houses, houses[0]):
                    connection.sendall(post(request))
                    answer = Answer.read(stream)
                    assert answer
                    self.statuses[answer.status] += 1
                    if answer.status == 200:
                        batch = answer.document.get("predictions", [answer.document])
                        self._note(batch)

    def _note(self, batch: list[dict[str, Any]]) -> None:
        ((version, generation),) = {(each["model_version"], each["generation"]) for each in batch}
        self._generations.add(generation)
        for each in batch:
            price = self.per_foot[version] * each["input"]["sqft"] + 10_000
            if each["prediction"] != price:
                self.wrong.append(f"not the price of {version}: {each}")
            self.estimates[each["id"]] = (version, generation, price)


@pytest.mark.parametrize(
    ("module", "announced", "outcome"),
    [
        ("housepredict", True, nullcontext()),
        ("housepredict", False, nullcontext()),
        ("tests.integration.mixing_service", True, pytest.raises(AssertionError, match="not the price of")),
    ],
    ids=["sound", "polling alone", "mixing"],
)
def test_promotions_reach_all_workers_with_consistent_responses(
    tmp_path: Path, postgres: str, module: str, announced: bool, outcome: AbstractContextManager[object]
) -> None:
    where = {"HOUSEPREDICT_DATABASE_URL": url(postgres)}
    names = [train(tmp_path / f"sales {each}", each, **where) for each in A_SQUARE_FOOT]
    if not announced:
        with psycopg.connect(postgres) as connection:
            connection.execute("DROP TRIGGER tell_of_promotions ON model_pointer")
    clients = Clients(dict(zip(names, A_SQUARE_FOOT, strict=True)))
    with (
        running(tmp_path / "one", "--workers", "2", module=module, **where) as one,
        running(tmp_path / "two", "--workers", "2", module=module, **where) as two,
        closing(ModelDatabase.at(postgres)) as server,
        outcome,
    ):
        models, pointed_at = PostgresModels(server), {2: names[1]}
        with clients.asking([one, two]):
            for move in range(MOVES):
                if move % 4 == 3:
                    models.rollback(models.history()[1])
                else:
                    models.promote(names[move % 2])
                pointer = models.pointer()
                assert pointer.name
                assert pointer.generation == 3 + move
                pointed_at[pointer.generation] = pointer.name
                for service in one, two:
                    eventually(partial(serve_all, service, pointer.generation))
                eventually(partial(clients.has_response_of, pointer.generation))
        assert clients.statuses.keys() == {200}
        assert {generation: version for version, generation, _ in clients.estimates.values()} == pointed_at
        with psycopg.connect(postgres) as connection:
            rows = connection.execute("SELECT id::text, model_version, generation, price::float8 FROM predictions")
            assert {id_: rest for id_, *rest in rows} == {id_: list(rest) for id_, rest in clients.estimates.items()}
