"""Clients that send requests without pause and record the responses, to compare them with the stored predictions."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import count
from socket import socket
from threading import Condition, Event
from typing import Protocol, TypeVar
from urllib.parse import quote, urlencode

import httpx2
import psycopg
import pytest
from attrs import define, field
from psycopg.conninfo import conninfo_to_dict

from tests.integration.services import LAB_HOUSE, PREDICT, read_answer

T = TypeVar("T")

SOON = 120.0  # seconds, an upper bound

with_sound_and_lossy_service = pytest.mark.parametrize(
    ("module", "outcome"),
    [
        ("housepredict", nullcontext()),
        ("campaign.broken lossy", pytest.raises(AssertionError, match=r"^lost")),
    ],
    ids=["sound", "lossy"],
)
"""Runs a test with the real service, and with a lossy one for which the test must fail."""


class Reachable(Protocol):
    """A service that can be reached over HTTP, wherever it runs."""

    @property
    def url(self) -> str: ...
    def connect(self) -> socket: ...


@define
class Load:
    """Requests and their responses. Every house has its own size, so a stored row identifies its request."""

    clients: int = 4
    acknowledged: dict[str, int] = field(factory=dict, init=False)
    """The size of each acknowledged house, by prediction id."""
    unanswered: set[int] = field(factory=set, init=False)
    statuses: Counter[int] = field(factory=Counter, init=False)
    _sizes: Iterator[int] = field(factory=lambda: count(1), init=False)
    _answered: Condition = field(factory=Condition, init=False)

    @contextmanager
    def on(self, service: Reachable) -> Iterator[None]:
        """Send requests until the block or the service ends."""
        stop = Event()
        with ThreadPoolExecutor(self.clients) as pool:
            clients = [pool.submit(self._post, service, stop) for _ in range(self.clients)]
            try:
                yield
            finally:
                stop.set()
        for client in clients:
            client.result()

    def wait_for(self, answers: int) -> None:
        """Wait until `answers` more responses have arrived."""
        with self._answered:
            wanted = self.statuses.total() + answers
            assert self._answered.wait_for(lambda: self.statuses.total() >= wanted, SOON), "no answers any more"

    def compare_with(self, rows: list[tuple[str, int]]) -> None:
        """Check that all acknowledged rows are stored, and no others except unanswered ones."""
        stored = dict(rows)
        assert len(set(stored.values())) == len(rows), "stored twice"
        assert self.acknowledged.items() <= stored.items(), "lost"
        assert {stored[each] for each in stored.keys() - self.acknowledged.keys()} <= self.unanswered, (
            "stored, and denied"
        )

    def _post(self, service: Reachable, stop: Event) -> None:
        with service.connect() as connection, connection.makefile("rb") as stream:
            while not stop.is_set():
                size = next(self._sizes)
                body = json.dumps({**LAB_HOUSE, "size": size}).encode()
                try:
                    connection.sendall(PREDICT + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                    status, answer = read_answer(stream)
                    document = json.loads(answer)
                except (OSError, IndexError, ValueError):  # the connection ended before or within the response
                    self.unanswered.add(size)
                    return
                with self._answered:
                    self.statuses[status] += 1
                    if status == 200:
                        self.acknowledged[document["id"]] = size
                    self._answered.notify_all()


def stored(conninfo: str) -> list[tuple[str, int]]:
    """Return the ids and sizes of stored predictions in commit order."""
    with psycopg.connect(conninfo) as connection:
        return connection.execute(
            "SELECT id::text, (features->>'size')::int FROM predictions ORDER BY xmin::text::bigint, id"
        ).fetchall()


def url(conninfo: str, **more: str) -> str:
    """Return the conninfo as a URL, the form that the settings accept."""
    return f"postgresql://?{urlencode(conninfo_to_dict(conninfo, **more), quote_via=quote)}"


def caught_up(service: Reachable) -> None:
    """Wait until the spool is drained and the database is available."""
    eventually(lambda: "spool" not in httpx2.get(f"{service.url}/predictions").json())


def eventually(find: Callable[[], T]) -> T:
    """Poll `find` until it returns something truthy, and return that."""
    deadline = time.monotonic() + SOON
    while not (result := find()):
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)
    return result
