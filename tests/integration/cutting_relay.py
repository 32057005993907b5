"""A relay that reads PostgreSQL's protocol, so that it can cut a connection before, during or after a commit.

A message is its type (one byte) and its length (four bytes, which count themselves); only the first message of a
connection has no type. A client sends a statement as several messages up to Sync (S), among them Execute (E). The
server commits, and ends its answer with ReadyForQuery (Z).
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from threading import Condition
from typing import IO, NoReturn

from attrs import define, field, frozen

from tests.integration.relay import Relay


class Cut(Enum):
    """Where the relay cuts the connection relative to a statement's commit."""

    BEFORE_COMMIT = "the statement is not passed on"
    MID_STATEMENT = "the first part of the statement is passed on"
    DURING_COMMIT = "the statement is passed on, and nobody waits for its answer"
    AFTER_COMMIT = "the answer is not passed on"
    MID_ANSWER = "the first part of the answer is passed on"


@frozen
class _Plan:
    where: Cut
    statement: bytes
    share: float

    def first_part(self, whole: bytes) -> int:
        """Return how many bytes to pass on: at least one, but not all."""
        return min(max(1, int(len(whole) * self.share)), len(whole) - 1)


@define
class CuttingRelay(Relay):
    """A relay that cuts connections around commits. It supports unencrypted clients only."""

    answers: list[bytes] = field(factory=list, init=False)
    """The bytes of the server's response that each cut withheld from the client."""
    _plans: deque[_Plan] = field(factory=deque, init=False)
    _doomed: dict[socket.socket, _Plan] = field(factory=dict, init=False)
    _planned: int = field(default=0, init=False)
    _progress: Condition = field(factory=Condition, init=False)

    def cut_next(self, where: Cut, statement: bytes = b"", share: float = 0.5) -> None:
        """Plan one more cut.

        Args:
            where: Where to cut.
            statement: SQL fragment that a statement must contain to be cut. Plans are used in order.
            share: Fraction (0 to 1) of the statement or response to pass on, if `where` passes on a part.
        """
        with self._progress:
            self._planned += 1
            self._plans.append(_Plan(where, statement, share))

    def has_cut(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds. Return whether all planned cuts were made."""
        with self._progress:
            return self._progress.wait_for(lambda: len(self.answers) == self._planned, timeout)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Cut all connections and refuse new ones until the block ends."""
        connect, self.connect = self.connect, _refuse
        for end in list(self._ends):
            with suppress(OSError):  # already closed
                end.shutdown(socket.SHUT_RDWR)
        try:
            yield
        finally:
            self.connect = connect

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        queries: dict[bytes, bytes] = {}
        with suppress(OSError), client.makefile("rb") as stream:
            length = stream.read(4)
            server.sendall(length + stream.read(int.from_bytes(length) - 4))
            for messages in _statements(stream):
                query, statement = _executed(messages, queries), b"".join(messages)
                plan = None if query is None else self._plan_for(query)
                if plan is None:
                    server.sendall(statement)
                    continue
                if plan.where is Cut.BEFORE_COMMIT:
                    self._hang_up(client, server, b"")
                    return
                if plan.where is Cut.MID_STATEMENT:
                    server.sendall(statement[: plan.first_part(statement)])
                    self._hang_up(client, server, b"")
                    return
                self._doomed[server] = plan
                server.sendall(statement)
                if plan.where is Cut.DURING_COMMIT:
                    self._hang_up(client, server, b"")
                    return
            server.shutdown(socket.SHUT_WR)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        answer = b""
        with suppress(OSError), server.makefile("rb") as stream:
            for message in _messages(stream):
                plan = self._doomed.get(server)
                if plan is None:
                    client.sendall(message)
                elif plan.where is not Cut.DURING_COMMIT:
                    answer += message
                    if message.startswith(b"Z"):
                        middle = plan.first_part(answer) if plan.where is Cut.MID_ANSWER else 0
                        with suppress(OSError):  # a client that timed out has already closed its end
                            client.sendall(answer[:middle])
                        self._hang_up(client, server, answer[middle:])
                        break
            client.shutdown(socket.SHUT_WR)
        self._doomed.pop(server, None)

    def _plan_for(self, query: bytes) -> _Plan | None:
        with self._progress:
            return self._plans.popleft() if self._plans and self._plans[0].statement in query else None

    def _hang_up(self, client: socket.socket, server: socket.socket, withheld: bytes) -> None:
        # record the cut first, because the client continues as soon as it is disconnected
        with self._progress:
            self.answers.append(withheld)
            self._progress.notify_all()
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _refuse() -> NoReturn:
    raise ConnectionRefusedError


def _messages(stream: IO[bytes]) -> Iterator[bytes]:
    while len(head := stream.read(5)) == 5:
        yield head + stream.read(int.from_bytes(head[1:]) - 4)


def _statements(stream: IO[bytes]) -> Iterator[list[bytes]]:
    """Group messages: a statement's messages up to Sync form one group, every other message is a group of its own."""
    messages: list[bytes] = []
    for message in _messages(stream):
        messages.append(message)
        if message[:1] not in b"PBDEC":
            yield messages
            messages = []


def _executed(messages: list[bytes], queries: dict[bytes, bytes]) -> bytes | None:
    """Return the SQL that the server is asked to execute, or None. `queries` maps names to prepared SQL."""
    bound, executed = b"", None
    for message in messages:
        match message[:1]:
            case b"P":
                name, query = message[5:].split(b"\0", 2)[:2]
                queries[name] = query
            case b"B":
                bound = queries.get(message[5:].split(b"\0", 2)[1], b"")
            case b"E":
                executed = bound
    return executed
