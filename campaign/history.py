"""The history of a run: all requests and their answers, also written to a file."""

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
    """The kinds of operations."""

    ESTIMATE = "estimate"
    FIND = "find"
    LIST = "list"
    ERASE = "erase"
    RECORD = "record a sale"
    SALE = "read a sale"
    PRUNE = "prune"
    CUT_OFF = "cut off"
    """Not a request: the service may have had no database from `began` to `ended`."""


@frozen
class Operation:
    """A request and its answer.

    Each estimate is for a house with a unique number, so that a stored record identifies its request, even if that had
    no answer. Requests with the same idempotency key are for the same house, unless an attack misuses a key for two
    houses, one of which must be rejected.
    """

    action: Action
    service: str
    """The name of the service. Two processes with one data folder are one service."""
    began: float
    """In seconds on the monotonic clock, as is `ended`."""
    ended: float
    status: int | None
    """The HTTP status; None if there was no answer."""
    house: int | None = None
    """The number of the house to estimate."""
    key: str | None = None
    """The idempotency key."""
    id: str | None = None
    """The id of the prediction. For a pruning, the first id that is not pruned."""
    price: float | None = None
    """The price of a sale to record. It is unique, except that requests with one idempotency key have the same."""
    answer: Any = None
    """The relevant part of a successful answer; the ids of a list."""
    limit: int | None = None
    """The maximum length of a list."""
    partial: bool = False
    """Whether a list was reported to be incomplete."""


@frozen
class Stored:
    """A prediction that is stored at the end."""

    id: str
    house: int
    price: float
    model_version: str


@define
class History:
    """Operations in the order in which they ended. Threads may share it."""

    _file: TextIO
    operations: list[Operation] = field(factory=list, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    @classmethod
    @contextmanager
    def written(cls, path: Path) -> Iterator[History]:
        """Open a history that is also written to a file, one operation per line."""
        with path.open("w", buffering=1) as file:
            yield cls(file)

    def add(self, operation: Operation) -> None:
        line = json.dumps(attrs.asdict(operation, filter=lambda _, value: value is not None))
        with self._lock:
            self.operations.append(operation)
            self._file.write(line + "\n")


def read_history(path: Path) -> list[Operation]:
    """Read the operations of an earlier run, to check them again."""
    return [Operation(**{"status": None, **json.loads(line)}) for line in path.read_text().splitlines()]


def read_stored(path: Path) -> list[Stored]:
    """Read the records that were stored at the end of an earlier run."""
    return [Stored(**json.loads(line)) for line in path.read_text().splitlines()]
