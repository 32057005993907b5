"""The service as a process of its own: the app behind uvicorn, its log, and what it says when it starts."""

from __future__ import annotations

import json
import logging
import shlex
import signal
import socket
import sys
from types import FrameType
from urllib.parse import urlsplit

from housepredict.domain.errors import HousepredictError, MissingExtra
from housepredict.domain.usecases import DEMONSTRATION
from housepredict.entrypoints.bootstrap import Application
from housepredict.entrypoints.http.answers import example
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.settings import IN_MEMORY, Settings

try:
    import uvicorn

    from housepredict.entrypoints.http.express import ExpressProtocol
except ImportError as error:
    raise MissingExtra.named("serve", "Serving over HTTP") from error

_PATIENCE = 20  # seconds that requests have to finish in, once the service is told to stop


def serve(settings: Settings, application: type[Application] = Application) -> int:
    """Serve until SIGINT or SIGTERM; requests that were accepted are answered first. Returns the exit code, 0.

    Raises RepositoryUnavailable, MissingExtra, or HousepredictError for an address that cannot be listened on.
    """
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with application(settings) as opened:
        opened.predict.recent(1)  # storage that cannot be reached is told before an address is taken
        listener = _listener(settings.host, settings.port)
        config = uvicorn.Config(
            asgi_app(application=opened, embedded=False),
            http=ExpressProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            # at its level info, uvicorn says what the greeting says
            log_level="warning" if settings.log_level == "info" else settings.log_level,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            workers=1,
            timeout_graceful_shutdown=_PATIENCE,
        )
        _Server(config, opened).run(sockets=[listener])
    return 0


class _Server(uvicorn.Server):
    """uvicorn, that greets when it is ready to answer, and takes a signal to stop for the end of its work."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            sys.stdout.write(_greeting(self._application, _url(listener)))
            sys.stdout.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own would raise the signal again when all is done, and so end with another exit code than 0
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT  # the second Ctrl-C waits for nobody
        self.should_exit = True


def _listener(host: str, port: int) -> socket.socket:
    """Raises HousepredictError if there is no listening on that address."""
    try:
        # a name may stand for several addresses: IPv4 first, which who asks for `localhost` tries in any case
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(found, key=lambda each: each[0] is not socket.AF_INET)
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HousepredictError(f"cannot listen on {host}, port {port}: {reason}; see --host and --port") from error


def _url(listener: socket.socket) -> str:
    """Where whoever sits at this machine reaches the service."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared with, not listened on
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _greeting(application: Application, url: str) -> str:
    lines = [f"housepredict serves on {url}", f"Predictions are kept {_place(application.settings)}."]
    try:
        version = application.live_model.current().version
    except HousepredictError as error:
        lines.append(f"It cannot estimate yet. {error}")
    else:
        lines.append(f"Model version {version.name} is in service.")
        if version.source.synthetic:
            lines.append(f"Mind that {DEMONSTRATION.message}.")
        body = shlex.quote(json.dumps(example(version.schema), ensure_ascii=False))
        lines.append(f"Try it:\n  curl -X POST {url}/predict -H 'Content-Type: application/json' -d {body}")
    return "\n".join(lines) + "\n"


def _place(settings: Settings) -> str:
    if settings.database_url is None:
        return f"in {settings.data_dir}"
    if settings.database_url == IN_MEMORY:
        return "in memory, and lost when it stops"
    url = urlsplit(settings.database_url)
    credentials, _, host = url.netloc.rpartition("@")
    # a password with a bare @ or / in it would put a part of itself where the host or the database is looked for
    is_plain = settings.database_url.count("@") == bool(credentials)
    return f"in PostgreSQL, {host}{url.path}" if is_plain else "in PostgreSQL"
