"""A relay in front of a server that can freeze: connections stay open, but no data passes."""

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
    """Listens on `port` and relays data to and from the connections that `connect` opens."""

    connect: Callable[[], socket.socket]
    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)), init=False)
    _passing: Event = field(factory=Event, init=False)
    _ends: set[socket.socket] = field(factory=set, init=False)

    @classmethod
    def before(cls, conninfo: str) -> Self:
        """Create a relay in front of a PostgreSQL server."""
        return cls(to_server(conninfo))

    def lead_to(self, conninfo: str) -> None:
        """Relay new connections to another PostgreSQL server. Open connections stay with the old one."""
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
            for end in list(self._ends):
                with suppress(OSError):  # most were already closed by the other side
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
            except OSError:
                client.close()  # like a server that refuses the connection
                continue
            for end in (client, server):
                if end.family != socket.AF_UNIX:  # without this, small messages wait for each other, 40 ms each time
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends |= {client, server}
            Thread(target=self._pass_both_ways, args=(client, server), daemon=True).start()

    def _pass_both_ways(self, client: socket.socket, server: socket.socket) -> None:
        answers = Thread(target=self._to_client, args=(server, client), daemon=True)
        answers.start()
        self._to_server(client, server)
        answers.join()
        for end in (client, server):  # without this, a client that reconnects often runs out of file descriptors
            self._ends.discard(end)
            end.close()

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
            pass  # one end was closed, so there is nothing left to relay


def to_server(conninfo: str) -> Callable[[], socket.socket]:
    """Return a function that connects to the PostgreSQL server."""
    with psycopg.connect(conninfo) as connection:
        host, port = connection.info.host, connection.info.port

    def connect() -> socket.socket:
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    return connect
