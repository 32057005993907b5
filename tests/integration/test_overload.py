"""Under overload, the service rejects the excess immediately and loses nothing that it acknowledged."""

from __future__ import annotations

import select
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.integration.services import (
    LAB_HOUSE,
    Answer,
    assert_refused,
    get,
    post,
    running,
    send,
    stored,
)

WAITING = 20


@contextmanager
def busy_disk(folder: Path) -> Iterator[None]:
    """Block all writes to the database file. The service waits up to 5 seconds for the lock."""
    with closing(sqlite3.connect(folder / "data" / "predictions.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def check_excess_is_rejected_and_rest_stored(folder: Path, module: str) -> None:
    stored_ids = []
    limits = {"HOUSEPREDICT_MAX_WAITING": str(WAITING), "HOUSEPREDICT_MAX_BATCH": "1"}
    with running(folder, "--demo", module=module, **limits) as service:
        for _ in range(3):
            with ExitStack() as opened:
                connections = [opened.enter_context(service.connect()) for _ in range(5 * WAITING)]
                with busy_disk(folder):
                    for each in connections:
                        each.sendall(post(LAB_HOUSE))
                    rejected: set[socket.socket] = set()
                    # `WAITING` requests fit in the queue behind the one that may be in flight
                    while len(rejected) < len(connections) - WAITING - 1:
                        rejected |= set(
                            select.select([each for each in connections if each not in rejected], [], [])[0]
                        )
                for each in connections:
                    with each.makefile("rb") as stream:
                        answer = Answer.read(stream)
                    assert answer
                    if answer.status != 200:
                        assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")
                        assert answer.document["type"] == "urn:housepredict:problem:overloaded"
                    else:
                        assert each not in rejected
                        stored_ids.append(answer.document["id"])
            stored_ids.append(send(service, post(LAB_HOUSE)).document["id"])
        assert service.stop() == 0
    assert 3 * (WAITING + 1) <= len(stored_ids) <= 3 * (WAITING + 2)
    assert sorted(stored_ids) == stored(folder)


def test_overload_rejects_excess_and_loses_nothing(tmp_path: Path) -> None:
    check_excess_is_rejected_and_rest_stored(tmp_path / "sound", "housepredict")
    with pytest.raises(AssertionError):
        check_excess_is_rejected_and_rest_stored(tmp_path / "lossy", "campaign.broken lossy")


def test_connection_limit_rejects_excess_connections(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", HOUSEPREDICT_MAX_CONNECTIONS="5") as service, ExitStack() as opened:
        connections = [opened.enter_context(service.connect()) for _ in range(5)]
        streams = [opened.enter_context(each.makefile("rb")) for each in connections]
        for connection, stream in zip(connections, streams, strict=True):
            connection.sendall(post(LAB_HOUSE))
            answer = Answer.read(stream)
            assert answer
            assert answer.status == 200
        with service.connect() as refused, refused.makefile("rb") as stream:
            answer = Answer.read(stream)  # no request was sent
            assert_refused(answer, 503, "too-many-connections")
            assert answer
            assert answer.headers[b"retry-after"] == b"1"
            assert Answer.read(stream) is None
        connections[0].sendall(get("/health").replace(b"Host", b"Connection: close\r\nHost"))
        assert streams[0].read().startswith(b"HTTP/1.1 200")
        # the client may see the end of the previous connection before the server does
        while send(service, get("/health")).status == 503:
            pass
