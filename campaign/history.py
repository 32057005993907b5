"""The history of a run: each request with what it was answered, in a file that outlives the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

import attrs
from attrs import define, field, frozen


class Action(StrEnum):
    """What a client asked for."""

    ESTIMATE = "estimate"
    FIND = "find"
    LIST = "list"
    ERASE = "erase"
    RECORD = "record a sale"
    SALE = "read a sale"
    PRUNE = "prune"
    CUT_OFF = "cut off"
    """Nobody asked: the service may not have reached its database from `began` to `ended`."""


@frozen
class Operation:
    """A request and its answer.

    Each estimate asks for a house with a number of its own, so that a stored record shows which request made it, also
    where the request got no answer. Requests with one idempotency key ask for the same house, unless an attack misuses
    a key for two houses, one of which has to be refused.
    """

    action: Action
    service: str
    """Which service was asked. Two processes with one data folder are one service."""
    began: float
    """Seconds on this machine's monotonic clock, as `ended`."""
    ended: float
    status: int | None
    """The HTTP status; None where there was no answer."""
    house: int | None = None
    """The number of the house to estimate."""
    key: str | None = None
    """The idempotency key."""
    id: str | None = None
    """The prediction to find or to erase, or of the sale; to prune, the first one that is to stay."""
    price: float | None = None
    """The price of a sale to record, another one for each sale. Requests with one idempotency key have the same."""
    answer: Any = None
    """What came with status 200: the document, for a list its ids."""
    limit: int | None = None
    """Of a list of the newest: the most that were asked for."""
    partial: bool = False
    """Whether a list said that it was incomplete."""


@frozen
class Stored:
    """A record as the database holds it in the end."""

    id: str
    house: int
    price: float
    model_version: str


@define
class History:
    """Operations in the order of their ends. Threads may share it."""

    _file: TextIO
    operations: list[Operation] = field(factory=list, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    @classmethod
    @contextmanager
    def written(cls, path: Path) -> Iterator[History]:
        """A history that is also written to a file, an operation a line, as it happens."""
        with path.open("w", buffering=1) as file:
            yield cls(file)

    def add(self, operation: Operation) -> None:
        """Note an operation that has ended."""
        line = json.dumps(attrs.asdict(operation, filter=lambda _, value: value is not None))
        with self._lock:
            self.operations.append(operation)
            self._file.write(line + "\n")


def read_history(path: Path) -> list[Operation]:
    """The operations that a run left behind, to check them again."""
    return [Operation(**{"status": None, **json.loads(line)}) for line in path.read_text().splitlines()]


def read_stored(path: Path) -> list[Stored]:
    """The records that a run found in the end."""
    return [Stored(**json.loads(line)) for line in path.read_text().splitlines()]
