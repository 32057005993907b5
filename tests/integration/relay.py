"""A relay in front of a server, to take the server away without a word: connections stay open, and nothing passes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from attrs import define, field


@define
class Relay:
    """Listens at `port` and passes on what comes, to and from the connections that `connect` makes."""

    connect: Callable[[], socket.socket]
    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)), init=False)
    _passing: Event = field(factory=Event, init=False)
    _ends: list[socket.socket] = field(factory=list, init=False)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @contextmanager
    def running(self) -> Iterator[Relay]:
        self.thaw()
        Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self.thaw()
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            for end in self._ends:
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
            server = self.connect()
            self._ends += [client, server]
            for source, sink in ((client, server), (server, client)):
                Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._passing.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one end was closed, so the other has nothing left to hear
