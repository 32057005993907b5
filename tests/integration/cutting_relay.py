"""A relay that reads PostgreSQL's protocol along, as far as it takes to cut a connection right before or after a
commit.

A message is its type, a byte, and its length, four, which count themselves; only the first one of all has no type. A
client has the server execute (E), and the server says at the end of its answer that it is ready for more (Z); in
between lies the commit.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from threading import Event
from typing import IO

from attrs import define, field

from tests.integration.relay import Relay


class Cut(Enum):
    BEFORE_COMMIT = "the statement is not passed on"
    AFTER_COMMIT = "the answer is not passed on"
    MID_ANSWER = "half of the answer is passed on"


@define
class CuttingRelay(Relay):
    """For a client that does not encrypt."""

    answers: list[bytes] = field(factory=list, init=False)
    """What the server said to the statements that were cut off, as far as the client did not hear of it."""
    _next: Cut | None = field(default=None, init=False)
    _doomed: dict[socket.socket, Cut] = field(factory=dict, init=False)
    _done: Event = field(factory=Event, init=False)

    def cut_next(self, where: Cut) -> None:
        """Cut off the next statement that is executed."""
        self._done.clear()
        self._next = where

    def has_cut(self, timeout: float) -> bool:
        return self._done.wait(timeout)

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client.makefile("rb") as stream:
            length = stream.read(4)
            server.sendall(length + stream.read(int.from_bytes(length) - 4))
            for message in _messages(stream):
                if message.startswith(b"E") and (where := self._next):
                    self._next = None
                    if where is Cut.BEFORE_COMMIT:
                        self._hang_up(client, server, b"")
                    self._doomed[server] = where
                server.sendall(message)
            server.shutdown(socket.SHUT_WR)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        answer = b""
        with suppress(OSError), server.makefile("rb") as stream:
            for message in _messages(stream):
                if server not in self._doomed:
                    client.sendall(message)
                    continue
                answer += message
                if message.startswith(b"Z"):
                    middle = len(answer) // 2 if self._doomed[server] is Cut.MID_ANSWER else 0
                    with suppress(OSError):  # a client that lost patience is cut off, too
                        client.sendall(answer[:middle])
                    self._hang_up(client, server, answer[middle:])
            client.shutdown(socket.SHUT_WR)

    def _hang_up(self, client: socket.socket, server: socket.socket, withheld: bytes) -> None:
        # noted first: once it is cut off, the client goes on
        self.answers.append(withheld)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._done.set()


def _messages(stream: IO[bytes]) -> Iterator[bytes]:
    while len(head := stream.read(5)) == 5:
        yield head + stream.read(int.from_bytes(head[1:]) - 4)
