"""A relay in front of a server, to take the server away without a word: connections stay open, and nothing passes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Self

import psycopg
from attrs import define, field


@define
class Relay:
    """Listens at `port` and passes on what comes, to and from the connections that `connect` makes."""

    connect: Callable[[], socket.socket]
    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)), init=False)
    _passing: Event = field(factory=Event, init=False)
    _ends: list[socket.socket] = field(factory=list, init=False)

    @classmethod
    def before(cls, conninfo: str) -> Self:
        """A relay in front of a PostgreSQL."""
        return cls(to_server(conninfo))

    def lead_to(self, conninfo: str) -> None:
        """Pass on to another PostgreSQL what connects from now on; connections that are open stay where they are."""
        self.connect = to_server(conninfo)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @contextmanager
    def running(self) -> Iterator[Self]:
        self.thaw()
        Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self.thaw()
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            for end in self._ends:
                with suppress(OSError):  # most are closed at the other side
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def freeze(self) -> None:
        self._passing.clear()

    def thaw(self) -> None:
        self._passing.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self.connect()
            except OSError:  # nobody listens there at the moment
                client.close()
                continue
            self._ends += [client, server]
            Thread(target=self._to_server, args=(client, server), daemon=True).start()
            Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        self._pass_on(client, server)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._passing.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one end was closed, so the other has nothing left to hear


def to_server(conninfo: str) -> Callable[[], socket.socket]:
    """What connects to a PostgreSQL."""
    with psycopg.connect(conninfo) as connection:
        host, port = connection.info.host, connection.info.port

    def connect() -> socket.socket:
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    return connect
