"""Predictions in LMDB: `HOUSEPREDICT_DATABASE_URL=lmdb:///var/lib/prices`, a folder of this machine.

Ids sort by time, and LMDB by keys: the newest predictions are the last ones, and a page is a walk backwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice, takewhile
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import lmdb

from housepredict.adapters.documents import prediction_from_row, prediction_to_row
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction

LARGEST = 2**36
"""Bytes that the file may grow to: of address space, and on the disk no more than is kept."""

_ERASED = b""  # in place of a prediction, so that its id is not stored again
_PRUNED = b"\0"  # in place of the newest that was pruned: neither its id nor those below it are stored again


@contextmanager
def open_predictions(url: str) -> Iterator[LmdbPredictions]:
    """The predictions in a folder; what the entry point names. Raises RepositoryUnavailable."""
    parts = urlsplit(url)
    folder = Path(unquote(parts.netloc + parts.path))
    with _translated():
        folder.mkdir(parents=True, exist_ok=True)
        environment = lmdb.open(str(folder), map_size=LARGEST, max_readers=1024)
    with closing(environment):
        yield LmdbPredictions(environment)


class LmdbPredictions:
    """A PredictionRepository. Threads may share it, and processes its folder; each process opens that once."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment = environment

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch on disk, all or nothing. Ignores predictions whose id is known, was erased or was pruned."""
        rows = [(each.id.bytes, _to_json(each)) for each in predictions]
        with _translated(), self._environment.begin(write=True) as transaction:
            pruned = _newest_pruned(transaction)
            for key, value in rows:
                if key > pruned:
                    transaction.put(key, value, overwrite=False)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first, at most `limit`; only those with an id below `before` if given."""
        with _translated(), self._environment.begin() as transaction, transaction.cursor() as cursor:
            there = cursor.prev() if before and cursor.set_range(before.bytes) else cursor.last()
            rows = list(islice(filter(_is_kept, cursor.iterprev()), limit)) if there else []
        return [_from_json(*row) for row in rows]

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """The predictions with these ids, in the order of their ids; those that are not known are left out."""
        with _translated(), self._environment.begin() as transaction:
            rows = [(key, transaction.get(key, _ERASED)) for key in sorted({each.bytes for each in ids})]
        return [_from_json(*row) for row in rows if _is_kept(row)]

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """The predictions with ids from `first` on and below `end`, oldest first, at most `limit`."""
        with _translated(), self._environment.begin() as transaction, transaction.cursor() as cursor:
            there = cursor.set_range(first.bytes)
            inside = takewhile(lambda row: row[0] < end.bytes, cursor.iternext()) if there else ()
            rows = list(islice(filter(_is_kept, inside), limit))
        return [_from_json(*row) for row in rows]

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids. Returns how many of them were known. They are never stored again."""
        with _translated(), self._environment.begin(write=True) as transaction:
            pruned = _newest_pruned(transaction)
            return sum(bool(transaction.replace(each.bytes, _ERASED)) for each in ids if each.bytes > pruned)

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers below `before`. Returns the number."""
        with _translated(), self._environment.begin(write=True) as transaction:
            pruned = _newest_pruned(transaction)
            with transaction.cursor() as cursor:
                old = takewhile(lambda key: key < before.bytes, cursor.iternext(values=False))
                keys = list(islice((key for key in old if key > pruned), limit))
            if keys:
                for key in [pruned, *keys] if pruned else keys:
                    transaction.delete(key)
                transaction.put(keys[-1], _PRUNED)
            return len(keys)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these ids that were erased or pruned."""
        with _translated(), self._environment.begin() as transaction:
            pruned = _newest_pruned(transaction)
            return [each for each in ids if each.bytes <= pruned or transaction.get(each.bytes) == _ERASED]

    def check(self) -> None:
        """Return if a batch could be recorded now."""
        with _translated(), self._environment.begin(write=True):
            pass


def _is_kept(row: tuple[bytes, bytes]) -> bool:
    return row[1] not in (_ERASED, _PRUNED)


def _newest_pruned(transaction: lmdb.Transaction) -> bytes:
    """The first of all keys, if it says so; else what is below every key."""
    with transaction.cursor() as cursor:
        return cursor.key() if cursor.first() and cursor.value() == _PRUNED else b""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise RepositoryUnavailable(f"LMDB cannot be read or written: {error}") from error


def _to_json(prediction: Prediction) -> bytes:
    return json.dumps(prediction_to_row(prediction)).encode()


def _from_json(key: bytes, value: bytes) -> Prediction:
    return prediction_from_row({**json.loads(value), "id": UUID(bytes=key)})
