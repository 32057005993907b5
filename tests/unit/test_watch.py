"""A watch polls when the server sends data and once a second, and releases its descriptor."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from attrs import define, field

from housepredict.adapters.postgres.writer import Watch


@define(eq=False)
class Server:
    """A connection with both ends in this process, and its pending answers."""

    near: socket.socket
    far: socket.socket
    unsent: int = 0
    """The number of flushes that do not finish."""
    breaks: bool = False
    """Whether the last flush fails."""
    pending: int = 0
    """The number of polls that find an answer pending."""
    looks: asyncio.Queue[None] = field(factory=asyncio.Queue)
    flushed: asyncio.Event = field(factory=asyncio.Event)

    @property
    def socket(self) -> int:
        return self.near.fileno()

    def flush(self) -> int:
        if self.unsent:
            self.unsent -= 1
            return 1
        self.flushed.set()
        if self.breaks:
            raise psycopg.OperationalError
        return 0

    def look(self, watch: Watch) -> bool:
        self.looks.put_nowait(None)
        self.pending -= 1
        return self.pending >= 0

    def watch(self) -> Watch:
        server: Any = self
        return Watch(asyncio.get_running_loop(), server, self.look)


@pytest.fixture
def server() -> Iterator[Server]:
    near, far = socket.socketpair()
    with near, far:
        yield Server(near, far)


def is_open(descriptor: int) -> bool:
    with suppress(OSError):
        return bool(os.fstat(descriptor))
    return False


def test_watch_polls_on_server_data_and_ends_when_idle(server: Server) -> None:
    async def scenario() -> None:
        server.pending = 1
        watch = server.watch()
        assert is_open(watch._descriptor)
        assert watch.covers(asyncio.get_running_loop(), watch._server)
        server.far.send(b".")
        await server.looks.get()
        await server.looks.get()  # The data was not read, so the watch polls again.
        assert not watch.covers(asyncio.get_running_loop(), watch._server)
        assert not is_open(watch._descriptor)

    asyncio.run(scenario())
    assert server.looks.empty()


def test_watch_polls_each_second_without_data(server: Server) -> None:
    async def scenario() -> None:
        server.pending = 1
        server.watch()
        await server.looks.get()
        await server.looks.get()

    asyncio.run(scenario())


@pytest.mark.parametrize("breaks", [False, True])
def test_watch_flushes_unsent_data(server: Server, breaks: bool) -> None:
    async def scenario() -> None:
        server.unsent, server.breaks = 3, breaks
        server.watch().flush()
        assert server.unsent == 2
        await server.flushed.wait()

    asyncio.run(scenario())


def test_watch_of_closed_loop_releases_descriptor(server: Server) -> None:
    async def scenario() -> Watch:
        return server.watch()

    async def is_covered(watch: Watch) -> bool:
        return watch.covers(asyncio.get_running_loop(), watch._server)

    watch = asyncio.run(scenario())
    descriptor = watch._descriptor
    assert is_open(descriptor)
    assert not asyncio.run(is_covered(watch))
    del watch
    gc.collect()
    assert not is_open(descriptor)
